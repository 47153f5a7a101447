"""A pull that ends early goes on where it ended, and its bundle is the one an undisturbed pull makes."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import anyio
import httpx
import pytest
from pulling import PROJECT, assert_rows, named, pull_from, reasons
from scripted_wandb import FakeRun, ScriptedWandb, asking, rows_of, shard_bytes, to_storage

from pull_logs.errors import IncompleteError, NetworkError, UsageError
from pull_logs.fetch import Selection
from pull_logs.fetch.history import pieces
from pull_logs.snapshot import open_bundle

pytestmark = pytest.mark.anyio


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every piece of a run goes to the spool at once, as those of a large run do."""
    monkeypatch.setattr(pieces, "_IN_MEMORY", 1)


def project() -> tuple[ScriptedWandb, dict[str, list[dict[str, object]]]]:
    """Runs of every kind: exported, live, both, in several files, empty."""
    truth = {f"r{number}": rows_of(range(number, number + 30)) for number in range(6)}
    runs = [
        FakeRun.exported(run_id, rows, shards=1 + number % 3)
        for number, (run_id, rows) in enumerate(truth.items())
    ]
    truth["live"] = rows_of(range(0, 4000, 2))
    truth["both"] = rows_of(range(100))
    both = {"both-x": shard_bytes(truth["both"][:60]), "both-y": shard_bytes(truth["both"][50:70])}
    runs += [
        FakeRun.logging("live", truth["live"]),
        FakeRun("both", both, live=truth["both"][65:], lines=100, last_step=99),
        FakeRun("none", lines=0),
    ]
    truth["none"] = []
    return ScriptedWandb(*runs), truth


async def undisturbed(tmp_path: Path) -> bytes:
    server, _ = project()
    await pull_from(server, tmp_path / "undisturbed.zip")
    return (tmp_path / "undisturbed.zip").read_bytes()


def unplugged_after(requests: int) -> object:
    left = iter(range(requests))

    def fault(request: httpx.Request) -> Exception | None:
        return None if next(left, None) is not None else httpx.ConnectError("unplugged")

    return fault


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("seed", range(6))
async def test_unplugged_again_and_again_the_bundle_comes_out_byte_for_byte(
    tmp_path: Path, seed: int
) -> None:
    wanted, chance = await undisturbed(tmp_path), random.Random(seed)
    server, truth = project()
    for _ in range(8):
        server.faults = [unplugged_after(chance.randrange(1, 12))]  # type: ignore[list-item]
        with suppress(NetworkError, IncompleteError):
            await pull_from(server, tmp_path / "b.zip", concurrency=chance.choice([1, 4]))
    server.faults = []
    await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", truth)
    assert (tmp_path / "b.zip").read_bytes() == wanted


@pytest.mark.usefixtures("small_pieces")
async def test_what_arrived_is_not_requested_again(tmp_path: Path) -> None:
    rows = rows_of(range(4000))
    run = FakeRun.exported("r", rows[:2000], shards=4)
    run.live, run.lines, run.last_step = rows[2000:], 4000, 3999
    server = ScriptedWandb(run)
    pages = iter("ab")

    def fault(request: httpx.Request) -> Exception | None:
        late = asking("HistoryPage")(request) and next(pages, None) is None
        return httpx.ConnectError("unplugged") if late or request.url.path.endswith("r-3") else None

    server.faults = [fault]
    with pytest.raises(NetworkError):
        await pull_from(server, tmp_path / "b.zip", concurrency=1)
    first = [name for name in server.operations() if name.startswith("GET") and not name.endswith("r-3")]
    server.faults, server.requests = [], []
    report = await pull_from(server, tmp_path / "b.zip")
    second = [name for name in server.operations() if name.startswith("GET")]
    assert not set(first) & set(second)
    assert_rows(tmp_path / "b.zip", {"r": rows})
    assert (report.incomplete, report.runs[0].rows) == ((), 4000)


@pytest.mark.usefixtures("small_pieces")
async def test_cancelled_the_spool_stays_and_the_same_call_continues(tmp_path: Path) -> None:
    wanted = await undisturbed(tmp_path)
    server, _ = project()
    with anyio.CancelScope() as scope:

        def cancel(request: httpx.Request) -> None:
            if server.count("HistoryPage") == 1:
                scope.cancel()

        server.faults = [cancel]
        await pull_from(server, tmp_path / "b.zip")
    assert scope.cancelled_caught
    assert (tmp_path / "b.zip.partial").is_dir()
    assert not (tmp_path / "b.zip").exists()
    server.faults = []
    await pull_from(server, tmp_path / "b.zip")
    assert (tmp_path / "b.zip").read_bytes() == wanted


async def test_a_run_that_failed_is_requested_by_the_same_call_and_the_others_are_kept(
    tmp_path: Path,
) -> None:
    rows = rows_of(range(30))
    server = ScriptedWandb(FakeRun.exported("a", rows), FakeRun.logging("b", rows, state="finished"))
    server.faults = [lambda request: httpx.Response(500) if asking("HistoryPage")(request) else None]
    report = await pull_from(server, tmp_path / "b.zip")
    assert list(reasons(report)) == ["b"]
    assert_rows(tmp_path / "b.zip", {"a": rows})
    server.faults, server.requests = [], []
    report = await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"a": rows, "b": rows})
    assert (report.incomplete, server.operations()) == ((), ["Runs", "HistoryPage"])
    assert not (tmp_path / "b.zip.partial").exists()


async def test_a_run_that_is_incomplete_is_requested_by_the_same_call_and_the_others_are_copied(
    tmp_path: Path,
) -> None:
    rows = rows_of(range(30))
    server = ScriptedWandb(FakeRun.exported("a", rows), FakeRun.exported("b", rows, shards=2))
    server.faults = [lambda request: httpx.Response(500) if request.url.path.endswith("b-1") else None]
    report = await pull_from(server, tmp_path / "b.zip")
    assert [(outcome.sealed, outcome.complete) for outcome in report.runs] == [(True, True), (True, False)]
    server.faults, server.requests = [], []
    report = await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"a": rows, "b": rows})
    assert [outcome.how for outcome in report.runs] == ["copied", "complete"]
    assert sorted(server.operations()) == ["GET b-0", "GET b-1", "Runs"]
    assert not (tmp_path / "b.zip.partial").exists()


async def test_another_selection_throws_away_the_note_of_what_was_sealed(tmp_path: Path) -> None:
    rows = rows_of(range(3))
    server = ScriptedWandb(FakeRun.exported("a", rows))
    await pull_from(server, tmp_path / "b.zip", named("a", "nope"))
    assert (tmp_path / "b.zip.partial" / "sealed.json").exists()
    await pull_from(server, tmp_path / "b.zip", named("a"))
    assert not (tmp_path / "b.zip.partial").exists()


async def test_a_run_that_an_earlier_attempt_brought_and_that_was_deleted_since_is_kept_and_reported(
    tmp_path: Path,
) -> None:
    rows = rows_of(range(3))
    server = ScriptedWandb(FakeRun.exported("a", rows), FakeRun.logging("b", rows))
    server.faults = [lambda request: httpx.ConnectError("x") if asking("HistoryPage")(request) else None]
    with pytest.raises(NetworkError):
        await pull_from(server, tmp_path / "b.zip", concurrency=1)
    server.faults = []
    del server.runs["a"]
    report = await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"a": rows, "b": rows})
    assert [(outcome.how, outcome.complete, outcome.note) for outcome in report.runs] == [
        ("gone", True, "last seen 2026-01-02"),
        ("complete", True, ""),
    ]


async def test_a_run_that_changed_since_an_earlier_attempt_is_pulled_again(tmp_path: Path) -> None:
    server = ScriptedWandb(FakeRun.exported("a", rows_of(range(3))), FakeRun.logging("b", rows_of(range(3))))
    server.faults = [lambda request: httpx.ConnectError("x") if asking("HistoryPage")(request) else None]
    with pytest.raises(NetworkError):
        await pull_from(server, tmp_path / "b.zip", concurrency=1)
    server.faults = []
    longer = rows_of(range(9))
    server.runs["a"] = FakeRun.exported("a", longer)
    await pull_from(server, tmp_path / "b.zip")
    assert_rows(tmp_path / "b.zip", {"a": longer, "b": rows_of(range(3))})


async def test_unchanged_runs_of_a_previous_bundle_are_copied(tmp_path: Path) -> None:
    truth = {f"r{number}": rows_of(range(number + 1)) for number in range(4)}
    server = ScriptedWandb(*(FakeRun.exported(run_id, rows) for run_id, rows in truth.items()))
    await pull_from(server, tmp_path / "old.zip")
    truth["r2"] = rows_of(range(20))
    server.runs["r2"] = FakeRun.exported("r2", truth["r2"])
    server.requests.clear()
    await pull_from(server, tmp_path / "new.zip", previous=tmp_path / "old.zip")
    assert_rows(tmp_path / "new.zip", truth)
    assert sum(map(to_storage, server.requests)) == 1
    await pull_from(server, tmp_path / "rebuilt.zip")
    assert (tmp_path / "new.zip").read_bytes() == (tmp_path / "rebuilt.zip").read_bytes()


async def test_another_selection_does_not_mix_with_a_spool_and_fresh_forgets_it(tmp_path: Path) -> None:
    server, _ = project()
    server.faults = [lambda request: httpx.ConnectError("x") if asking("HistoryPage")(request) else None]
    with pytest.raises(NetworkError):
        await pull_from(server, tmp_path / "b.zip")
    server.faults = []
    with pytest.raises(UsageError, match="holds what arrived for another selection of runs"):
        await pull_from(server, tmp_path / "b.zip", named("r1"))
    await pull_from(server, tmp_path / "b.zip", named("r1"), fresh=True)
    with open_bundle(tmp_path / "b.zip") as bundle:
        assert bundle.run_paths == ("acme/nano/r1",)


@pytest.mark.parametrize("selection", [PROJECT, Selection(projects=("nano",))])
async def test_a_selection_written_otherwise_is_the_same_bundle(tmp_path: Path, selection: Selection) -> None:
    server, _ = project()
    await pull_from(server, tmp_path / "b.zip", selection)
    assert (tmp_path / "b.zip").read_bytes() == await undisturbed(tmp_path)
