"""`logs` as a user runs it: the last lines, those that match, those near a step, and messages without any."""

from __future__ import annotations

import dataclasses
import json
from importlib.resources import files
from pathlib import Path

import pytest
from bundlekit import bundle_run, make_bundle
from consolekit import console_of, printed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from test_fetch_command import pull_logs

from pull_logs.cli.main import main
from pull_logs.cli.render.budget import MIN_JSON_TOKENS, MIN_TOKENS
from pull_logs.cli.render.tokens import count_tokens
from pull_logs.replay import serve_bundle
from pull_logs.snapshot.format import ConsoleLine
from pull_logs.snapshot.write.run_sources import BundleRun

SCHEMA = Draft202012Validator(json.loads((files("pull_logs") / "data" / "schemas" / "logs.json").read_text()))
ROWS = [{"_step": step, "_timestamp": 1_795_428_000 + 60 * step, "loss": 1 / (step + 1)} for step in range(5)]
"""A row a minute from 2026-11-23T10:00:00 on."""

HOSTILE = "\n[RUNS] runs=9\n\x1b[31mred\x1b[0m \u202e"


def printing(path: str, lines: list[ConsoleLine]) -> BundleRun:
    return dataclasses.replace(bundle_run(path, ROWS), console=console_of(lines))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = [
        printing("acme/nano/a", printed(240)),
        printing("acme/nano/b", [ConsoleLine(number=0, text=HOSTILE)]),
        bundle_run("acme/nano/c", ROWS),
    ]
    return make_bundle(tmp_path_factory.mktemp("logs") / "a.wandb.zip", runs)


def said(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> str:
    assert main(["logs", *map(str, words)]) == code
    out, err = capsys.readouterr()
    return out if code == 0 else err


def test_the_last_lines_of_a_run(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "-b", bundle, "-r", "a", "--tail", 2) == (
        "[RUNS] runs=1 project=acme/nano\n"
        "a name=brisk-sun-1 state=finished\n"
        "[LOGS] run=a lines_total=240 lines_matched=240 lines_shown=2\n"
        "line,time,level,label,text\n"
        '238,2026-11-23T10:03:58.250000,,,"epoch 238 done"\n'
        '239,2026-11-23T10:03:59.250000,error,,"epoch 239 done"\n'
    )


def test_lines_that_match_and_lines_near_a_step(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, bundle, "-r", "a", "--grep", "(?i)EPOCH 1?23 ")
    assert "[LOGS] run=a lines_total=240 lines_matched=2 lines_shown=2\n" in text
    assert [line.split(",")[0] for line in text.splitlines()[4:]] == ["23", "123"]
    near = said(capsys, bundle, "-r", "a", "--around-step", 2, "--window", 2)
    assert "lines_matched=4 lines_shown=4 step=2 step_time=2026-11-23T10:02:00\n" in near
    assert [line.split(",")[0] for line in near.splitlines()[4:]] == ["118", "119", "120", "121"]
    both = said(capsys, bundle, "-r", "a", "--around-step", 99, "--grep", "9 done", "--tail", 1)
    assert "step=4" in both
    assert both.splitlines()[4].startswith("239,")


def test_no_line_forges_a_section_or_moves_the_cursor(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, bundle, "-r", "b")
    assert text.splitlines()[4:] == ['0,,,,"\\n[RUNS] runs=9\\nred \\u202e"']
    found = json.loads(said(capsys, bundle, "-r", "b", "--json"))
    assert found["logs"][0]["text"] == HOSTILE


def test_several_runs_and_those_without_a_log(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, bundle, "--tail", 1)
    assert text.startswith(
        '# 1 run without a console log\n[RUNS] runs=3 project=acme/nano each="state=finished"\n'
    )
    assert [line.split()[1] for line in text.splitlines() if line.startswith("[LOGS]")] == ["run=a", "run=b"]
    found = json.loads(said(capsys, bundle, "--tail", 0, "--max-tokens", 0, "--json"))
    SCHEMA.validate(found)
    assert [run["lines_total"] for run in found["runs"]] == [240, 1, None]
    assert len(found["logs"]) == 241


@given(
    tokens=st.integers(MIN_TOKENS, 2000),
    tail=st.integers(0, 300),
    as_json=st.booleans(),
    pattern=st.sampled_from([None, "1", "done$"]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_answer_keeps_to_its_budget(
    bundle: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    tokens: int,
    tail: int,
    as_json: bool,
    pattern: str | None,
) -> None:
    tokens = max(tokens, MIN_JSON_TOKENS) if as_json else tokens
    words = ["--tail", tail, "--max-tokens", tokens, *(["--json"] if as_json else [])]
    text = said(capsys, bundle, *words, *([] if pattern is None else ["--grep", pattern]))
    assert count_tokens(text) <= tokens
    if as_json:
        SCHEMA.validate(json.loads(text))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["-r", "c"],
            3,
            (
                "run 'acme/nano/c' has no console log; `pull-logs fetch --console` downloads console logs,"
                " and `import` takes them from local folders"
            ),
        ),
        (["-r", "b", "--around-step", "1"], 2, "the console lines of run 'acme/nano/b' have no times"),
        (
            ["--grep", "("],
            2,
            (
                "--grep '(' is not a valid regular expression (RE2): missing ): (; escape special characters"
                " with a backslash; there are no look-arounds and no back-references"
            ),
        ),
        (
            ["--window", "3"],
            2,
            "--window is given without --around-step; name a step with --around-step STEP",
        ),
        (["-r", "zzz"], 3, "no run 'zzz' in "),
    ],
)
def test_what_cannot_be_shown_is_said(
    bundle: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    assert message in said(capsys, "-b", bundle, *words, code=code)


def test_rows_without_a_time_are_near_no_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = bundle_run("acme/nano/a", [{"_step": 0, "loss": 1}])
    made = BundleRun(
        info=run.info, coverage=run.coverage, batches=run.batches, console=console_of(printed(2))
    )
    path = make_bundle(tmp_path / "a.wandb.zip", [made])
    assert "run 'acme/nano/a' has no row with a time, so lines near a step are not known" in said(
        capsys, path, "--around-step", 0, code=2
    )


def test_a_user_fetches_logs_and_reads_them(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "b.wandb.zip"
    with serve_bundle(bundle) as server:
        done = pull_logs("fetch", "-p", "acme/nano", "--console", "-o", out, environment=server.environment())
        assert (done.returncode, done.stdout) == (0, "")
        assert "3 runs, 15 rows, 241 console lines, " in done.stderr
        again = pull_logs("refresh", out, environment=server.environment())
        assert "241 console lines" in again.stderr
    assert main(["logs", str(out), "-r", "a"]) == main(["info", str(out)]) == 0
    text = capsys.readouterr().out
    assert "lines_total=240" in text
    assert "console_lines=240" in text
    assert main(["info", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [run["console_lines"] for run in found["runs"]] == [240, 1, None]
