"""`verify --against wandb` as a user and a deletion script run it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from http_wandb import serve_scripted
from jsonschema import Draft202012Validator
from scripted_wandb import FakeRun, ScriptedWandb, rows_of

from pull_logs.cli.main import main
from pull_logs.snapshot.format import ConsoleLine

Call = Callable[..., tuple[int, str, str]]

SCHEMA = Draft202012Validator(
    json.loads((files("pull_logs") / "data" / "schemas" / "verify.json").read_text())
)
EVERYTHING = ("--system", "--console", "--files", "*")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ScriptedWandb]:
    """A W&B with a finished, a growing and an old run, whose bundle is `b.zip`."""
    monkeypatch.chdir(tmp_path)
    scripted = ScriptedWandb(
        FakeRun.exported(
            "done",
            rows_of(range(30)),
            files={"output.log": b"ok\n"},
            console=[ConsoleLine(number=0, text="ok")],
            summary={"loss": "NaN"},
        ),
        FakeRun.logging("grown", rows_of(range(10)), state="finished"),
        FakeRun.exported("old", rows_of(range(5))),
    )
    with serve_scripted(scripted) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert main(["fetch", "-p", "acme/nano", "-o", "b.zip", *EVERYTHING]) == 0
        yield scripted


@pytest.fixture
def call(server: ScriptedWandb, capsys: pytest.CaptureFixture[str]) -> Call:
    capsys.readouterr()

    def run_command(*words: str) -> tuple[int, str, str]:
        code = main(words)
        done = capsys.readouterr()
        return code, done.out, done.err

    return run_command


def test_everything_is_safe_after_a_complete_fetch(call: Call) -> None:
    code, out, err = call("verify", "b.zip", "--against", "wandb", "--list")
    assert (code, out, err) == (0, "acme/nano/done\nacme/nano/grown\nacme/nano/old\n", "")


def test_each_run_has_its_verdict_and_what_is_not_safe_is_exit_7(server: ScriptedWandb, call: Call) -> None:
    server.runs["grown"] = FakeRun.logging("grown", rows_of(range(12)), logged_artifacts=2)
    del server.runs["old"]
    code, out, err = call("verify", "b.zip", "--against", "wandb")
    assert code == 7
    assert err == (
        "pull-logs: error: 1 of 3 runs is not safe to delete;"
        " fetch with --system --console --files '*' --artifacts all has all that a bundle can hold\n"
    )
    lines = out.splitlines()
    assert lines[0].startswith("[VERIFY] path=b.zip ok=yes ")
    host = lines[1].split()[1]
    because = (
        "W&B has it as running, so it may still log; these facts differ on W&B: state;"
        " W&B has 12 rows and the bundle has 10; W&B's last step is 11 and the bundle's is 9;"
        " its rows were not read again; 2 artifacts that it logged are not in the bundle"
    )
    assert lines[1:] == [
        f"[SAFE_TO_DELETE] {host} safe=1 not_safe=1 gone=1 requests=7 compared=yes",
        "run,verdict,rows,files,console,logged,used,because",
        "acme/nano/done,safe,30/30,1/1,1/1,0/0,0/0,",
        f'acme/nano/grown,"not safe",10/12,0/0,0/0,0/2,0/0,"{because}"',
        "acme/nano/old,gone,,,,,,",
        "# of rows, files, console lines and artifacts: how many the bundle has / how many W&B has",
    ]
    code, out, _ = call("verify", "b.zip", "--against", "wandb", "--list")
    assert (code, out) == (7, "acme/nano/done\n")


def test_the_json_is_a_list_for_a_deletion_script(server: ScriptedWandb, call: Call) -> None:
    server.runs["grown"].live.append({"_step": 10, "m0": 1.0})
    server.runs["grown"].lines = 11
    del server.runs["old"]
    code, out, _ = call("verify", "b.zip", "--against", "wandb", "--json")
    answer = json.loads(out)
    SCHEMA.validate(answer)
    safety = answer["safety"]
    assert code == 7
    assert (safety["safe"], safety["not_safe"], safety["gone"]) == (
        ["acme/nano/done"],
        ["acme/nano/grown"],
        ["acme/nano/old"],
    )
    done = safety["runs"][0]
    assert (done["state"], done["heartbeat_at"]) == ("finished", "2026-01-02T03:05:05Z")
    assert all(part["proved"] for part in done["parts"])
    assert safety["runs"][2]["parts"] == []


def test_quick_counts_and_lists_nothing(call: Call) -> None:
    code, out, _ = call("verify", "b.zip", "--against", "wandb", "--quick", "--list")
    assert (code, out) == (7, "")


def test_without_against_nothing_is_asked(server: ScriptedWandb, call: Call) -> None:
    before = len(server.requests)
    code, out, _ = call("verify", "b.zip", "--json")
    SCHEMA.validate(json.loads(out))
    assert (code, json.loads(out)["safety"], len(server.requests)) == (0, None, before)


def test_a_damaged_bundle_is_not_asked_for(server: ScriptedWandb, call: Call) -> None:
    content = bytearray(Path("b.zip").read_bytes())
    content[2000] ^= 255
    Path("b.zip").write_bytes(content)
    before = len(server.requests)
    code, out, err = call("verify", "b.zip", "--against", "wandb", "--list")
    assert (code, out, len(server.requests)) == (6, "", before)
    assert err.startswith("pull-logs: error: 'b.zip' is damaged: ")


def test_a_host_that_cannot_be_reached_is_exit_5(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    code, out, err = call("verify", "b.zip", "--against", "wandb", "--list")
    assert (code, out) == (5, "")
    assert err.startswith("pull-logs: error: 127.0.0.1:9 cannot be reached")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--list",), "--list is given without --against wandb; write: --against wandb --list"),
        (
            ("--against", "wandb", "--list", "--json"),
            '--list and --json exclude each other; the JSON has the list as "safe"',
        ),
    ],
)
def test_wrong_options_are_refused(call: Call, words: tuple[str, ...], message: str) -> None:
    assert call("verify", "b.zip", *words) == (2, "", f"pull-logs: error: {message}\n")
