"""`audit`, and the warning and `--redact` of every command that makes a bundle."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bundlekit import bundle_run, make_bundle, two_runs
from logwriting import record, row, run, write_run_folder

from pull_logs.cli.main import main
from pull_logs.replay import serve_bundle
from pull_logs.snapshot import open_bundle
from pull_logs.snapshot.privacy.audit import audit_bundle

RANDOM = "q7Zt3KpX9vLm2RbN8sYc5WdHx4Gf6JaT1eUo"
KEY, MAIL, PASSWORD = f"hf_{RANDOM}", "jo.doe@corp.co.uk", "hunter2-Tango"
ROWS: tuple[dict[str, Any], ...] = (
    {"_step": 0, "loss": 2.5, "note": "start"},
    {"_step": 1, "loss": 1.5, "note": f"pushed with {KEY}"},
    {"_step": 2, "loss": 0.5, "note": f"pushed with {KEY}"},
)
CONFIG: Mapping[str, Any] = {"lr": 0.1, "password": PASSWORD, "odd\nkey": MAIL}


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    runs = [bundle_run("acme/nano/leaky", ROWS, config=CONFIG), bundle_run("acme/nano/calm", ROWS[:1])]
    return make_bundle(tmp_path / "leaky.wandb.zip", runs)


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Runs a command in this process; none of them may print what was planted."""
    reported = ""

    def run_command(*words: str | Path) -> tuple[int, str, str]:
        nonlocal reported
        code = main(list(map(str, words)))
        done = capsys.readouterr()
        reported += done.out + done.err
        return code, done.out, done.err

    yield run_command
    for secret in (KEY, MAIL, PASSWORD):
        assert secret not in reported


def bundle_id(path: Path) -> str:
    with open_bundle(path) as opened:
        return opened.bundle_id


def test_the_text_of_an_audit_is_a_line_a_finding_and_no_name_forges_one(call: Call, leaky: Path) -> None:
    reported = (
        f"[AUDIT] path={leaky} runs=2 secrets=2 personal=1\n"
        "run,location,kind,step,cells,excerpt\n"
        'acme/nano/leaky,"config.odd\\nkey",email,,1,"j***@corp.co.uk"\n'
        'acme/nano/leaky,config.password,password,,1,"*** (13 characters)"\n'
        f'acme/nano/leaky,history.note,api-key,1,2,"hf_q*** ({len(KEY)} characters)"\n'
    )
    assert call("audit", leaky) == (0, reported, "")


def test_an_audit_that_finds_nothing_says_so(call: Call, tmp_path: Path) -> None:
    calm = make_bundle(tmp_path / "calm.wandb.zip", two_runs())
    assert call("audit", calm, "--exit-code") == (
        0,
        f"[AUDIT] path={calm} runs=2 secrets=0 personal=0\n(none)\n",
        "",
    )


def test_the_json_of_an_audit_is_one_object(call: Call, leaky: Path) -> None:
    code, out, err = call("audit", leaky, "--json")
    common = {"run": "acme/nano/leaky", "step": None, "cells": 1}
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "format": "pull-logs/2",
        "command": "audit",
        "path": str(leaky),
        "bundle_id": bundle_id(leaky),
        "runs": 2,
        "secrets": 2,
        "personal": 1,
        "findings": [
            common
            | {"location": "config.odd\nkey", "kind": "email", "secret": False, "excerpt": "j***@corp.co.uk"},
            common
            | {
                "location": "config.password",
                "kind": "password",
                "secret": True,
                "excerpt": "*** (13 characters)",
            },
            common
            | {
                "location": "history.note",
                "kind": "api-key",
                "secret": True,
                "step": 1,
                "cells": 2,
                "excerpt": f"hf_q*** ({len(KEY)} characters)",
            },
        ],
        "redacted": {},
        "unread": [],
    }


def test_exit_code_reports_findings_of_the_kinds_that_count(call: Call, tmp_path: Path) -> None:
    runs = [bundle_run("acme/nano/x", config={"by": MAIL})]
    personal = make_bundle(tmp_path / "personal.wandb.zip", runs)
    assert call("audit", personal)[0] == 0
    assert call("audit", personal, "--exit-code")[0] == 1
    assert call("audit", personal, "--exit-code", "--secrets")[0] == 0
    assert call("audit", personal, "--exit-code", "--json")[0] == 1


def test_redact_writes_a_clean_bundle_and_info_shows_what_was_removed(
    call: Call, leaky: Path, tmp_path: Path
) -> None:
    out, before = tmp_path / "clean.wandb.zip", leaky.read_bytes()
    code, _, err = call("audit", leaky, "--redact", "-o", out)
    with open_bundle(out) as opened:
        identities = f"bundle id  {opened.bundle_id}\ncontent id {opened.content_id}\n"
    assert code == 0
    assert err == (
        "pull-logs: note: removed 2 secrets and 1 personal detail in 1 run\n"
        f"{out}: 2 runs, 4 rows, {out.stat().st_size / 1e6:.2f} MB, verified\n{identities}"
    )
    assert leaky.read_bytes() == before
    kinds = "kind,count\napi-key,2\nemail,1\npassword,1\n"
    assert call("audit", out, "--exit-code") == (
        0,
        f"[AUDIT] path={out} runs=2 secrets=0 personal=0\n(none)\n[REDACTED] removed=4\n{kinds}",
        "",
    )
    reported = call("info", out)[1].splitlines()
    assert reported[0] == f"[BUNDLE] path={out} runs=2 rows=4"
    assert reported[3:8] == ["[REDACTED] removed=4", "kind,count", "api-key,2", "email,1", "password,1"]
    assert json.loads(call("info", out, "--json")[1])["redacted"] == {"api-key": 2, "email": 1, "password": 1}
    assert json.loads(call("info", leaky, "--json")[1])["redacted"] == {}
    assert "[REDACTED]" not in call("info", leaky)[1]


def test_secrets_alone_are_removed_where_only_they_are_asked_for(
    call: Call, leaky: Path, tmp_path: Path
) -> None:
    out = tmp_path / "clean.wandb.zip"
    assert call("audit", leaky, "--secrets", "--redact", "-o", out)[0] == 0
    assert [finding.kind for finding in audit_bundle(out).findings] == ["email"]


@pytest.mark.parametrize(
    ("words", "reported"),
    [
        (["--redact"], "audit has --redact without -o FILE; write: --redact -o FILE"),
        (["-o", "x.wandb.zip"], "audit has -o without --redact; write: --redact -o FILE"),
        (["--json", "more"], "audit takes one bundle, and 2 were given; write: pull-logs audit BUNDLE"),
    ],
)
def test_wrong_usages_are_reported_and_write_nothing(
    call: Call, leaky: Path, words: list[str], reported: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(leaky.parent)
    assert call("audit", leaky, *words) == (2, "", f"pull-logs: error: {reported}\n")
    assert [path.name for path in leaky.parent.iterdir()] == [leaky.name]


def test_a_missing_bundle_and_a_missing_folder_are_reported(call: Call, leaky: Path, tmp_path: Path) -> None:
    missing = tmp_path / "no.wandb.zip"
    assert call("audit", missing) == (3, "", f"pull-logs: error: no file or folder at {str(missing)!r}\n")
    code, _, err = call("audit", leaky, "--redact", "-o", tmp_path / "no" / "out.wandb.zip")
    assert code == 3
    assert err.startswith("pull-logs: error: ")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A local W&B run folder with a key in its history."""
    records = [run("abc"), row(0, note=f"pushed with {KEY}"), row(1, x=1.5), record(exit={"exit_code": 0})]
    return write_run_folder(tmp_path, "offline-run-20260101_000000-abc", records).parent


def test_import_warns_of_what_it_brought(call: Call, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out of it.wandb.zip"
    code, reported, err = call("import", folder, "-o", out)
    assert (code, reported) == (0, "")
    assert err.splitlines()[0] == (
        "pull-logs: warning: the bundle contains 1 secret in 1 run;"
        f" `pull-logs audit '{out}'` shows them, --redact removes them"
    )


def test_import_and_merge_with_redact_make_clean_bundles(
    call: Call, folder: Path, leaky: Path, tmp_path: Path
) -> None:
    imported, merged = tmp_path / "imported.wandb.zip", tmp_path / "merged.wandb.zip"
    code, _, err = call("import", folder, "-o", imported, "--redact")
    assert (code, err.splitlines()[0]) == (0, "pull-logs: note: removed 1 secret in 1 run")
    assert f"bundle id  {bundle_id(imported)}\n" in err
    assert audit_bundle(imported).findings == ()
    code, _, err = call("merge", imported, leaky, "-o", merged)
    assert code == 0
    assert err.splitlines()[0] == (
        "pull-logs: warning: the bundle contains 2 secrets and 1 personal detail in 1 run;"
        f" `pull-logs audit {merged}` shows them, --redact removes them"
    )
    code, _, err = call("merge", imported, leaky, "-o", merged, "--redact")
    assert (code, err.splitlines()[0]) == (
        0,
        "pull-logs: note: removed 2 secrets and 1 personal detail in 1 run",
    )
    with open_bundle(merged) as opened:
        assert len(opened) == 3
        assert dict(opened.manifest.redacted) == {"api-key": 3, "email": 1, "password": 1}


@contextmanager
def online(bundle: Path) -> Iterator[None]:
    """W&B answers as that bundle says."""
    with pytest.MonkeyPatch.context() as patch, serve_bundle(bundle) as server:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        yield


def test_fetch_warns_and_redacts_and_goes_on_from_what_it_redacted(
    call: Call, leaky: Path, tmp_path: Path
) -> None:
    out, report = tmp_path / "out.wandb.zip", tmp_path / "report.json"
    words = ("fetch", "-p", "acme/nano", "-o", out, "--report-json", report)
    with online(leaky):
        code, reported, err = call(*words)
        assert (code, reported) == (0, "")
        assert "pull-logs: warning: the bundle contains 2 secrets and 1 personal detail in 1 run; `" in err
        code, reported, err = call(*words, "--redact")
        assert (code, reported) == (0, "")
        assert "pull-logs: note: removed 2 secrets and 1 personal detail in 1 run\n" in err
        assert json.loads(report.read_text())["bundle_id"] == bundle_id(out)
        redacted = out.read_bytes()
        assert audit_bundle(out).findings == ()
        # The same command again, a resume or a refresh as it may be, ends in the same bundle.
        assert call(*words, "--redact")[0] == 0
        assert call("refresh", out, "--redact")[0] == 0
    assert out.read_bytes() == redacted


def test_a_redacted_bundle_is_refreshed_as_if_it_were_fetched_again(
    call: Call, leaky: Path, tmp_path: Path
) -> None:
    rows = [*ROWS, {"_step": 3, "loss": 0.25, "note": f"and {MAIL}"}, {"_step": 4, "note": "end"}]
    grown = make_bundle(
        tmp_path / "grown.wandb.zip",
        [
            bundle_run("acme/nano/leaky", rows, config=CONFIG, state="running"),
            bundle_run("acme/nano/calm", ROWS[:1]),
        ],
    )
    out, again = tmp_path / "out.wandb.zip", tmp_path / "again.wandb.zip"
    with online(leaky):
        assert call("fetch", "-p", "acme/nano", "-o", out, "--redact")[0] == 0
    with online(grown):
        assert call("refresh", out, "--redact")[0] == 0
        assert call("fetch", "-p", "acme/nano", "-o", again, "--redact")[0] == 0
    assert out.read_bytes() == again.read_bytes()
    assert audit_bundle(out).redacted == {"api-key": 2, "email": 2, "password": 1}


def test_a_refresh_without_a_flag_removes_again_what_was_removed(
    call: Call, leaky: Path, tmp_path: Path
) -> None:
    grown = make_bundle(
        tmp_path / "grown.wandb.zip",
        [bundle_run("acme/nano/leaky", [*ROWS, {"_step": 9, "loss": 0.0}], config=CONFIG)],
    )
    out = tmp_path / "out.wandb.zip"
    with online(leaky):
        assert call("fetch", "-r", "acme/nano/leaky", "-o", out, "--redact")[0] == 0
    with online(grown):
        code, _, err = call("refresh", out)
    assert code == 0
    assert "pull-logs: note: removed 2 secrets and 1 personal detail in 1 run\n" in err
    assert audit_bundle(out).findings == ()
    assert audit_bundle(out).redacted == {"api-key": 2, "email": 1, "password": 1}


def test_a_refresh_leaves_in_what_was_left_in(call: Call, leaky: Path, tmp_path: Path) -> None:
    grown = make_bundle(
        tmp_path / "grown.wandb.zip",
        [bundle_run("acme/nano/leaky", [*ROWS, {"_step": 9, "note": f"from {MAIL}"}], config=CONFIG)],
    )
    out = tmp_path / "out.wandb.zip"
    with online(leaky):
        assert call("fetch", "-r", "acme/nano/leaky", "-o", out)[0] == 0
    assert call("audit", out, "--secrets", "--redact", "-o", out)[0] == 0
    with online(grown):
        assert call("refresh", out)[0] == 0
    assert {finding.kind for finding in audit_bundle(out).findings} == {"email"}
    assert set(audit_bundle(out).redacted) == {"api-key", "password"}


def test_what_a_refresh_downloads_again_is_never_under_the_bundle_s_name(
    call: Call, leaky: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown = make_bundle(
        tmp_path / "grown.wandb.zip",
        [bundle_run("acme/nano/leaky", [*ROWS, {"_step": 9, "loss": 0.0}], config=CONFIG)],
    )
    folder = tmp_path / "own"
    folder.mkdir()
    out = folder / "out.wandb.zip"
    with online(leaky):
        assert call("fetch", "-r", "acme/nano/leaky", "-o", out, "--redact")[0] == 0
    before = out.read_bytes()

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with online(grown), monkeypatch.context() as patch:
        patch.setattr("pull_logs.snapshot.privacy.redact_bundle", interrupted)
        assert call("refresh", out)[0] == 130
    assert out.read_bytes() == before
    assert list(folder.iterdir()) == [out]


@pytest.mark.parametrize("command", ["fetch", "import", "merge"])
def test_what_redact_removes_is_never_under_the_bundle_s_name(
    call: Call, folder: Path, leaky: Path, tmp_path: Path, command: str
) -> None:
    words = {
        "fetch": ("fetch", "-p", "acme/nano"),
        "import": ("import", folder),
        "merge": ("merge", leaky, tmp_path / "own" / "also.wandb.zip"),
    }[command]
    (tmp_path / "own").mkdir()
    also = make_bundle(tmp_path / "own" / "also.wandb.zip", [bundle_run("acme/nano/calm", ROWS[:1])])
    out = tmp_path / "own" / "out.wandb.zip"

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with online(leaky):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pull_logs.snapshot.privacy.redact_bundle", interrupted)
            assert call(*words, "-o", out, "--redact")[0] == 130
        assert list(out.parent.iterdir()) == [also]
        assert call(*words, "-o", out, "--redact")[0] == 0
    assert audit_bundle(out).findings == ()
    assert sorted(out.parent.iterdir()) == [also, out]


def test_a_refresh_from_folders_removes_again_what_was_removed(
    call: Call, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.wandb.zip"
    assert call("import", folder, "-o", out, "--redact")[0] == 0
    redacted = out.read_bytes()
    code, _, err = call("refresh", out, "--from", folder)
    assert (code, "pull-logs: note: removed 1 secret in 1 run" in err.splitlines()) == (0, True)
    assert out.read_bytes() == redacted


def test_merge_redacts_onto_one_of_its_inputs(call: Call, leaky: Path, tmp_path: Path) -> None:
    also = make_bundle(tmp_path / "also.wandb.zip", [bundle_run("acme/nano/calm", ROWS[:1])])
    code, _, err = call("merge", leaky, also, "-o", also, "--redact")
    assert (code, err.splitlines()[0]) == (
        0,
        "pull-logs: note: removed 2 secrets and 1 personal detail in 1 run",
    )
    assert audit_bundle(also).findings == ()


def test_a_refresh_keeps_to_the_metrics_that_the_bundle_has(call: Call, tmp_path: Path) -> None:
    rows = [{"_step": step, "loss": 1 / (step + 1), "val/acc": step, "val/loss": 1} for step in range(40)]
    small, large = (
        make_bundle(tmp_path / f"{count}.wandb.zip", [bundle_run("acme/nano/a", rows[:count], state=state)])
        for count, state in ((30, "running"), (40, "finished"))
    )
    out, again = tmp_path / "out.wandb.zip", tmp_path / "again.wandb.zip"
    with online(small):
        assert call("fetch", "-p", "acme/nano", "-o", out, "--metrics", "^val/")[0] == 0
    assert call("info", out)[1].splitlines()[0] == f"[BUNDLE] path={out} runs=1 rows=30 metrics=^val/"
    with online(large):
        code, _, err = call("refresh", out, "--metrics", "loss")
        assert code == 2
        assert err == (
            f"pull-logs: error: --metrics 'loss': {str(out)!r} was fetched with --metrics "
            "'^val/', which a refresh "
            "keeps; omit --metrics, or fetch the runs again with other metrics\n"
        )
        code, _, err = call("refresh", out)
        assert (code, err.splitlines()[0]) == (
            0,
            "pull-logs: note: only metrics that match '^val/' are downloaded, as the bundle has no others",
        )
        assert call("fetch", "-p", "acme/nano", "-o", again, "--metrics", "^val/")[0] == 0
    assert out.read_bytes() == again.read_bytes()
    with open_bundle(out) as bundle:
        assert set(bundle["a"].column_names()) == {"_step", "val/acc", "val/loss"}
