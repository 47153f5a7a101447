"""The options of a pull are checked when they are made."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

import pull_logs
from pull_logs.errors import UsageError
from pull_logs.fetch import PullOptions, Selection
from pull_logs.snapshot import FileSelection


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"concurrency": 0}, "concurrency is 0, not between 1 and 256"),
        ({"concurrency": 257}, "concurrency is 257, not between 1 and 256"),
        ({"files": "*.log"}, "files is the string '*.log', not a list of patterns; write files=['*.log']"),
        ({"files": ["*.log", ""]}, "a pattern for files is empty; write '*' for every file"),
        (
            {"files": ["*"], "max_file_size": -1},
            "the largest file size is -1 bytes, which is negative",
        ),
        (
            {"metrics": "("},
            "metrics '(' is not a valid regular expression: missing ), unterminated subpattern at position 0",
        ),
    ],
)
def test_an_invalid_option_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        PullOptions(**options)
    assert str(caught.value) == message


def test_without_options_everything_but_files_and_system_metrics_is_pulled() -> None:
    options = pull_logs.PullOptions()
    assert (options.metric_pattern, options.file_selection, options.system) == (None, None, False)


def test_files_are_selected_by_patterns_and_size() -> None:
    selection = PullOptions(files=["*.log"], max_file_size=10).file_selection
    assert selection == FileSelection(("*.log",), 10)
    assert [selection.allows_size(size) for size in (None, 10, 11)] == [True, True, False]


def test_options_do_not_change() -> None:
    options = PullOptions(metrics="loss")
    with pytest.raises(FrozenInstanceError):
        options.metrics = "acc"  # type: ignore[misc]
    assert not hasattr(options, "__dict__")


@pytest.mark.parametrize("name", ["projects", "sweeps"])
def test_one_string_is_not_a_selection(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        Selection(**{name: "acme/nano"})  # type: ignore[arg-type]
    assert str(caught.value) == (
        f"{name} is the string 'acme/nano', not a list of {name}; write {name}=['acme/nano']"
    )
