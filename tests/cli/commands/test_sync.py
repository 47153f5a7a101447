"""`sync` and `refresh` while runs are added, continued and deleted on W&B, and from local folders."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bundlekit import ROWS, bundle_run, make_bundle
from checkout import ROOT

from pull_logs.cli.main import main
from pull_logs.replay import serve_bundle
from pull_logs.snapshot import open_bundle

Call = Callable[..., tuple[int, str, str]]
Serve = Callable[..., None]

OUT = "archive.wandb.zip"
BEAT = "2026-11-20T23:30:00Z"
MORE = (*ROWS, {"_step": 9, "loss": 0.1})


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run_command(*words: str) -> tuple[int, str, str]:
        code = main(words)
        done = capsys.readouterr()
        return code, done.out, done.err

    return run_command


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, port: int, *runs: str, grown: str = "") -> Iterator[int]:
    """W&B with these runs of `acme/nano`; `grown` has more rows and a later heartbeat."""
    made = [
        bundle_run(
            f"acme/nano/{run}",
            MORE if run == grown else ROWS,
            heartbeat_at="2026-11-22T08:00:00Z" if run == grown else BEAT,
            created_at="2026-11-19T10:00:00Z",
            config={"lr": 0.1 if run == "a" else 0.2},
        )
        for run in runs
    ]
    make_bundle(Path("server.zip"), made)
    with serve_bundle("server.zip", port=port) as server, monkeypatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        yield int(server.url.rpartition(":")[2])


def archive() -> dict[str, tuple[int, str | None]]:
    """The rows and the mark of each run of the archive."""
    with open_bundle(OUT) as bundle:
        return {run.path.run_id: (run.rows, run.last_seen) for run in bundle.runs()}


def test_an_archive_gains_and_keeps_runs_and_drops_them_on_request(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("sync", "-p", "acme/nano", "-o", OUT)
    with serving(monkeypatch, 0, "a", "b", "c") as port:
        assert call(*words)[0] == 0
    with serving(monkeypatch, port, "b", "c", "d", grown="b"):
        code, out, err = call(*words)
        assert (code, out) == (0, "")
        assert err.splitlines()[-3:] == [
            (
                "1 copied, 1 appended to (1 new row), 1 downloaded completely,"
                " 1 kept although W&B no longer has them"
            ),
            "acme/nano/a: kept, W&B no longer has it: last seen 2026-11-20",
            "acme/nano/b: 1 new row",
        ]
        kept = {"a": (3, "2026-11-20"), "b": (4, None), "c": (3, None), "d": (3, None)}
        assert archive() == kept
        first = Path(OUT).read_bytes()
        assert call("fetch", "-p", "acme/nano", "-o", OUT, "--strict")[0] == 0
        assert Path(OUT).read_bytes() == first
        assert call("info", OUT)[1].splitlines()[3:5] == [
            '[RUNS] runs=4 project=acme/nano each="state=finished complete=yes" most="rows=3 last_step=4"',
            "a name=brisk-sun-1 last_seen=2026-11-20",
        ]
        assert json.loads(call("info", OUT, "--json")[1])["runs"][0]["last_seen"] == "2026-11-20"
        shown = call("-b", OUT, "--filter", "last_seen is not missing", "-H")[1]
        assert "last_seen=2026-11-20" in shown
        assert "[RUNS] runs=1" in shown
        code, _, err = call(*words, "--prune", "--report-json", "report.json")
        assert (code, archive()) == (0, {name: kept[name] for name in "bcd"})
        assert "acme/nano/a: dropped, W&B no longer has it" in err.splitlines()
        assert json.loads(Path("report.json").read_text())["pruned"] == ["acme/nano/a"]


def test_a_run_that_is_there_again_loses_its_mark(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("sync", "-p", "acme/nano", "-o", OUT, "-q")
    with serving(monkeypatch, 0, "a", "b") as port:
        assert call(*words) == (0, "", "")
    first = Path(OUT).read_bytes()
    with serving(monkeypatch, port, "b"):
        assert call(*words) == (0, "", "")
        assert archive() == {"a": (3, "2026-11-20"), "b": (3, None)}
    with open_bundle(OUT) as bundle:
        marked = bundle.content_id
    with serving(monkeypatch, port, "a", "b"):
        assert call(*words) == (0, "", "")
    assert Path(OUT).read_bytes() == first
    with open_bundle(OUT) as bundle:
        assert bundle.content_id == marked


def test_nothing_is_written_where_prune_would_leave_nothing(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("sync", "-r", "acme/nano/a", "-o", OUT)
    with serving(monkeypatch, 0, "a", "b") as port:
        assert call(*words)[0] == 0
    before = Path(OUT).read_bytes()
    with serving(monkeypatch, port, "b"):
        code, _, err = call(*words, "--prune")
    assert (code, Path(OUT).read_bytes()) == (3, before)
    assert err == (
        "pull-logs: error: W&B has none of the 1 run of the bundle any more, and --prune would leave nothing;"
        " nothing was changed; omit --prune to keep them\n"
    )


def test_runs_that_a_filter_no_longer_keeps_are_not_taken_for_deleted(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(monkeypatch, 0, "a", "b") as port:
        assert call("sync", "-p", "acme/nano", "--filter", f"heartbeat_at == '{BEAT}'", "-o", OUT)[0] == 0
    with serving(monkeypatch, port, "a", "b", grown="b"):
        words = ("sync", "-p", "acme/nano", "--filter", f"heartbeat_at == '{BEAT}'", "-o", OUT, "--prune")
        assert call(*words)[0] == 0
        assert archive() == {"a": (3, None), "b": (4, None)}
        code, _, err = call("sync", "-p", "acme/nano", "--filter", "config.lr < 0.15", "-o", OUT)
        assert code == 2
        assert "it has 1 run that would be lost: 'acme/nano/b'" in err


def test_imported_runs_are_never_taken_for_deleted(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    make_bundle(Path(OUT), [bundle_run("acme/nano/local")])
    with serving(monkeypatch, 0, "a"):
        code, _, err = call("sync", "-p", "acme/nano", "-o", OUT, "--prune")
    assert (code, archive()) == (0, {"a": (3, None), "local": (3, None)})
    assert "kept as it was: run 'acme/nano/local' does not exist" in err


def test_a_refresh_takes_filters_and_adds_new_runs_when_asked(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(monkeypatch, 0, "a", "b") as port:
        assert call("fetch", "-p", "acme/nano", "-o", OUT)[0] == 0
    with serving(monkeypatch, port, "a", "b", "d", grown="b"):
        assert call("refresh", OUT, "--filter", "config.lr < 0.15", "-q") == (0, "", "")
        assert archive() == {"a": (3, None), "b": (3, None)}
        assert call("refresh", OUT, "-r", "b", "-q") == (0, "", "")
        assert archive() == {"a": (3, None), "b": (4, None)}
        assert call("refresh", OUT, "--new", "--filter", "config.lr < 0.15", "-q") == (0, "", "")
        assert archive() == {"a": (3, None), "b": (4, None)}
        assert call("refresh", OUT, "--new", "-q") == (0, "", "")
        assert archive() == {"a": (3, None), "b": (4, None), "d": (3, None)}
        code, _, err = call("refresh", OUT, "--new", "-r", "a")
        assert (code, err) == (
            2,
            (
                "pull-logs: error: --new adds the new runs of projects and sweeps, and -r and -c name single"
                " runs; add a run with `pull-logs sync -r RUN -o FILE`\n"
            ),
        )
    with serving(monkeypatch, port, "a", "d"):
        assert call("refresh", OUT, "-q") == (0, "", "")
        assert archive() == {"a": (3, None), "b": (4, "2026-11-22"), "d": (3, None)}


def test_what_was_removed_is_removed_again(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, 0, "a", "b") as port:
        assert call("sync", "-p", "acme/nano", "-o", OUT, "--redact")[0] == 0
        with open_bundle(OUT) as bundle:
            redacted = bundle.manifest.redacted
    with serving(monkeypatch, port, "b", "c"):
        assert call("sync", "-p", "acme/nano", "-o", OUT)[0] == 0
    with open_bundle(OUT) as bundle:
        assert set(bundle.manifest.redacted) == set(redacted)
    assert archive().keys() == {"a", "b", "c"}
    assert sorted(file.name for file in Path().iterdir()) == [OUT, "server.zip"]


def test_messages_are_less_or_more(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("sync", "-p", "acme/nano", "-o", OUT)
    with serving(monkeypatch, 0, "a", "b"):
        assert call(*words, "--quiet") == (0, "", "")
        assert call("refresh", OUT, "--quiet") == (0, "", "")
        lines = call(*words, "-v")[2].splitlines()
        assert lines[-2:] == ["acme/nano/a: copied", "acme/nano/b: copied"]
        assert re.fullmatch(r"pull-logs: \d+ s: \d of [\d?] runs, 0 rows, \d+ requests?, 0 retries", lines[0])
        code, out, err = call("refresh", OUT, "--log-json")
        assert (code, out) == (0, "")
        events = [json.loads(line) for line in err.splitlines()]
        assert [event["path"] for event in events if event["event"] == "run"] == [
            "acme/nano/a",
            "acme/nano/b",
        ]
        assert events[-1]["event"] == "report"
        assert events[0]["event"] == "progress"
        code, _, err = call(*words, "-q", "-v")
        assert (code, err) == (2, "pull-logs: error: --quiet reports less and -v more; omit one of them\n")
        code, _, err = call("sync", "-r", "acme/nano/a", "-r", "acme/nano/nope", "-o", "b.zip", "-q")
        assert code == 0
        assert "not in the bundle: run 'acme/nano/nope' does not exist" in err


LOG = ROOT / "fixtures/digits/wandb/offline-run-20261123_104144-cnn1e1s0"
OTHER = ROOT / "fixtures/digits/wandb/offline-run-20261123_104150-cnn1e1s1"


def test_an_imported_bundle_is_refreshed_from_folders_and_asks_for_no_key(call: Call) -> None:
    shutil.copytree(LOG, Path("wandb") / LOG.name)
    log = next((Path("wandb") / LOG.name).glob("*.wandb"))
    complete = log.read_bytes()
    log.write_bytes(complete[: len(complete) // 2])
    assert call("import", "wandb", "-o", OUT, "--entity", "me", "--project", "mine")[0] == 0
    before = archive()
    code, _, err = call("refresh", OUT)
    assert (code, err) == (
        2,
        (
            f"pull-logs: error: {OUT!r} was imported from local folders and has no server to be refreshed"
            f" from; name the folders: pull-logs refresh {OUT} --from RUN_DIR\n"
        ),
    )
    log.write_bytes(complete)
    shutil.copytree(OTHER, Path("wandb") / OTHER.name)
    code, out, err = call("refresh", OUT, "--from", "wandb")
    assert (code, out) == (0, "")
    assert (
        "pull-logs: note: 1 run of the folders not in the bundle: 'me/mine/cnn1e1s1'; --new adds them" in err
    )
    assert before["cnn1e1s0"][0] < 264
    assert archive() == {"cnn1e1s0": (264, None)}
    assert call("refresh", OUT, "--from", "wandb", "--new", "-q") == (0, "", "")
    assert archive() == {"cnn1e1s0": (264, None), "cnn1e1s1": (264, None)}
    shutil.rmtree(Path("wandb") / LOG.name)
    assert call("refresh", OUT, "--from", "wandb", "-q") == (0, "", "")
    assert archive() == {"cnn1e1s0": (264, None), "cnn1e1s1": (264, None)}
    code, _, err = call("refresh", OUT, "--from", str(LOG), "-r", "x")
    assert (code, err) == (
        2,
        "pull-logs: error: --from refreshes every run of the folders; omit the options that pick runs\n",
    )


def test_folders_without_a_run_of_the_bundle_are_an_error(call: Call) -> None:
    assert call("import", str(LOG), "-o", OUT)[0] == 0
    code, _, err = call("refresh", OUT, "--from", str(OTHER))
    assert (code, err) == (
        3,
        (
            f"pull-logs: error: no run of {OUT!r} is in {str(OTHER)!r}; `pull-logs info` lists the runs of"
            " the bundle\n"
        ),
    )


@pytest.mark.parametrize("folder", [False, True])
def test_a_log_is_read_like_its_folder_and_asks_for_no_key(call: Call, *, folder: bool) -> None:
    path = LOG if folder else next(LOG.glob("*.wandb"))
    code, out, _ = call("-r", str(path), "-H")
    assert code == 0
    assert "\ncnn1e1s0 name=" in out
    assert "rows=264" in out


@pytest.mark.parametrize(
    "path", ["wandb/run-20261123_104144-x/run-x.wandb", "run-x.wandb", "wandb/offline-run-20261123_104144-x"]
)
def test_a_log_or_a_folder_that_does_not_exist_is_not_taken_for_a_run_path(call: Call, path: str) -> None:
    code, _, err = call("-r", path)
    assert (code, err) == (
        3,
        f"pull-logs: error: {path!r} does not exist; name a local W&B run folder, or its .wandb log\n",
    )


def test_fetch_says_that_a_log_is_imported(call: Call) -> None:
    log = next(LOG.glob("*.wandb"))
    code, _, err = call("fetch", "-r", str(log), "-o", "b.zip")
    assert (code, err) == (
        2,
        (
            f"pull-logs: error: {str(log)!r} is a file, and fetch downloads from W&B; write: pull-logs import"
            f" {log} -o FILE.wandb.zip\n"
        ),
    )
