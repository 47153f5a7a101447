"""Numbers near the largest double: sums of them overflow, and no command fails or warns because of that."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from bundlekit import bundle_run, make_bundle
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze.statistics import median
from pull_logs.cli.main import main

HUGE = 1.7e308
VALUES = (HUGE, -HUGE, HUGE / 1.01, 1e-320, -HUGE / 1.01, HUGE / 1.001)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = [
        bundle_run(
            f"acme/nano/r{number}",
            [
                {"_step": step, "loss": sign * value, "lr": abs(value), "acc": value}
                for step, value in enumerate(VALUES[number % 3 :] * 8)
            ],
            config={"lr": (number % 4) * HUGE / 4, "seed": number // 4, "data": f"task{number % 2}"},
            summary={"loss": sign * HUGE},
        )
        for number, sign in enumerate([1, -1, 1, 1, -1, 1, -1, -1] * 2)
    ]
    return make_bundle(tmp_path_factory.mktemp("huge") / "huge.wandb.zip", runs)


@pytest.mark.parametrize(
    "words",
    [
        ("overview",),
        ("compare",),
        ("compare", "--group-by", "config.lr", "--best", "loss:min"),
        ("compare", "--group-by", "config.lr", "--best", "loss:min", "--ci", "bootstrap"),
        ("compare", "--group-by", "config.lr", "--best", "loss:min", "--margin", "1%"),
        ("compare", "--group-by", "config.data", "--best", "acc:max", "--task", "config.seed"),
        (
            "compare",
            "--group-by",
            "config.data",
            "--best",
            "acc:max",
            "--task",
            "config.seed",
            "--task-scale",
            "raw",
        ),
        ("compare", "--effect", "loss"),
        ("compare", "--fit", "log(acc) ~ log(config.lr)"),
        ("compare", "--pareto", "loss:min, acc:max"),
        ("compare", "--column", "area=auc(loss)", "--column", "m=mean(acc)", "--column", "s=std(acc)"),
        ("compare", "--at", "3.5", "--interpolation", "linear"),
        ("--schema", "--stats"),
        ("--stats", "--quantiles", "50,95"),
        ("-H", "--eval", "double=ema(loss, 0.9) + acc * acc"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("kind", [(), ("--json",)], ids=["text", "json"])
def test_no_command_fails_or_warns(
    bundle: Path, words: Sequence[str], kind: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = [words[0]] if words[0] in ("overview", "compare") else []
    code = main([*command, "-b", str(bundle), *words[len(command) :], *kind, "--no-hints"])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert out
    if kind:
        json.loads(out)


def test_two_groups_of_huge_numbers_pass_the_gate_or_not(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", "-b", str(bundle), "--against", str(bundle), "--metric", "loss:min"]
    code = main([*words, "--no-hints"])
    assert code in (0, 7)
    assert "internal" not in capsys.readouterr().err


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_a_median_is_between_the_least_and_the_largest_number(values: list[float]) -> None:
    assert min(values) <= median(values) <= max(values)
    assert median(values) == median(values[::-1])
    assert median([*values, *values]) == median(values) or len(values) % 2 == 0
