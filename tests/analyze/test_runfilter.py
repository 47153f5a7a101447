from __future__ import annotations

import pytest

from pull_logs.analyze.runfilter import keep_runs
from pull_logs.errors import ExpressionError, NotFoundError
from pull_logs.runs import RunInfo, RunPath

RUNS = [
    RunInfo(
        path=RunPath("acme", "nano", f"r{index}"),
        name=name,
        state=state,
        tags=tags,
        config={"lr": lr, "model": {"depth": index}},
        summary=summary,
    )
    for index, (name, state, tags, lr, summary) in enumerate(
        [
            ("first", "finished", ("b", "a"), 0.1, {"val/acc": 0.95}),
            ("second", "running", (), 0.001, {"val/acc": 0.5}),
            ("third", "finished", ("a",), 0.001, {}),
        ]
    )
]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('config.lr <= 1e-3 and state == "finished"', (False, False, True)),
        ("summary.val/acc > 0.9", (True, False, False)),
        ("summary.val/acc is missing", (False, False, True)),
        ("config.model.depth in [1, 2]", (False, True, True)),
        ('tags == "a,b"', (True, False, False)),
        ('name != "first" and run_id != "r2"', (False, True, False)),
        ('group == "none"', (False, False, False)),
    ],
)
def test_a_run_expression_keeps_the_runs_that_hold(text: str, kept: tuple[bool, ...]) -> None:
    assert keep_runs(RUNS, text) == kept


def test_a_name_that_no_run_has_is_told_with_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"config\.lr"):
        keep_runs(RUNS, "config.lrr > 1")


def test_a_number_is_no_condition() -> None:
    with pytest.raises(ExpressionError):
        keep_runs(RUNS, "config.lr")
