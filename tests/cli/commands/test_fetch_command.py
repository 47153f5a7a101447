"""`fetch` and `refresh` as a user runs them: what is reported at the end and refused at the beginning."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from checkout import ROOT

from pull_logs.cli.render.pull_report import print_report
from pull_logs.fetch import PullReport, RunOutcome
from pull_logs.replay import ReplayServer, serve_bundle
from pull_logs.runs import RunPath
from pull_logs.snapshot import SealReport

NOWHERE = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "k" * 40}


def pull_logs(*words: str | Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pull_logs", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


@pytest.fixture(scope="module")
def server() -> Iterator[ReplayServer]:
    with serve_bundle(ROOT / "fixtures" / "digits.wandb.zip") as serving:
        yield serving


def outcome(run_id: str, *, rows: int = 0, complete: bool = False, **more: object) -> RunOutcome:
    path = RunPath("acme", "nano", run_id)
    return RunOutcome(path=path, rows=rows, complete=complete, **more)  # type: ignore[arg-type]


def report(*runs: RunOutcome) -> PullReport:
    out = Path("b.wandb.zip")
    seal = SealReport(
        path=out, bytes=2_000_000, runs=3, rows=1100, bundle_id="x", content_id="y", incomplete=()
    )
    return PullReport(
        out=out,
        seal=seal,
        runs=runs,
        requests=1,
        graphql_requests=1,
        throttled=0,
        retries=2,
        bytes_received=1_500_000,
        rows_received=1100,
        seconds=1.25,
    )


def test_the_report_is_a_table_of_complete_and_incomplete_runs_with_reasons(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_report(
        report(
            outcome("a", rows=1000, complete=True, promised_rows=1000),
            outcome("b", rows=50, promised_rows=1200, reason="W&B promised 1200 rows and 50 arrived"),
            outcome("c\x1b[2J", reason="run 'acme/nano/c' is not there", sealed=False),
            outcome("d", rows=50, promised_rows=50, how="kept", reason="kept as it was: no answer"),
        )
    )
    assert capsys.readouterr() == (
        "",
        (
            "b.wandb.zip: 3 runs, 1100 rows, 2.00 MB, verified\n"
            "bundle id  x\n"
            "content id y\n"
            "1 of 4 runs complete; 1 request, 1.50 MB received, 2 retries, 1.2 s\n"
            "2 downloaded completely, 1 kept as they were\n"
            "RUN                    ROWS  PROMISED  STATE\n"
            "1 run                 1,000     1,000  complete\n"
            "acme/nano/b              50     1,200  incomplete: W&B promised 1200 rows and 50 arrived\n"
            "acme/nano/c\\u001b[2J      -         -  not in the bundle: run 'acme/nano/c' is not there\n"
            "acme/nano/d              50        50  kept as it was: no answer\n"
            "the same command downloads only what is missing\n"
        ),
    )


READ_BY_SDK = "1,100 rows read by the wandb SDK, whose requests are not counted"


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        (0, f"{READ_BY_SDK}, 1.2 s"),
        (3, f"3 requests, 1.50 MB received, 2 retries, {READ_BY_SDK}, 1.2 s"),
    ],
)
def test_a_pull_through_the_sdk_has_no_count_of_its_requests(
    requests: int, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = report(outcome("a", rows=1100, complete=True))
    print_report(replace(found, via="sdk", requests=requests))
    assert capsys.readouterr().err.splitlines()[3] == f"1 of 1 run complete; {expected}"


def test_if_everything_is_complete_there_is_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(report(outcome("a", rows=1100, complete=True)))
    assert capsys.readouterr().err.splitlines()[-1].startswith("1 of 1 run complete; ")


def test_a_resumed_or_refreshed_pull_shows_where_the_runs_came_from(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_report(
        report(
            outcome("a", complete=True, how="resumed"),
            outcome("b", complete=True, how="appended", new_rows=1),
            outcome("c", complete=True, note="history was rewritten: step 4 differs"),
        )
    )
    assert capsys.readouterr().err.splitlines()[-3:] == [
        "1 from an earlier attempt, 1 appended to (1 new row), 1 downloaded completely",
        "acme/nano/b: 1 new row",
        "acme/nano/c: downloaded completely: history was rewritten: step 4 differs",
    ]


def test_a_run_that_is_not_there_is_in_the_table_and_strict_makes_it_an_error(
    server: ReplayServer, tmp_path: Path
) -> None:
    out = str(tmp_path / "b.wandb.zip")
    words = ["fetch", "-r", "acme/digits/nope", "-r", "acme/digits/cnn1e1s0", "-o", out]
    table = [
        "RUN               ROWS  PROMISED  STATE",
        "1 run              264       264  complete",
        "acme/digits/nope     -         -  not in the bundle: run 'acme/digits/nope' does not exist",
        "the same command downloads only what is missing",
    ]
    done = pull_logs(*words, environment=server.environment())
    assert (done.returncode, done.stdout, done.stderr.splitlines()[-4:]) == (0, "", table)
    reported = tmp_path / "report.json"
    done = pull_logs(*words, "--strict", "--report-json", reported, environment=server.environment())
    error = "pull-logs: error: 1 of 2 runs is incomplete; run the same command again"
    assert (done.returncode, done.stderr.splitlines()[-5:]) == (4, [*table, error])
    runs = json.loads(reported.read_text())["runs"]
    assert [(run["rows"], run["promised_rows"], run["last_step"], run["how"]) for run in runs] == [
        (264, 264, 263, "copied"),
        (0, None, None, None),
    ]
    # Another selection into the same file does not stop it: nothing that was downloaded is only in the spool.
    words = ["fetch", "-r", "acme/digits/cnn1e1s1", "-o", out]
    done = pull_logs(*words, environment=server.environment())
    refusal = (
        f"pull-logs: error: {out!r} is a bundle of another selection: it has 1 run that would be lost:"
        " 'acme/digits/cnn1e1s0'; pass --force to replace it, or name another file\n"
    )
    assert (done.returncode, done.stderr) == (2, refusal)
    done = pull_logs(*words, "--force", environment=server.environment())
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "b.wandb.zip.partial").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ["-p", "a/b", "--since", "yesterday"],
            2,
            "--since 'yesterday' is not a date; write it as 2026-11-01 or 2026-11-01T09:30:00+01:00",
        ),
        (
            ["-p", "a/b", "--state", "finishd"],
            2,
            (
                "Invalid value for '--state': 'finishd' is not one of 'crashed', 'failed', "
                "'finished', 'killed',"
                " 'pending', 'preempted', 'preempting', 'running'; the nearest is 'finished'"
            ),
        ),
        (
            [],
            2,
            "no source was given; name one with -p ENTITY/PROJECT, -r RUN, -c CHECKPOINT or --sweep E/P/ID",
        ),
        (
            ["-r", "{tmp}"],
            2,
            (
                "'{tmp}' is a folder, and fetch downloads from W&B; write: pull-logs import "
                "{tmp} -o FILE.wandb.zip"
            ),
        ),
        (
            ["-p", "a/b", "--report-json", "{tmp}/no/r.json"],
            3,
            "'{tmp}/no/r.json' cannot be written: its folder does not exist; make the folder first",
        ),
        (
            ["-p", "a/b"],
            5,
            (
                "127.0.0.1:9 cannot be reached (gave up after 3 attempts); check the network, "
                "the proxy and WANDB_BASE_URL"
            ),
        ),
    ],
)
def test_what_cannot_work_is_said_in_one_line(tmp_path: Path, words: list[str], code: int, said: str) -> None:
    words = [word.replace("{tmp}", str(tmp_path)) for word in words]
    done = pull_logs("fetch", *words, "-o", tmp_path / "b.wandb.zip", environment=NOWHERE)
    wanted = f"pull-logs: error: {said.replace('{tmp}', str(tmp_path))}\n"
    assert (done.returncode, done.stdout, done.stderr) == (code, "", wanted)
    assert list(tmp_path.iterdir()) == []


def test_since_is_compared_in_utc(server: ReplayServer, tmp_path: Path) -> None:
    dry = pull_logs("fetch", "-p", "acme/digits", "--dry-run", environment=server.environment())
    facts = dict(line.split() for line in dry.stdout.splitlines())
    assert set(facts) == {
        "runs", "rows", "files", "live_rows", "requests", "listing_seconds", "expected_seconds"
    }  # fmt: skip
    reported = tmp_path / "r.json"
    late = ["--since", "2999-01-01T00:00:00+02:00"]
    done = pull_logs(
        "fetch",
        "-p",
        "acme/digits",
        "--dry-run",
        "--report-json",
        reported,
        *late,
        environment=server.environment(),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(reported.read_text())["runs"] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")
def test_people_see_how_it_goes_and_pipes_do_not(server: ReplayServer, tmp_path: Path) -> None:
    import pty

    leader, follower = pty.openpty()
    words = ["fetch", "-p", "acme/digits", "-o", str(tmp_path / "b.wandb.zip")]
    child = subprocess.Popen(
        [sys.executable, "-m", "pull_logs", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=follower,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TERM": "xterm",
            "COLUMNS": "140",
            **server.environment(),
        },
    )
    os.close(follower)
    shown = b""
    try:
        while piece := os.read(leader, 65536):
            shown += piece
    except OSError:
        pass  # what Linux says when the other end is closed
    finally:
        os.close(leader)
    assert child.wait(timeout=60) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert re.search(r"finding runs +0 s", text)  # tests/cli/commands/test_live_display.py has the rest
    assert "16 of 16 runs complete" in text
