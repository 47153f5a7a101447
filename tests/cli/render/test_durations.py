"""Seconds are shown as durations, with the units that distinguish them."""

from __future__ import annotations

import json
import re
from itertools import combinations

import pytest
from checkout import ROOT
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.cli.main import main
from pull_logs.cli.render import (
    At,
    Column,
    Section,
    at_cell,
    columns,
    is_seconds,
    known,
    name_cell,
    render_text,
)
from pull_logs.cli.render.durations import duration

PRETRAIN = ("-b", str(ROOT / "fixtures" / "pretrain.wandb.zip"), "--no-hints")
_PARTS = re.compile(
    r"-?(?:(?P<d>\d+)d)?(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m)?(?:(?P<s>\d+(?:\.\d+)?(?:e-?\d+)?)s)?"
)
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def seconds_of(text: str) -> float:
    """Read a duration."""
    found = _PARTS.fullmatch(text)
    assert found, text
    total = sum(float(found[unit]) * _SECONDS[unit] for unit in _SECONDS if found[unit])
    return -total if text.startswith("-") else total


def texts_of(seconds: list[float]) -> list[str]:
    rows = [[index, value] for index, value in enumerate(seconds)]
    lines = render_text([Section(name="HISTORY", columns=columns("_step", "_runtime"), rows=rows)])
    return [line.split(",")[1] for line in lines.splitlines()[2:]]


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (0.0123, "0.0123s"), (12.34, "12.3s"), (59.94, "59.9s"), (59.97, "1m00s"), (60, "1m00s"),
        (185.4, "3m05s"), (3599.6, "1h00m"), (3720, "1h02m"), (86399, "1d00h"), (183_600, "2d03h"),
        (-185, "-3m05s"), (-0.5, "-0.5s"), (40 * 86400.0, "40d00h"),
    ],
)  # fmt: skip
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.floats(-1e9, 1e9), st.integers(0, 7))
def test_a_duration_is_read_back_within_its_least_unit(seconds: float, exactness: int) -> None:
    error = abs(seconds_of(duration(seconds, exactness)) - seconds)
    if exactness:
        assert error <= max(0.5000001 * 10.0 ** -(exactness - 1), abs(seconds) * 1e-9)
    else:
        unit = 3600 if abs(seconds) >= 86400 else 60 if abs(seconds) >= 3600 else 1
        assert error <= (unit / 2 if abs(seconds) >= 59 else 0.00500001 * abs(seconds))


@given(st.lists(st.floats(0, 1e6), max_size=6) | st.lists(st.integers(0, 10**7).map(float), max_size=6))
def test_durations_that_differ_by_a_microsecond_have_different_texts(seconds: list[float]) -> None:
    for (one, text), (other, other_text) in combinations(zip(seconds, texts_of(seconds), strict=True), 2):
        if abs(one - other) > 2e-6:
            assert text != other_text
        if one == other:
            assert text == other_text


def test_durations_that_look_the_same_have_more_units() -> None:
    assert texts_of([3720, 3721, 7300, 3721.25]) == ["1h02m00s", "1h02m01.0s", "2h02m", "1h02m01.2s"]


def test_what_is_named_in_seconds_is_a_duration_and_a_rate_is_not() -> None:
    name: object
    for name in ("_runtime", "_wandb.runtime", "time/elapsed_seconds", "eval.secs", "seconds"):
        assert is_seconds(name, {"_runtime", "_wandb.runtime"})
    for name in ("runtime", "tokens_per_seconds", "milliseconds", "steps_per_secs", "_timestamp", 3):
        assert not is_seconds(name, {"_runtime", "_wandb.runtime"})


def test_only_numbers_in_the_unit_of_the_metric_are_durations() -> None:
    names = ("metric", "count", "p50", "p99.9", "mean", "max", "min_step", "nonfinite")
    row: list[str | float] = ["_runtime", 100, 100, 200, 130.5, "NaN", 100, 0]
    section = Section(name="STATS", columns=columns(*names, metric=name_cell), rows=[row, ["loss", *row[1:]]])
    first, second = render_text([section]).splitlines()[2:]
    assert first == "_runtime,100,1m40s,3m20s,2m10s,NaN,100,0"
    assert second == "loss,100,100,200,130.5,NaN,100,0"


def test_values_with_a_step_and_in_columns_of_runs_are_durations() -> None:
    shown = [Column("metric", name_cell), Column("value", str), Column("r1", at_cell), Column("r2", at_cell)]
    rows = [["_runtime", "max", At(3720, 10), At(None)], ["loss", "max", At(0.5, 10), At(60.0, 3)]]
    text = render_text([Section(name="COMPARISON", columns=shown, rows=rows)])
    assert text.splitlines()[2:] == ["_runtime,max,1h02m@10,", "loss,max,0.5@10,60@3"]
    summary = Section(
        name="SUMMARY", columns=[Column("key", name_cell), Column("r1", known)], rows=[["_wandb.runtime", 61]]
    )
    assert render_text([summary]).splitlines()[2] == "_wandb.runtime,1m01s"


def test_run_fields_and_columns_of_seconds_are_durations_and_other_units_are_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "\nduration: 24m35s\n" in printed(capsys, *PRETRAIN, "-r", "lw7s0", "--meta")
    words = (
        "compare", *PRETRAIN, "-r", "lw7s0", "--column", "duration", "--column", "hours=duration / 3600",
        "--column", "t=at_first(_runtime, val/loss < 4)", "--column", "end=quantile(_runtime, 1)",
        "--column", "rest=last(_runtime) - 475",
    )  # fmt: skip
    text = printed(capsys, *words)
    assert "\nrun,duration,hours,t,end,rest\nlw7s0,24m35s,0.409722,4m35s,24m35s,1000\n" in text
    assert "\nduration,1,0,24m35s,24m35s,,24m35s,24m35s,24m35s,0\n" in text
    found = json.loads(printed(capsys, *words, "--json"))
    assert [entry["values"]["lw7s0"] for entry in found["columns"]] == [1475, 1475 / 3600, 275, 1475, 1000]
    cells = printed(capsys, *words, "--format", "csv", "--section", "columns").splitlines()[1].split(",")
    assert cells == ["lw7s0", "1475", repr(1475 / 3600), "275", "1475", "1000"]


def test_a_column_with_the_name_of_a_field_and_another_meaning_is_no_duration(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = printed(capsys, "compare", *PRETRAIN, "-r", "lw7s0", "--column", "duration=duration / 3600")
    assert "\nrun,duration\nlw7s0,0.409722\n" in text


def test_a_ranking_by_seconds_has_durations(capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "--best",
        "_runtime:min",
        "--top",
        "1",
        "--section",
        "ranking",
        "--filter",
        'state == "finished"',
    )
    text = printed(capsys, "compare", *PRETRAIN, *words)
    assert text.splitlines()[2].startswith("1,ac7s0,20m25s,2450,0s,0")
