"""`set`: the commands of bundle sets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from setkit import grown_bundle, held

from pull_logs.cli.main import main
from pull_logs.replay import serve_bundle
from pull_logs.snapshot import open_bundle_set


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    grown_bundle(tmp_path / "a.wandb.zip", {"acme/nano/a": 2, "acme/nano/b": 4})
    grown_bundle(tmp_path / "b.wandb.zip", {"acme/nano/a": 5, "acme/nano/c": 1})
    return tmp_path


def test_bundles_are_added_replaced_dropped_and_compacted(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command says what it changed."""
    assert main(["set", "add", "lab", "a.wandb.zip"]) == 0
    assert main(["set", "add", "lab", "b.wandb.zip", "--json"]) == 0
    text, _, answer = capsys.readouterr().out.partition("{")
    added = json.loads("{" + answer)
    assert text.startswith("[SET] path=lab version=1 runs=2 members=1 ")
    assert [(one["name"], one["change"], one["reason"]) for one in added["changes"]] == [
        ("acme/nano/a", "replaced", "it has all that the others have"),
        ("acme/nano/c", "added", None),
    ]
    assert not list(work.glob("*.wandb.zip"))
    assert main(["set", "drop", "lab", "c", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs_total"] == 2
    assert main(["set", "compact", "lab", "--size", "1GB", "--grace", "0"]) == 0
    assert main(["set", "list", "lab", "--json"]) == 0
    listed = json.loads("{" + capsys.readouterr().out.partition("{")[2])
    assert [member["runs"] for member in listed["members"]] == [2]
    assert listed["unlisted"] == []
    assert main(["set", "verify", "lab"]) == 0
    with open_bundle_set(work / "lab") as opened:
        assert held(opened) == {"acme/nano/a": 5, "acme/nano/b": 4}


def test_refresh_of_a_set_names_the_command_for_sets(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["set", "add", "lab", "a.wandb.zip"]) == 0
    capsys.readouterr()
    assert main(["refresh", "lab"]) == 2
    assert capsys.readouterr().err == (
        "pull-logs: error: 'lab' is a bundle set; write: pull-logs set refresh lab\n"
    )


def test_a_bundle_that_is_moved_again_is_removed_where_it_was_left(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A loss of power before the removal leaves the file; a member that is lost is made again of it."""
    assert main(["set", "add", "lab", "a.wandb.zip", "--keep"]) == 0
    (member,) = (work / "lab").glob("a-*.wandb.zip")
    member.unlink()
    assert main(["set", "add", "lab", "a.wandb.zip"]) == 0
    assert not (work / "a.wandb.zip").exists()
    with open_bundle_set(work / "lab") as opened:
        assert held(opened) == {"acme/nano/a": 2, "acme/nano/b": 4}
    assert len(list((work / "lab").glob("catalog-*.parquet"))) == 1


def test_a_damaged_member_is_located(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`verify` names the member and the file in it; `list` shows a bundle that is not in the catalog."""
    assert main(["set", "add", "lab", "a.wandb.zip"]) == 0
    (work / "b.wandb.zip").rename(work / "lab" / "b.wandb.zip")
    capsys.readouterr()
    assert main(["set", "info", "lab"]) == 0
    assert capsys.readouterr().out.endswith(" unlisted=1\n")
    (member,) = (work / "lab").glob("a-*.wandb.zip")
    data = bytearray(member.read_bytes())
    with open_bundle_set(work / "lab") as opened:
        data[opened.entry("a").location.history_offset + 40] ^= 1
    member.write_bytes(data)
    assert main(["verify", "lab"]) == 6
    assert f"{member.name}: runs/entity=acme/project=nano/run=a/history.parquet" in capsys.readouterr().out
    member.unlink()
    assert main(["set", "verify", "lab"]) == 6
    assert f"no file or folder at '{member.absolute()}'" in capsys.readouterr().out


def test_a_size_that_is_none_is_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The hint shows how one is written."""
    assert main(["set", "add", "lab", "a.wandb.zip"]) == 0
    capsys.readouterr()
    assert main(["set", "compact", "lab", "--size", "large"]) == 2
    assert capsys.readouterr().err == (
        "pull-logs: error: --size 'large' is not a size; write for example 256MB or 1GB\n"
    )


def test_unfinished_runs_are_refreshed_and_runs_that_are_gone_stay(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The set has the new states; a run that W&B no longer has keeps its rows."""
    with serve_bundle(work / "a.wandb.zip") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        port = int(server.url.rpartition(":")[2])
        assert main(["fetch", "-p", "acme/nano", "-o", "night.wandb.zip"]) == 0
    assert main(["set", "add", "lab", "night.wandb.zip"]) == 0
    with serve_bundle(work / "b.wandb.zip", port=port):
        assert main(["set", "refresh", "lab"]) == 0
    with open_bundle_set(work / "lab") as opened:
        assert held(opened) == {"acme/nano/a": 5, "acme/nano/b": 4}
        assert opened["a"].state == "finished"
