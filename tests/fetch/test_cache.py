"""Views of single runs ask once whether a run changed, and ask for it only then."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from pulling import PROJECT, named
from scripted_wandb import QUICK, SETTINGS, FakeRun, ScriptedWandb, rows_of

from pull_logs.errors import NetworkError, RunNotFoundError, UsageError
from pull_logs.fetch import Selection, Settings, open_cached
from pull_logs.runs import RunReference
from pull_logs.snapshot.canon import canon_row


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


@pytest.mark.parametrize("change", ["rows", "summary", "tags"])
def test_a_run_that_changed_is_asked_for(tmp_path: Path, change: str) -> None:
    server = ScriptedWandb(FakeRun.exported("a", rows_of(range(5)), summary={"loss": float("nan")}))
    look(server, tmp_path, named("a"))
    changed = {
        "rows": FakeRun.exported("a", rows_of(range(6)), summary={"loss": float("nan")}),
        "summary": FakeRun.exported("a", rows_of(range(5)), summary={"loss": 2}),
        "tags": FakeRun.exported(
            "a", rows_of(range(5)), summary={"loss": float("nan")}, extra={"tags": ["b"]}
        ),
    }
    server.runs["a"] = changed[change]
    server.requests.clear()
    assert len(look(server, tmp_path, named("a"))[0]) == (6 if change == "rows" else 5)
    assert server.operations() == ["NamedRuns", "GET a-0"]


def test_refresh_asks_again_whatever_is_cached(tmp_path: Path) -> None:
    server = ScriptedWandb(FakeRun.exported("a", rows_of(range(5))))
    look(server, tmp_path, named("a"))
    look(server, tmp_path, named("a"), refresh=True)
    assert server.count("GET a-0") == 2


def test_offline_nobody_is_asked(tmp_path: Path) -> None:
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
    assert str(caught.value) == "refresh asks W&B and offline asks nobody; leave one of them out"


def test_runs_come_in_the_order_they_were_named_then_those_of_projects(tmp_path: Path) -> None:
    server = ScriptedWandb(*(FakeRun.exported(name, rows_of([number])) for number, name in enumerate("abcd")))
    selection = Selection(runs=named("c", "a", "c").runs, projects=("acme/nano",))
    found = look(server, tmp_path, selection)
    assert [rows[0]["_step"] for rows in found] == [2, 0, 2, 1, 3]


def test_a_missing_run_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match=r"^run 'acme/nano/x' is not there"):
        look(ScriptedWandb(FakeRun.exported("a", rows_of(range(2)))), tmp_path, named("a", "x"))


def test_a_damaged_cache_is_filled_anew(tmp_path: Path) -> None:
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
