"""Views of single runs ask once whether a run changed, and ask for it only then."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from pulling import PROJECT, named
from scripted_wandb import QUICK, SETTINGS, FakeRun, ScriptedWandb, rows_of

from pull_logs.errors import NetworkError, RunNotFoundError, UsageError
from pull_logs.fetch import Selection, Settings, open_cached
from pull_logs.rows.canonical import canon_row
from pull_logs.runs import RunReference


def look(
    server: ScriptedWandb, folder: Path, selection: Selection, **options: Any
) -> list[list[dict[str, Any]]]:
    """The rows of each run that a view would get."""
    options = {"settings": SETTINGS, "policy": QUICK, **options}
    with ExitStack() as stack:
        runs = open_cached(selection, stack=stack, folder=folder, transport=server.transport, **options)
        return [list(run.scan_history()) for run in runs]


def canonical(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [canon_row(row) for row in rows]


def test_a_run_that_did_not_change_costs_one_request(tmp_path: Path) -> None:
    rows = rows_of(range(20))
    server = ScriptedWandb(FakeRun.exported("a", rows))
    assert look(server, tmp_path, named("a")) == [canonical(rows)]
    assert look(server, tmp_path, named("a")) == [canonical(rows)]
    assert server.operations() == ["NamedRuns", "GET a-0", "NamedRuns"]


LATER = {"heartbeatAt": "2026-01-02T09:00:00Z"}


@pytest.mark.parametrize("changed", [{"summary": {"loss": 2}}, {"extra": {"tags": ["b"]}}])
def test_where_only_facts_changed_one_request_brings_them(tmp_path: Path, changed: dict[str, Any]) -> None:
    rows = rows_of(range(5))
    server = ScriptedWandb(FakeRun.exported("a", rows, summary={"loss": float("nan")}))
    look(server, tmp_path, named("a"))
    server.runs["a"] = FakeRun.exported("a", rows, **changed)
    server.requests.clear()
    with ExitStack() as stack:
        (run,) = open_cached(
            named("a"), stack=stack, folder=tmp_path, transport=server.transport, settings=SETTINGS
        )
        assert (run.summary.get("loss"), run.tags) in ((2, ("a",)), (None, ("b",)))
        assert list(run.scan_history()) == canonical(rows)
    assert server.operations() == ["NamedRuns"]


def test_an_exported_run_that_changed_is_asked_for(tmp_path: Path) -> None:
    server = ScriptedWandb(FakeRun.exported("a", rows_of(range(5))))
    look(server, tmp_path, named("a"))
    server.runs["a"] = FakeRun.exported("a", rows_of(range(6)), extra=LATER)
    server.requests.clear()
    assert len(look(server, tmp_path, named("a"))[0]) == 6
    assert server.operations() == ["NamedRuns", "GET a-0"]


def test_an_active_run_asks_for_its_tail_alone(tmp_path: Path) -> None:
    rows = rows_of(range(9000))
    run = FakeRun.logging("a", rows[:7000])
    server = ScriptedWandb(run)
    look(server, tmp_path, named("a"))
    for count in (7100, 7100, 9000):
        run.live, run.lines, run.last_step = rows[:count], count, rows[count - 1]["_step"]
        run.extra = {"heartbeatAt": f"2026-01-02T09:00:00.{count}Z"}
        server.requests.clear()
        assert look(server, tmp_path, named("a")) == [canonical(rows[:count])]
        asked = [json.loads(request.content)["variables"] for request in server.requests]
        wanted = {7100: (7000 - 8, 7100), 9000: (7100 - 8, 9000)}[count]
        pages = [variables for variables in asked if "minStep" in variables]
        if pages:
            assert (min(page["minStep"] for page in pages), max(page["maxStep"] for page in pages)) == wanted
        assert server.operations() == ["NamedRuns", *["HistoryPage"] * len(pages)]
        assert len(pages) == (0 if server.requests[1:] == [] else 1 if count == 7100 else 2)
    server.requests.clear()
    assert look(server, tmp_path, named("a"), offline=True) == [canonical(rows)]
    assert server.requests == []


def test_refresh_asks_again_whatever_is_cached(tmp_path: Path) -> None:
    server = ScriptedWandb(FakeRun.exported("a", rows_of(range(5))))
    look(server, tmp_path, named("a"))
    look(server, tmp_path, named("a"), refresh=True)
    assert server.count("GET a-0") == 2


def test_offline_nothing_is_requested(tmp_path: Path) -> None:
    server = ScriptedWandb(FakeRun.exported("a", rows_of(range(5))))
    online = look(server, tmp_path, named("a"))
    server.requests.clear()
    assert look(server, tmp_path, Selection(runs=(RunReference("a"),)), offline=True) == online
    with pytest.raises(RunNotFoundError) as caught:
        look(server, tmp_path, named("b"), offline=True)
    assert str(caught.value) == "run 'acme/nano/b' is not in the cache; show it once without --offline"
    with pytest.raises(UsageError) as refused:
        look(server, tmp_path, PROJECT, offline=True)
    assert str(refused.value) == (
        "the runs of 'acme/nano' cannot be listed offline; `pull-logs fetch` makes a bundle of them"
    )
    assert server.requests == []


def test_refresh_and_offline_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        look(ScriptedWandb(), tmp_path, named("a"), offline=True, refresh=True)
    assert str(caught.value) == "refresh needs W&B and offline excludes it; omit one of them"


def test_runs_come_in_the_order_they_were_named_then_those_of_projects(tmp_path: Path) -> None:
    server = ScriptedWandb(*(FakeRun.exported(name, rows_of([number])) for number, name in enumerate("abcd")))
    selection = Selection(runs=named("c", "a", "c").runs, projects=("acme/nano",))
    found = look(server, tmp_path, selection)
    assert [rows[0]["_step"] for rows in found] == [2, 0, 2, 1, 3]


def test_a_missing_run_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match=r"^run 'acme/nano/x' does not exist"):
        look(ScriptedWandb(FakeRun.exported("a", rows_of(range(2)))), tmp_path, named("a", "x"))


def test_a_damaged_cache_is_filled_again(tmp_path: Path) -> None:
    rows = rows_of(range(5))
    server = ScriptedWandb(FakeRun.exported("a", rows))
    look(server, tmp_path, named("a"))
    (cached,) = tmp_path.rglob("*.wandb.zip")
    cached.write_bytes(b"PK" + cached.read_bytes()[7:])
    assert look(server, tmp_path, named("a")) == [canonical(rows)]


def test_accounts_do_not_see_each_others_runs(tmp_path: Path) -> None:
    server = ScriptedWandb(FakeRun.exported("a", rows_of(range(5))))
    look(server, tmp_path, named("a"))
    other = Settings(base_url=SETTINGS.base_url, api_key="o" * 40, entity="acme")
    with pytest.raises(RunNotFoundError):
        look(server, tmp_path, named("a"), settings=other, offline=True)


def test_the_cache_is_private_and_a_failed_fill_leaves_nothing(tmp_path: Path) -> None:
    server = ScriptedWandb(FakeRun.exported("a", rows_of(range(5))), FakeRun.logging("b", rows_of(range(5))))
    look(server, tmp_path / "cache", named("a"))
    server.faults = [lambda request: httpx.Response(501) if b"HistoryPage" in request.content else None]
    with pytest.raises(NetworkError):
        look(server, tmp_path / "cache", named("b"))
    folders = [path for path in (tmp_path / "cache").rglob("*") if path.is_dir()]
    assert not any(path.name.startswith("new-") for path in folders)
    assert {
        path.stat().st_mode & 0o777 for path in [tmp_path / "cache", *(tmp_path / "cache").glob("runs/*")]
    } == {0o700}
