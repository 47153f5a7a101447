"""`compare` as a user runs it: text, JSON, budgets, and what strangers may have written."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from answertext import compare_json, compare_text
from bundlekit import bundle_run, make_bundle
from checkout import ROOT
from fakeruns import FakeRun, label, subjects, training
from hostileruns import hostile_subjects
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pull_logs.analyze import Subject
from pull_logs.analyze.answers.comparison import Comparison, compare_runs
from pull_logs.analyze.questions.alignment import DEFINED, Position
from pull_logs.analyze.questions.run_columns import RunColumn
from pull_logs.analyze.relations.request import Fit
from pull_logs.analyze.statistics.ranking import Criterion
from pull_logs.cli.main import main
from pull_logs.cli.render.budget import MIN_JSON_TOKENS, MIN_TOKENS
from pull_logs.cli.render.tokens import count_tokens
from pull_logs.cli.sections.side_by_side import some_labels
from pull_logs.errors import PullLogsError

GOLDEN = ROOT / "tests" / "cli" / "render" / "golden"
WRITE = bool(os.environ.get("PULL_LOGS_WRITE_GOLDEN"))
BUNDLE = ("-b", "fixtures/digits.wandb.zip")
BY_LR = ("--group-by", "config.lr", "--best", "val/acc:max")

CASES: dict[str, tuple[str, ...]] = {
    "compare-two": (*BUNDLE, "-r", "cnn1e1s0", "-r", "mlp5e2s0", "--select", "^val/"),
    "compare-all": (*BUNDLE, "--select", "^val/(acc|loss)$"),
    "compare-groups": (*BUNDLE, *BY_LR, "--select", "^val/(acc|loss)$"),
    "compare-groups-at-epoch": (*BUNDLE, *BY_LR, "--at", "6.5", "--x", "epoch", "--select", "^val/acc$"),
    "compare-groups-bootstrap": (
        *BUNDLE, "--group-by", "all-but:seed", "--best", "val/loss", "--ci", "bootstrap", "--top", "3",
        "--select", "^val/loss$", "--filter", 'state == "finished"',
    ),
    "compare-at-best": (*BUNDLE, "--best", "val/acc:max", "--at", "best", "--top", "4", "--select", "loss"),
    "compare-checkpoints": (
        *BUNDLE, "-c", "fixtures/digits/checkpoints/epoch-06", "--at", "checkpoint", "--best", "val/acc:max",
        "--top", "5", "--select", "^val/acc$",
    ),
    "compare-assertions": (
        *BUNDLE, *BY_LR, "--top", "1", "--select", "^val/acc$", "--assert", "all: val/acc > 0", "--assert",
        "val/acc > 0.97", "--assert", "step 100: train/loss < 3",
    ),
    "compare-columns": (
        *BUNDLE, "--column", "reach=first_step(val/acc > 0.9)", "--column", "loss=mean(train/loss)",
        "--column", "hours=duration / 3600", "--column", "state", "--sort", "reach:min", "--top", "5",
    ),
    "compare-eval-where": (
        *BUNDLE, "--eval", "gap=val/loss - train/loss", "--where", "_step > 100", "--best", "gap:min",
        "--select", "^val/loss$", "--filter", "config.lr == 0.1",
    ),
    "compare-margin": (
        *BUNDLE, "--filter", "config.lr == 0.1 or config.lr == 0.01", "--group-by", "config.seed", "--seed",
        "config.lr", "--best", "val/acc:max", "--margin", "3%", "--select", "^val/acc$", "--alpha", "0.1",
    ),
    "compare-tasks": (
        *BUNDLE, "--task", "seed", *BY_LR, "--filter", "config.seed < 4 and config.lr in [0.1, 0.01, 0.001]",
    ),
    "compare-gate": (
        *BUNDLE, "--against", BUNDLE[1], "--filter", "config.lr == 0.1 or config.lr == 0.05", "--metric",
        "val/acc:max", "--metric", "val/loss", "--margin", "1%", "--alpha", "0.01",
    ),
    "compare-effect": (*BUNDLE, "--effect", "val/loss:min", "--filter", "config.epochs == 12"),
    "compare-fit": (
        *BUNDLE, "--fit", "log10(val/loss) ~ log10(config.lr)", "--fit", "train/loss ~ val/loss",
        "--filter", "config.lr < 1",
    ),
    "compare-pareto": (*BUNDLE, "--pareto", "duration:min, val/acc:max"),
    "compare-budget": (*BUNDLE, *BY_LR, "--max-tokens", "900"),
}  # fmt: skip
CODES = {"compare-assertions": 7}


def schema() -> Draft202012Validator:
    found = json.loads((files("pull_logs") / "data" / "schemas" / "compare.json").read_text())
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


SCHEMA = schema()


@pytest.mark.parametrize("kind", ["txt", "json"])
@pytest.mark.parametrize("name", CASES)
def test_a_comparison_is_what_it_was(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["compare", *CASES[name], *(["--json"] if kind == "json" else [])]) == CODES.get(name, 0)
    found = capsys.readouterr().out
    if kind == "json":
        SCHEMA.validate(json.loads(found))
        found = json.dumps(json.loads(found), indent=1, ensure_ascii=False) + "\n"
    file = GOLDEN / f"{name}.{kind}"
    if WRITE:
        file.write_text(found)
    assert found == file.read_text()


def test_every_section_of_a_comparison_is_in_some_golden_file() -> None:
    texts = [file.read_text() for file in GOLDEN.glob("compare-*.txt")]
    found = {line[1 : line.index("]")] for text in texts for line in text.splitlines() if line[:1] == "["}
    assert found == {
        "RUNS", "ANSWER", "GATE", "TASKS", "TASK_GROUPS", "TASK_VERDICTS", "PROFILES", "RANKING",
        "COLUMNS", "COLUMN_TOTALS", "EFFECTS", "FIT",
        "FIT_OUTLIERS", "PARETO", "GROUPS", "GROUP_STATS", "VERDICTS",
        "CHECKPOINTS", "COMPARISON", "CONFIG_DIFF", "SUMMARY_COMPARISON", "ASSERTIONS",
    }  # fmt: skip
    answers = [json.loads(file.read_text()) for file in GOLDEN.glob("compare-*.json")]
    assert {name for answer in answers for name in answer} == set(SCHEMA.schema["properties"])


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pull_logs", "compare", *words],
        capture_output=True, text=True, check=False, timeout=60, cwd=ROOT,
    )  # fmt: skip


def test_which_lr_is_best_over_seeds_and_whether_it_is_real_is_one_command() -> None:
    done = run(*BUNDLE, *BY_LR)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[lines.index("[ANSWER]") + 1] == (
        "# best val/acc (max): G1 (config.lr=0.1), mean 0.9743 over n=4; "
        "it is better than all 2 tested groups, beyond seed noise; 2 not tested (n < 2)"
    )


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--top", "3"), 2, "--top needs to know by what; name a metric with --best or --sort"),
        (("--at", "then"), 2,
         "--at 'then' is not a valid position; give a step, or last, best or checkpoint"),
        (("--group-by", "config.lrr"), 3,
         "--group-by 'config.lrr': no run has 'config.lrr'; the nearest are"),
        (("--best", "val/ac:max"), 3,
         "--best 'val/ac': no run has numbers of such a metric; the nearest are 'val/acc'"),
        (("--x", "phase", "--at", "3"), 3,
         ("--x 'phase': no run has numbers of it in these rows; its values are of another kind, or --where "
         "keeps none of its rows")),
        (("--column", "reach=first_step(val/ac > 0.9)"), 3,
         "no metric or run column is named 'val/ac'; the nearest are val/acc"),
        (("--column", "1st=rows"), 2, "--column cannot name a column '1st'; a name is a letter or _"),
        (("--column", "val/acc=rows"), 2, "--column 'val/acc' is the name of a metric already; choose"),
        (("--column", "a=rows", "--column", "a=1"), 2, "two columns are named 'a'; give each another name"),
        (("--column", "a="), 2, "--column 'a=' has no expression; write it as --column 'tok/s=mean("),
        (("--column", "a=rows", "--best", "a:min", "--at", "best"), 2,
         "--at best needs a metric with a history, and 'a' has one value per run; name a metric with"),
        (("--sort", "config.lrr:max"), 3,
         "--sort 'config.lrr': no run has such a value; the nearest are 'config.lr', "),
        (("--best", "metadata.gpu:max"), 3,
         "--best 'metadata.gpu': no run has such a value; the runs have no metadata"),
        (("--group-by", "metadata.gpu"), 3,
         "--group-by 'metadata.gpu': no run has metadata; their logs do not contain it, or it was removed"),
        (("--column", "reach=rows", "--sort", "reac:min"), 3,
         "--sort 'reac': no run has numbers of such a metric; the nearest are 'reach'"),
        (("--effect", "val/los:min"), 3,
         "no metric or run column is named 'val/los'; the nearest are val/loss"),
        (("--effect", "duration"), 2, "--effect 'duration' does not say which end is better; write: "),
        (("--fit", "val/loss"), 2, "--fit 'val/loss' is not Y ~ X; write it as --fit 'log(train/loss) ~ "),
        (("--pareto", "val/loss:min"), 2,
         "--pareto 'val/loss:min' does not name two criteria or more; write it as --pareto 'config."),
        (("--eval", "gap"), 2, "--eval 'gap' is not NAME=EXPR; write it as --eval 'gap="),
        (("--margin", "0.5%"), 2,
         "--margin is for tests between groups; group runs with --group-by KEY"),
        ((*BY_LR, "--margin", "small"), 2,
         "--margin 'small' is not a positive number or percentage; write the largest difference"),
        ((*BY_LR, "--alpha", "5"), 2,
         "--alpha 5 is not between 0 and 1; write the share of false alarms that is allowed"),
        (("--max-tokens", "5"), 2, "--max-tokens 5 is too small for any answer"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_the_next_step(words: tuple[str, ...], code: int, message: str) -> None:
    done = run(*BUNDLE, *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"pull-logs: error: {message}")
    pointed = 2 if "or run column is named" in message else 0
    assert len(done.stderr.splitlines()) == 1 + pointed


def test_incomplete_runs_are_reported_and_an_error_under_strict() -> None:
    done = run(*BUNDLE, "--select", "^val/acc$", "--strict")
    assert done.returncode == 4
    assert "# kill1e2s is incomplete: " in done.stdout
    assert "incomplete under --strict: kill1e2s" in done.stderr


def test_a_gate_is_exit_7_and_names_run_and_value_shown_or_not() -> None:
    gate = ("--assert", "val/acc > 0.974", "--assert", "any: val/acc > 0.5")
    done = run(*BUNDLE, "--filter", "config.lr == 0.1", "--best", "val/acc:max", "--top", "1", *gate)
    assert done.returncode == 7
    assert done.stdout.endswith(
        "[ASSERTIONS] asserted=2 broken=1\n"
        "assert,holds,run,because\n"
        '"val/acc > 0.974",no,cnn1e1s1,"val/acc = 0.972222"\n'
        '"val/acc > 0.974",no,cnn1e1s3,"val/acc = 0.972222"\n'
        '"any: val/acc > 0.5",yes,,\n'
    )
    assert done.stderr.splitlines()[-1] == (
        "pull-logs: error: --assert 'val/acc > 0.974' does not hold for acme/digits/cnn1e1s1 "
        "(val/acc = 0.972222), acme/digits/cnn1e1s3 (val/acc = 0.972222); --json lists "
        "every run and value under assertions"
    )


def test_a_gate_that_holds_is_exit_0() -> None:
    done = run(*BUNDLE, "--filter", "config.lr == 0.1", "--assert", "val/acc > 0.9", "--no-hints")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(
        '[ASSERTIONS] asserted=1 broken=0\nassert,holds,run,because\n"val/acc > 0.9",yes,,\n'
    )


def test_a_gate_over_an_unknown_name_is_pointed_at() -> None:
    done = run(*BUNDLE, "--assert", "all: val/ac > 0.9")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(
        "pull-logs: error: no metric or run column is named 'val/ac'; the nearest are val/acc"
    )
    assert done.stderr.endswith("\n    all: val/ac > 0.9\n         ~~~~~^\n")


def test_a_gate_reads_what_no_metric_of_the_comparison_is() -> None:
    runs = subjects(training(), training(run_id="r2", config={"lr": 1}))
    found = asked(runs, Comparison(select="val/acc", asserts=("all: train/loss < 0.5", "config.lr == 1")))
    assert found is not None
    reported = [
        [(broken["run"], broken["message"]) for broken in verdict["broken"]]
        for verdict in found["assertions"]
    ]
    assert reported[0] == [(run, "train/loss = 2.5 at step 0, and 4 more of 12 rows") for run in "AB"]
    assert reported[1] == [("A", "config.lr is missing")]


def test_at_most_two_hints_are_on_stderr_and_they_run() -> None:
    done = run(*BUNDLE, "--select", "^val/acc$")
    commands = re.findall(r"`?(pull-logs compare [^`\n]+)", done.stderr)
    assert len(commands) == 2
    for command in commands:
        assert run(*shlex.split(command)[2:]).returncode == 0
    assert run(*BUNDLE, "--select", "^val/acc$", "--no-hints").stderr == ""


def test_a_rank_without_a_test_claims_nothing() -> None:
    words = (*BUNDLE, "--group-by", "config.lr", "--select", "^val/acc$", "--filter", 'state == "finished"')
    done = run(*words, "--sort", "val/acc:max", "--no-hints")
    assert "[VERDICTS]" not in done.stdout
    assert (
        "[ANSWER]\n# best val/acc (max): G1 (config.lr=0.1), mean 0.9743 over n=4; "
        "its lead is not tested, since --sort only ranks: --best tests it\n"
    ) in done.stdout


def test_a_step_before_the_first_row_is_not_called_too_far() -> None:
    late = FakeRun([{"_step": step, "loss": 1.0, "epoch": step} for step in (5, 6)])
    for question, where in (
        (Comparison(at=Position("step", 2.0)), "_step 2"),
        (Comparison(at=Position("step", 2.0), axis=DEFINED), "the axis that each was defined over, 2"),
    ):
        found = asked(subjects(late), question)
        assert found is not None
        (note,) = found["notes"]
        assert note == (
            f"metrics of A have no value at {where}: "
            "it is not between their first and last one, and nothing is extrapolated"
        )


def test_a_position_after_the_end_of_every_run_is_answered_with_one_to_compare_at() -> None:
    words = ("-b", "fixtures/pretrain.wandb.zip", "--best", "val/loss:min", "--no-hints")
    for at, note in (
        (("--at", "99999"), "no run has _step 99999: the last of any run is 2950; --at 700 compares all"),
        (
            ("--x", "tokens", "--at", "1e12"),
            "no run has tokens 1000000000000: the last of any run is 12083200; --at 2867200 compares all",
        ),
    ):
        done = run(*words, *at)
        assert done.returncode == 0
        assert f"# {note}\n" in done.stdout
        assert "have no value at" not in done.stdout
        heading, nothing = done.stdout.splitlines()[-2:]
        assert heading.startswith("[RANKING] metric=val/loss ")
        assert nothing == "(none)"


@pytest.mark.parametrize(
    ("ends", "note"),
    [
        ((-5, -4), "the last of any run is -4; --at -4 compares those that reach it"),
        ((-5, float("nan")), "the last of any run is -5; --at -5 compares all"),
    ],
)
def test_the_ends_of_an_axis_may_be_negative_or_not_numbers(ends: tuple[float, float], note: str) -> None:
    runs = [
        FakeRun([{"_step": 0, "temp": end - 1, "loss": 1.0}], summary={"temp": end, "loss": 1.0})
        for end in ends
    ]
    found = asked(subjects(*runs), Comparison(at=Position("step", 3.0), axis="temp"))
    assert found is not None
    assert f"no run has temp 3: {note}" in found["notes"]


QUESTIONS = st.sampled_from(
    [
        Comparison(),
        Comparison(group_by=("state",)),
        Comparison(group_by=("tags",), interval="bootstrap"),
        Comparison(at=Position("step", 3.0), interpolation="previous"),
        Comparison(at=Position("checkpoint"), axis=DEFINED, select="."),
        Comparison(group_by=("name",), sort=Criterion("1,2", "min"), top=2),
        Comparison(group_by=("name",), best=Criterion("null", "max")),
        Comparison(best=Criterion("[RUNS] runs=9", "max"), at=Position("best")),
        Comparison(columns=(RunColumn("a", "rows"), RunColumn("name", "name"), RunColumn("tags", "tags"))),
        Comparison(columns=(RunColumn("a", "last(_step)"),), best=Criterion("a", "min"), group_by=("name",)),
        Comparison(effect=Criterion("rows", "min"), fits=(Fit("rows", "last_step"), Fit("rows", "rows"))),
        Comparison(pareto=(Criterion("rows", "min"), Criterion("last_step", "max")), top=None),
        Comparison(evals=(("a", "_step * 2"),), where="_step > 1", sort=Criterion("created_at", "max")),
        Comparison(asserts=("any: _step > 3", 'state == "[RUNS]\\n"', "step 2: _step == 2"), top=None),
    ]
)
HEADING = re.compile(
    r"\[(RUNS|ANSWER|COLUMNS|COLUMN_TOTALS|EFFECTS|FIT|FIT_OUTLIERS|PARETO|GROUPS|GROUP_STATS|VERDICTS|RANKING|COMPARISON|CONFIG_DIFF|SUMMARY_COMPARISON|ASSERTIONS)\]"
    r'( [a-z_]+=([^\s"\[\]]+|"([^"\\]|\\.)*"))*'
)


@st.composite
def many_hostile_subjects(draw: st.DrawFn) -> list[Subject]:
    """A few nasty runs, or so many of the same that they become rows."""
    runs = draw(hostile_subjects(most=4)) * draw(st.sampled_from([1, 4]))
    return [replace(subject, label=label(index)) for index, subject in enumerate(runs)]


def asked(runs: list[Subject], question: Comparison) -> dict[str, Any] | None:
    """The answer, or None where the drawn runs have no such metric."""
    try:
        found = compare_runs(runs, question)
    except PullLogsError:
        return None
    found.pop("next")
    return dict(found)


@given(many_hostile_subjects(), QUESTIONS)
@settings(max_examples=30)
def test_no_name_key_or_value_forges_a_heading_or_breaks_a_line(
    runs: list[Subject], question: Comparison
) -> None:
    found = asked(runs, question)
    if found is None:
        return
    text = compare_text(found, max_tokens=0)
    assert text.splitlines() == text.removesuffix("\n").split("\n")
    for line in text.splitlines():
        assert not line.startswith("[") or HEADING.fullmatch(line)
    answer = json.loads(compare_json(found, max_tokens=0))
    assert answer == found
    SCHEMA.validate(answer)


@given(many_hostile_subjects(), QUESTIONS, st.integers(MIN_TOKENS, 1200))
@settings(max_examples=30)
def test_an_answer_never_takes_more_than_its_tokens_and_keeps_its_shape(
    runs: list[Subject], question: Comparison, tokens: int
) -> None:
    found = asked(runs, question)
    if found is None:
        return
    assert count_tokens(compare_text(found, max_tokens=tokens)) <= tokens
    tokens = max(tokens, MIN_JSON_TOKENS)
    text = compare_json(found, max_tokens=tokens)
    assert count_tokens(text) <= tokens
    SCHEMA.validate(json.loads(text))


@pytest.mark.parametrize("tokens", [MIN_TOKENS, 2000, 16000])
def test_a_thousand_runs_are_groups_and_rows_within_the_budget(tokens: int) -> None:
    one = training(3)
    runs = [Subject(label=label(index), run=_like(one, index), source="test") for index in range(1000)]
    found = asked(runs, Comparison(group_by=("config.lr",), best=Criterion("val/acc")))
    assert found is not None
    text = compare_text(found, max_tokens=tokens)
    assert count_tokens(text) <= tokens
    assert (
        tokens == MIN_TOKENS
        or "[ANSWER]\n# best val/acc (max): G1 (config.lr=0), mean 0.8333 over n=200; " in text
    )
    assert ("# cut to" in text) == (tokens == MIN_TOKENS)
    tokens = max(tokens, MIN_JSON_TOKENS)
    assert count_tokens(compare_json(found, max_tokens=tokens)) <= tokens


def _like(one: FakeRun, index: int) -> FakeRun:
    run = FakeRun(run_id=f"r{index}", config={"lr": index % 5, "seed": index // 5})
    run.batch = one.batch
    return run


@pytest.mark.parametrize(
    ("labels", "of", "reported"),
    [
        ([], 40, ""),
        (["A"], 40, "A"),
        (["B", "A", "C"], 40, "B A C"),
        (["B", "A", "C", "D"], 40, "B +3"),
        (["B", "A", "C", "D"], 10, "B A C D"),
        (["a b"], 10, '"a b"'),
    ],
)
def test_runs_with_something_in_common_are_named_or_the_first_and_how_many_more(
    labels: list[str], of: int, reported: str
) -> None:
    assert some_labels(labels, of) == reported


def test_what_a_ranking_shows_already_is_left_for_a_section_that_is_named() -> None:
    words = (*BUNDLE, "--group-by", "config.lr", "--best", "val/acc:max", "--no-hints")
    lines = run(*words).stdout.splitlines()
    assert "# left out: [COMPARISON], [CONFIG_DIFF]; --section NAME shows one" in lines
    assert not any(line.startswith(("[COMPARISON]", "[CONFIG_DIFF]")) for line in lines)
    for name, first in (("comparison", "run,val/acc,config.seed,"), ("CONFIG_DIFF", "key,distinct,value,")):
        (heading, columns, *_) = run(*words, "--section", name).stdout.splitlines()
        assert heading.startswith(f"[{name.upper()}] runs=16 ")
        assert columns.startswith(first)


def test_a_ranking_without_groups_has_the_config_keys_that_differ() -> None:
    words = (*BUNDLE, "--filter", "config.seed == 0", "--best", "val/acc:max", "--top", "2", "--no-hints")
    lines = run(*words).stdout.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("[RANKING]"))
    assert lines[start + 1].startswith("rank,run,value,x,best,best_step,config.lr,")
    assert lines[start + 2].startswith("1,cnn1e1s0,0.975,263,0.980556,219,0.1,")


def test_sums_over_all_runs_are_left_out_beside_groups() -> None:
    words = (*BUNDLE, "--column", "rows", "--sort", "rows:max", "--no-hints")
    assert "[COLUMN_TOTALS] runs=16\n" in run(*words).stdout
    done = run(*words, "--group-by", "config.lr")
    assert "# left out: [COLUMN_TOTALS], [CONFIG_DIFF]; --section NAME shows one\n" in done.stdout
    assert "[COLUMN_TOTALS]" in run(*words, "--group-by", "config.lr", "--section", "column_totals").stdout


def test_ten_runs_are_columns_and_eleven_are_rows() -> None:
    def comparison(count: int) -> str:
        runs = [training(3, run_id=f"r{index}", config={"seed": index}) for index in range(count)]
        found = asked(subjects(*runs), Comparison(select="val/acc"))
        assert found is not None
        return compare_text(found, max_tokens=0)

    assert "\nmetric,value,A,B,C,D,E,F,G,H,I,J\n" in comparison(10)
    assert "\nrun,val/acc,config.seed\nA,0.833333,0\n" in comparison(11)


def test_what_a_note_advises_can_be_pasted_into_a_shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [
        bundle_run(
            f"acme/nano/r{n}", [{"_step": 0, "a loss": n + n % 3}], config={"a b": n % 2, "c.d": n % 3}
        )
        for n in range(6)
    ]
    bundle = make_bundle(tmp_path / "runs.wandb.zip", runs)
    assert main(["compare", str(bundle), "--effect", "a loss:min"]) == 0
    advice = "--group-by 'config.c\\.d' --group-by 'config.a b' --best 'a loss:min' looks at two together"
    assert advice in capsys.readouterr().out
