"""A bundle from before the index of metrics gives the same answers; one with a damaged index gives none."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundlekit import bundle_run, members_of, unzipped, without_index
from checkout import RECORDED
from hypothesis import given, settings
from hypothesis import strategies as st
from rowkit import canonical, nasty_rows

import pull_logs
from pull_logs.errors import BundleDamagedError, PullLogsError
from pull_logs.rows.canonical import spell
from pull_logs.runs import Coverage
from pull_logs.snapshot import write_bundle

QUESTIONS: dict[str, Callable[[Path], Any]] = {
    "compare": pull_logs.compare,
    "best": lambda path: pull_logs.compare(path, best="val/loss:min", top=3),
    "at best": lambda path: pull_logs.compare(path, best="val/loss:min", at="best", top=3, select="val"),
    "assert": lambda path: pull_logs.compare(path, asserts=["val/loss < 1", "train/loss > 0"]),
    "column": lambda path: pull_logs.compare(path, columns={"end": "val/loss * 2"}, best="end:min"),
    "overview": pull_logs.overview,
    "schema": pull_logs.schema,
}


def asked(question: str, path: Path) -> str:
    """The answer without the name of its bundle, or the error, as text."""
    try:
        found = QUESTIONS[question](path)
    except PullLogsError as error:
        return f"{type(error).__name__}: {error}".replace(str(path), "BUNDLE")
    return json.dumps(spell(found)).replace(str(path), "BUNDLE")


@pytest.mark.parametrize("question", QUESTIONS)
def test_recorded_runs_without_an_index_give_the_same_answers(question: str, tmp_path: Path) -> None:
    assert asked(question, without_index(RECORDED, tmp_path / "old")) == asked(question, RECORDED)


@settings(max_examples=20)
@given(
    st.lists(nasty_rows, min_size=1, max_size=3),
    st.sampled_from(sorted(QUESTIONS)),
    st.sampled_from(["", "stopped"]),
)
def test_runs_of_any_rows_without_an_index_give_the_same_answers(
    runs: list[list[dict[str, Any]]], question: str, reason: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "a.wandb.zip")
        coverage = Coverage(complete=not reason, reason=reason)
        usual = [{"_step": step, "val/loss": 3 - step, "train/loss": step / 2} for step in range(3)]
        written = [*map(canonical, runs), usual]
        write_bundle(
            made,
            [bundle_run(f"acme/nano/r{n}", rows, coverage=coverage) for n, rows in enumerate(written)],
        )
        assert asked(question, without_index(made, Path(folder, "old"))) == asked(question, made)


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_damaged_index_is_an_error(question: str, tmp_path: Path) -> None:
    folder = unzipped(RECORDED, tmp_path / "folder")
    data = bytearray(members_of(RECORDED)["metrics.parquet"])
    data[len(data) // 2] ^= 1
    (folder / "metrics.parquet").write_bytes(data)
    with pytest.raises(BundleDamagedError) as caught:
        QUESTIONS[question](folder)
    assert caught.value.message == f"{str(folder)!r} is damaged: metrics.parquet does not have its hash"
    assert caught.value.hint == "run `pull-logs verify` to see where"
