"""The bundle that a pull finds where it writes: what is brought up to date, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pulling import assert_rows, pull_from
from scripted_wandb import SETTINGS, FakeRun, ScriptedWandb, rows_of

from pull_logs.errors import RunNotFoundError, UsageError
from pull_logs.fetch import Selection
from pull_logs.snapshot import open_bundle
from pull_logs.snapshot.privacy import redact_bundle

pytestmark = pytest.mark.anyio

ROWS = rows_of(range(4))
OTHER = replace(SETTINGS, base_url="https://wandb.other.example")
SWEEP = Selection(sweeps=("acme/nano/s1",))


async def test_a_bundle_of_another_host_is_not_replaced(tmp_path: Path) -> None:
    out, server = tmp_path / "b.zip", ScriptedWandb(FakeRun.exported("r", ROWS))
    await pull_from(server, out)
    before, requests = out.read_bytes(), len(server.requests)
    with pytest.raises(UsageError) as caught:
        await pull_from(server, out, settings=OTHER)
    assert str(caught.value) == (
        f"'{out}' is a bundle of another selection: it has 1 run of {SETTINGS.host}, and the new one those of"
        " wandb.other.example; pass --force to replace it, or name another file"
    )
    assert (out.read_bytes(), len(server.requests)) == (before, requests)


async def test_a_run_of_another_host_with_the_same_path_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "b.zip"
    await pull_from(ScriptedWandb(FakeRun.exported("r", ROWS)), out)
    before = out.read_bytes()
    other = ScriptedWandb(FakeRun.exported("r", rows_of(range(9))))
    report = await pull_from(other, out, settings=OTHER, previous=out)
    (outcome,) = report.runs
    assert outcome.how == "kept"
    assert outcome.reason == (
        f"kept as it was: the bundle has it from {SETTINGS.host}, and that of wandb.other.example is another"
        " run"
    )
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("recorded", "base_url", "other"),
    [
        (None, "https://api.wandb.ai", False),
        ("api.wandb.ai", "https://api.wandb.ai", False),
        ("api.wandb.ai", "https://api.forge.coreweave.com", False),
        ("api.wandb.ai", "https://wandb.corp.example", True),
        ("wandb.corp.example:8443", "https://wandb.corp.example", True),
        ("127.0.0.1:4001", "http://localhost:4002", False),
        ("[::1]:4001", "http://127.0.0.1:4002", False),
        ("127.0.0.1.example:4001", "http://127.0.0.1:4001", True),
        ("api.wandb.ai", "http://127.0.0.1:4001", True),
        ("[", "http://127.0.0.1:4001", True),
    ],
)
def test_hosts_are_the_same_where_they_may_be(recorded: str | None, base_url: str, *, other: bool) -> None:
    assert replace(SETTINGS, base_url=base_url).is_other_host(recorded) is other


async def test_what_was_removed_from_a_bundle_does_not_come_back(tmp_path: Path) -> None:
    out, server = (
        tmp_path / "b.zip",
        ScriptedWandb(FakeRun.exported("r", ROWS, config={"api_key": "c0ffee" * 7})),
    )
    await pull_from(server, out)
    assert redact_bundle(out, out).redacted
    before = out.read_bytes()
    for options in ({}, {"fresh": True}, {"previous": out}):
        with pytest.raises(UsageError) as caught:
            await pull_from(server, out, **options)
        assert str(caught.value) == (
            f"'{out}' is a redacted bundle, and `pull` would add what was removed from it; bring it up to"
            " date with `pull-logs sync`, which removes it again, or pull into another file and redact"
            " that"
        )
    assert out.read_bytes() == before
    await pull_from(server, out, force=True)
    with open_bundle(out) as bundle:
        assert bundle["r"].config == {"api_key": "c0ffee" * 7}


async def test_a_sweep_of_which_every_run_was_deleted_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "b.zip"
    server = ScriptedWandb(FakeRun.exported("a", ROWS, sweep="s1"), FakeRun.exported("b", ROWS, sweep="s1"))
    await pull_from(server, out, SWEEP)
    server.runs.clear()
    report = await pull_from(server, out, SWEEP)
    assert [(outcome.path.run_id, outcome.how) for outcome in report.runs] == [("a", "gone"), ("b", "gone")]
    assert_rows(out, {"a": ROWS, "b": ROWS})
    before = out.read_bytes()
    with pytest.raises(RunNotFoundError, match=r"^W&B has none of the 2 runs of the bundle any more"):
        await pull_from(server, out, SWEEP, prune=True)
    with pytest.raises(RunNotFoundError, match=r"^sweep acme/nano/s9 has no runs, or does not exist"):
        await pull_from(server, out, Selection(sweeps=("acme/nano/s1", "acme/nano/s9")))
    assert out.read_bytes() == before
