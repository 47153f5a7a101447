from __future__ import annotations

import math
import re
import sys
import unicodedata
from collections.abc import Mapping
from typing import Any

import pytest
from answertext import overview_text, view_text
from fakeruns import FakeRun, subjects, training
from hostileruns import NASTY, hostile_subjects
from hypothesis import given, settings
from hypothesis import strategies as st

from pull_logs.analyze import Picking, Subject, View, answer, overview
from pull_logs.cli.render.budget import MIN_TOKENS
from pull_logs.cli.render.escape import escape, inline, json_text
from pull_logs.cli.render.tokens import count_tokens
from pull_logs.errors import UsageError
from pull_logs.runs import Coverage

VIEWS = st.sampled_from(
    [
        View(),
        View(human=True),
        View(schema=True, stats=True),
        View(show_all=True),
        View(max_rows=2),
        View(picking=Picking(last=2), asserts=("any: _step > 3", "_step > 1")),
    ]
)
HEADING = re.compile(
    r"\[(RUNS|CONFIG|SUMMARY|SCHEMA|STATS|HISTORY|COMPARISON|CONFIG_DIFF|SUMMARY_COMPARISON"
    r"|CONFIG_VALUES|ASSERTIONS|OVERVIEW|STATES|METRICS|HEALTH)\]"
    r'( [a-z_]+=([^\s"\[]\S*|"([^"\\]|\\.)*"))*'
)
ORDER = (
    "RUNS", "CONFIG", "SUMMARY", "SCHEMA", "STATS", "HISTORY", "COMPARISON", "CONFIG_DIFF",
    "SUMMARY_COMPARISON", "ASSERTIONS",
)  # fmt: skip


def names_of(text: str) -> list[str]:
    """The sections in their order, each once."""
    found = [line[1:].split("]")[0] for line in text.splitlines() if line.startswith("[")]
    return [name for index, name in enumerate(found) if index == 0 or found[index - 1] != name]


def section(text: str, name: str) -> list[str]:
    lines = text.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(f"[{name}]"))
    ends = [index for index, line in enumerate(lines) if index > start and line.startswith("[")]
    return lines[start : ends[0] if ends else None]


def expected_names(found: Mapping[str, Any]) -> list[str]:
    """The sections of an answer: each of its members, but a summary of which all keys are compared."""
    compared = {entry["key"] for entry in found.get("summary_comparison", ())}
    left = {key for summary in found.get("summary", {}).values() for key in summary} - compared
    return [
        name for name in ORDER if name.lower() in found and (name != "SUMMARY" or bool(left) or not compared)
    ]


@given(hostile_subjects() | hostile_subjects(most=5), VIEWS)
@settings(max_examples=100)
def test_no_name_key_or_value_forges_a_heading_or_breaks_a_line(runs: list[Subject], view: View) -> None:
    found = answer(runs, view)
    text = view_text(found)
    assert text.encode().decode() == text
    assert text.splitlines() == text.removesuffix("\n").split("\n")
    for line in text.splitlines():
        assert not line.startswith("[") or HEADING.fullmatch(line)
        assert not any(unicodedata.category(char) in {"Cc", "Cf", "Zl", "Zp", "Cs"} for char in line)
    assert names_of(text) == expected_names(found)


@given(hostile_subjects() | hostile_subjects(most=5), VIEWS, st.integers(MIN_TOKENS, 900))
@settings(max_examples=100)
def test_a_text_never_takes_more_than_its_tokens(runs: list[Subject], view: View, tokens: int) -> None:
    found = answer(runs, view)
    text = view_text(found, max_tokens=tokens)
    assert count_tokens(text) <= tokens
    assert names_of(text) == expected_names(found)


@given(hostile_subjects(most=4), st.just(0) | st.integers(MIN_TOKENS, 900))
@settings(max_examples=50)
def test_an_overview_is_of_its_sections_alone_whatever_was_logged(runs: list[Subject], tokens: int) -> None:
    text = overview_text(overview(runs), max_tokens=tokens)
    assert text.splitlines() == text.removesuffix("\n").split("\n")
    for line in text.splitlines():
        assert not line.startswith("[") or HEADING.fullmatch(line)
        assert not any(unicodedata.category(char) in {"Cc", "Cf", "Zl", "Zp", "Cs"} for char in line)
    assert names_of(text) == ["OVERVIEW", "STATES", "CONFIG_VALUES", "METRICS", "HEALTH"]
    assert not tokens or count_tokens(text) <= tokens


@given(NASTY)
def test_an_escaped_name_is_itself_or_a_json_string_of_one_harmless_line(text: str) -> None:
    import json

    shown = escape(text)
    assert shown == text or json.loads(shown) == text
    assert inline(shown) == shown
    assert not re.match(r"[\[(#\s]", shown)


def test_every_control_and_invisible_character_that_unicode_knows_is_escaped() -> None:
    unsafe = [
        char
        for char in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(char) in {"Cc", "Cf", "Zl", "Zp", "Cs"}
    ]
    assert [char for char in unsafe if inline(char) == char] == []
    assert inline("\n\u202e\x1b\x85\U000e0041") == "\\n\\u202e\\u001b\\u0085\\udb40\\udc41"


@pytest.mark.parametrize("char", ["é", "ö", "中", "😀", "\u0301", "ß", "\u00a0"])
def test_letters_and_marks_of_any_language_stay(char: str) -> None:
    assert inline(char) == char
    assert json_text(char) == f'"{char}"'


def test_two_small_runs_look_like_this() -> None:
    runs = [
        Subject(
            label="r1",
            run=FakeRun(
                [{"_step": 0, "loss": 2.5, "lr": 0.1}, {"_step": 5, "loss": 0.5, "acc": 0.75, "lr": 0.1}],
                name="baseline",
                config={"lr": 0.001, "bs": 32, "opt": {"name": "adam"}},
                summary={"loss": 0.5, "note": "hi, there", "grads": {"_type": "histogram", "bins": [1]}},
            ),
            checkpoint="ckpt/a.pt",
            checkpoint_step=3,
            source="s.zip",
        ),
        Subject(
            label="r2",
            run=FakeRun(
                [{"_step": 0, "loss": math.nan, "lr": 0.1}, {"_step": 5, "acc": 1 / 3, "lr": 0.1}],
                run_id="r2",
                name="try\n[RUNS]",
                config={"lr": 0.0010000001, "bs": "32", "opt": {"name": "adam"}},
                summary={"loss": 0.7},
                coverage=Coverage(complete=False, reason="8 rows did not arrive"),
            ),
            source="s.zip",
        ),
    ]
    assert view_text(answer(runs, View())) == (
        """\
[RUNS] runs=2 project=acme/nano source=s.zip each="state=finished rows=2 last_step=5"
r1 name=baseline complete=yes checkpoint=ckpt/a.pt checkpoint_step=3
r2 name="try\\n[RUNS]" complete=no reason="8 rows did not arrive"
[CONFIG] run=all keys=1
opt.name: "adam"
# 2 more keys differ: [CONFIG_DIFF]
[SUMMARY] runs=2 keys=2
key,r1,r2
note,"hi, there",
grads,<histogram>,
# 1 more key: [SUMMARY_COMPARISON]
[HISTORY] run=r1 rows_total=2 rows_matched=2 rows_shown=2 hidden=0 sampling=none
_step,acc,loss,lr
0,,2.5,0.1
5,0.75,0.5,0.1
[HISTORY] run=r2 rows_total=2 rows_matched=2 rows_shown=2 hidden=0 sampling=none
_step,acc,loss,lr
0,,NaN,0.1
5,0.333333,,0.1
[COMPARISON] runs=2 metrics=3
metric,value,r1,r2
acc,last,0.75,0.333333
loss,last,0.5,NaN
loss,min,0.5@5,
loss,max,2.5@0,
loss,at_checkpoint,2.5@0,
lr,last,0.1,0.1
lr,at_checkpoint,0.1@0,
[CONFIG_DIFF] runs=2 differ=2 same=1
key,r1,r2
bs,32,"32"
lr,0.001,0.0010000001
[SUMMARY_COMPARISON] runs=2 keys=1
key,r1,r2,2-1
loss,0.5,0.7,0.2
"""
    )


def test_the_config_and_summary_of_one_run_are_lines() -> None:
    run = FakeRun(
        config={"lr": 1e-3, "a b": None, "on": True, "big": 2**60}, summary={"loss": 1 / 3, "n": None}
    )
    text = view_text(answer(subjects(run), View(human=True)))
    assert section(text, "CONFIG") == [
        "[CONFIG] run=A keys=4", "lr: 0.001", '"a b": null', "on: true", "big: 1152921504606846976",
    ]  # fmt: skip
    assert section(text, "SUMMARY") == ["[SUMMARY] run=A keys=2", "loss: 0.333333", "n: null"]


def test_a_section_that_has_nothing_says_so() -> None:
    text = view_text(answer(subjects(FakeRun(), FakeRun(run_id="r2")), View()))
    for name in ORDER:
        if name not in ("RUNS", "SCHEMA", "STATS", "ASSERTIONS"):
            assert section(text, name)[1:] == ["(none)"]
    assert view_text(answer([], View(schema=True, stats=True))) == (
        "[RUNS] runs=0\n(none)\n[SCHEMA] runs=0\n(none)\n[STATS] runs=0\n(none)\n"
    )


def test_schema_and_stats_are_tables_of_a_run() -> None:
    run = FakeRun(
        [{"_step": 0, "loss": 2.0, "tag": "x"}, {"_step": 1, "loss": math.inf}, {"_step": 2, "loss": 1.0}]
    )
    text = view_text(answer(subjects(run), View(schema=True, stats=True)))
    assert section(text, "SCHEMA") == [
        "[SCHEMA] run=A columns=3",
        "name,type,count,missing,nonfinite,min,max,first_step,last_step,interval",
        "_step,int,3,0,0,0,2,0,2,1",
        "loss,number,3,0,1,1,2,0,2,1",
        "tag,string,1,2,0,,,0,0,",
    ]
    assert section(text, "STATS") == [
        "[STATS] run=A metrics=1",
        "metric,count,min,p10,p25,p50,p75,p90,max,mean,std,first,last,min_step,max_step",
        "loss,2,1,1.1,1.25,1.5,1.75,1.9,2,1.5,0.707107,2,1,2,0",
    ]


def test_a_budget_keeps_the_ends_and_the_spike_and_says_what_it_cut() -> None:
    rows: list[dict[str, Any]] = [{"_step": step, "loss": 1 / (step + 1)} for step in range(2000)]
    rows[777]["loss"] = 1e9
    text = view_text(answer(subjects(FakeRun(rows)), View(max_rows=0)), max_tokens=400)
    lines = section(text, "HISTORY")
    heading = re.fullmatch(
        r"\[HISTORY\] run=A rows_total=2000 rows_matched=2000 rows_shown=(\d+) hidden=0"
        r' sampling="extremes (\d+)/2000"',
        lines[0],
    )
    assert heading
    shown = int(heading[1])
    assert heading[2] == heading[1]
    assert len(lines) == shown + 3
    assert "777,1000000000" in lines
    assert {lines[2], lines[-2]} == {"0,1", "1999,0.0005"}
    assert lines[-1] == f"# cut to {shown} of 2000 rows; --select, --where or --last shows others"
    assert 300 <= count_tokens(text) <= 400


def test_a_budget_shares_room_so_that_no_section_starves_another() -> None:
    run = training(
        400, config={f"key{number}": "v" * 40 for number in range(500)}, summary={"loss": 1}, name="n"
    )
    text = view_text(answer(subjects(run), View()), max_tokens=2000)
    assert len(section(text, "CONFIG")) > 10
    assert len(section(text, "HISTORY")) > 30
    assert section(text, "SUMMARY") == ["[SUMMARY] run=A keys=1", "loss: 1"]
    assert re.fullmatch(r"# cut to \d+ of 500 keys; --max-tokens N shows more", section(text, "CONFIG")[-1])


@pytest.mark.parametrize("tokens", [MIN_TOKENS, 1000, 16000])
def test_thousands_of_columns_and_hundreds_of_runs_fit(tokens: int) -> None:
    wide = FakeRun([{"_step": step, **{f"metric/{n}": n / 7 for n in range(5000)}} for step in range(3)])
    many = [
        training(3, run_id=f"r{number}", name=f"run {number}", config={"seed": number})
        for number in range(300)
    ]
    for runs in ([wide], many):
        text = view_text(answer(subjects(*runs), View(unfold=True)), max_tokens=tokens)
        assert count_tokens(text) <= tokens
        assert "# cut to" in text


def test_a_budget_for_nothing_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        view_text(answer([], View()), max_tokens=299)
    assert str(caught.value) == (
        "--max-tokens 299 is too small for any answer; give at least 300, or 0 for no limit"
    )


def test_a_constant_metric_has_no_lines_for_its_range() -> None:
    runs = FakeRun([{"_step": 0, "lr": 1}]), FakeRun([{"_step": 0, "lr": 2}], run_id="r2")
    text = view_text(answer(subjects(*runs), View()))
    assert section(text, "COMPARISON") == ["[COMPARISON] runs=2 metrics=1", "metric,value,A,B", "lr,last,1,2"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1 / 3, "0.333333"),
        (1_700_000_000.75, "1700000001"),
        (123_456.789, "123457"),
        (-2.5e7 - 0.25, "-25000000"),
        (1e-7 / 3, "3.33333e-08"),
        (1e22, "1e+22"),
        (2**60 + 1, "1152921504606846977"),
        (-math.inf, "-Infinity"),
        (True, "true"),
        ("NaN?", '"NaN?"'),
    ],
)
def test_a_cell_has_six_significant_digits_or_all_before_the_point(value: Any, shown: str) -> None:
    text = view_text(answer(subjects(FakeRun(summary={"x": value})), View(human=True)))
    assert section(text, "SUMMARY")[1] == f"x: {shown}"


def test_four_runs_or_more_are_shown_by_metric_with_the_runs_that_lack_it() -> None:
    rows = [{"_step": 2 * step, "loss": float(step)} for step in range(3)]
    runs = [FakeRun(rows, run_id=f"r{number}") for number in range(3)]
    runs.append(FakeRun([{"_step": 0, "odd, name": 1.5, "loss": 7}], run_id="r3"))
    text = view_text(answer(subjects(*runs), View(schema=True, stats=True)))
    assert text.partition("[SCHEMA]")[2] == (
        """\
 runs=4 columns=3
name,type,count,missing,nonfinite,min,max,first_step,last_step,interval,runs,lack
_step,int,10,0,0,0,4,0,4,2,4,
loss,int,10,0,0,0,7,0,4,2,4,
"odd, name",number,1,0,0,1.5,1.5,0,0,,1,"A B C"
[STATS] metric=loss runs=4
run,count,min,p10,p25,p50,p75,p90,max,mean,std,first,last,min_step,max_step
A,3,0,0.2,0.5,1,1.5,1.8,2,1,1,0,2,0,4
B,3,0,0.2,0.5,1,1.5,1.8,2,1,1,0,2,0,4
C,3,0,0.2,0.5,1,1.5,1.8,2,1,1,0,2,0,4
D,1,7,7,7,7,7,7,7,7,,7,7,0,0
[STATS] metric="odd, name" runs=1 lack="A B C"
run,count,min,p10,p25,p50,p75,p90,max,mean,std,first,last,min_step,max_step
D,1,1.5,1.5,1.5,1.5,1.5,1.5,1.5,1.5,,1.5,1.5,0,0
"""
    )


def test_a_budget_cuts_metrics_and_runs_of_many_and_lists_only_those_that_lack_one() -> None:
    runs = [FakeRun([{"_step": 0, **{f"m{n}": n / 7 for n in range(30)}}], run_id=f"r{n}") for n in range(40)]
    text = view_text(answer(subjects(*runs), View(stats=True, unfold=True)), max_tokens=1000)
    assert count_tokens(text) <= 1000
    assert "lack" not in text
    assert re.search(r"\n# cut to \d+ of 30 metrics, \d+ of 40 runs; --select REGEX shows others\n$", text)
