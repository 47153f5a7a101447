"""Nights of an archive one by one: what is downloaded, added and refused, and who wins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from objectserver import ObjectServer, every_service_slowly, lab_server
from scripted_wandb import QUICK, SETTINGS, FakeRun, Instant, ScriptedWandb, rows_of

from pull_logs.errors import NetworkError, RunNotFoundError, UsageError
from pull_logs.fetch import PullOptions, Settings
from pull_logs.interface import ArchiveReport, archive_project
from pull_logs.snapshot import add_bundles, open_bundle, open_bundle_set, open_store
from pull_logs.snapshot.privacy import redact_bundle
from pull_logs.snapshot.sets import compact_set, open_latest, size_of_set

OVERLAP = 8
"""Rows at the end of an archived run that are requested again."""


def exported(run_id: str, rows: int, day: int = 1, **more: Any) -> FakeRun:
    extra = {"heartbeatAt": f"2026-01-{day:02}T10:00:00Z", **more}
    return FakeRun.exported(run_id, rows_of(range(rows)), extra=extra)


def logging(run_id: str, rows: int, day: int = 1) -> FakeRun:
    extra = {"heartbeatAt": f"2026-01-{day:02}T10:00:00Z"}
    return FakeRun.logging(run_id, rows_of(range(rows)), extra=extra)


class Archive:
    """An archive of the project `acme/nano` by one machine."""

    def __init__(self, where: Path | str, work: Path, server: ScriptedWandb) -> None:
        self.where, self.work, self.server = where, work, server

    def night(
        self,
        *,
        settings: Settings = SETTINGS,
        inspect: Any = None,
        size: int | None = None,
        **options: Any,
    ) -> ArchiveReport:
        return archive_project(
            open_store(self.where, create=True),
            "acme/nano",
            options=PullOptions(policy=QUICK, **options),
            work=self.work,
            settings=settings,
            transport=self.server.transport,
            clock=Instant().clock,
            size=size,
            inspect=inspect or (lambda _seal: None),
        )

    def rows(self) -> dict[str, int]:
        """The runs of the set and their rows, read from the members."""
        with open_bundle_set(self.where) as opened:
            return {run.path.run_id: len(list(run.scan_history())) for run in opened.runs()}

    def runs_of(self, report: ArchiveReport) -> list[str]:
        """The runs in the new members."""
        store, found = open_store(self.where), list[str]()
        for name in report.members:
            with open_bundle(store.member_location(name)) as bundle:
                found += [path.rpartition("/")[2] for path in bundle.run_paths]
        return found


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    server = ScriptedWandb(logging("a", 30), exported("b", 20), exported("c", 20))
    made = Archive(tmp_path / "set", tmp_path / "work", server)
    made.night()
    return made


def grow(server: ScriptedWandb) -> None:
    server.runs["a"] = logging("a", 33, day=2)


def add(server: ScriptedWandb) -> None:
    server.runs["d"] = exported("d", 5)


def edit(server: ScriptedWandb) -> None:
    server.runs["b"].config = {"lr": {"value": 0.1}}


def delete(server: ScriptedWandb) -> None:
    del server.runs["c"]


@pytest.mark.parametrize(
    ("change", "changed", "received"),
    [(grow, ["a"], OVERLAP + 3), (add, ["d"], 5), (edit, ["b"], 0), (delete, ["c"], 0)],
    ids=["grown", "new", "edited", "deleted"],
)
def test_a_night_adds_the_changed_run_alone(
    archive: Archive, change: Callable[[ScriptedWandb], None], changed: list[str], received: int
) -> None:
    """Of a run that goes on, the last rows of the member and the new ones are requested, and no others."""
    change(archive.server)
    report = archive.night()
    assert (report.version, archive.runs_of(report), report.changes.rows_received) == (2, changed, received)
    again = archive.night()
    assert (again.version, again.members, again.changes.rows_received) == (None, (), 0)
    assert archive.rows().keys() == {"a", "b", "c", *changed}
    assert not archive.work.exists()


def test_a_night_of_many_bytes_makes_several_bundles(archive: Archive) -> None:
    """They become members by one version of the catalog."""
    archive.server.runs |= {name: exported(name, 5) for name in "def"}
    report = archive.night(size=1)
    assert (report.version, len(report.members)) == (2, 3)
    assert sorted(archive.runs_of(report)) == ["d", "e", "f"]


def test_an_incomplete_run_is_tried_again_and_added_once(archive: Archive) -> None:
    """W&B promises a row that it does not have: the run is requested every night, and is the same."""
    run = exported("d", 5)
    run.lines = 6
    archive.server.runs["d"] = run
    report = archive.night()
    assert [outcome.path.run_id for outcome in report.changes.incomplete] == ["d"]
    again = archive.night()
    assert (again.version, again.members) == (None, ())
    assert [outcome.path.run_id for outcome in again.changes.incomplete] == ["d"]


def test_system_metrics_that_the_set_has_are_kept_up_to_date(archive: Archive) -> None:
    """An update without --system loses none."""
    archive.server.runs["a"].events = [{"_timestamp": 1.0, "system.cpu": 0.5}]
    archive.night(system=True)
    grow(archive.server)
    archive.server.runs["a"].events = [{"_timestamp": float(second), "system.cpu": 0.5} for second in (1, 2)]
    archive.night()
    with open_bundle_set(archive.where) as opened:
        assert len(list(opened["a"].system_rows())) == 2


def test_what_an_overtaken_archive_downloaded_does_not_replace_a_later_state(
    archive: Archive, tmp_path: Path
) -> None:
    """While it adds its bundle, another machine has brought the run further, and W&B has lost it."""
    other = Archive(archive.where, tmp_path / "other", archive.server)
    grow(archive.server)

    def meanwhile(_seal: object) -> None:
        archive.server.runs["a"] = logging("a", 50, day=3)
        other.night()
        del archive.server.runs["a"]

    archive.night(inspect=meanwhile)
    assert archive.rows()["a"] == 50
    archive.night()
    assert archive.rows()["a"] == 50


def test_archives_at_the_same_time_lose_no_run(tmp_path: Path) -> None:
    """Two machines each for two projects, one of them of the same project."""
    servers = [
        ScriptedWandb(*(exported(f"{project}{number}", 5) for number in range(4)), project=project)
        for project in ("x", "y", "y")
    ]
    root = tmp_path / "set"
    root.mkdir()

    def work(number: int) -> ArchiveReport:
        return archive_project(
            open_store(root),
            f"acme/{servers[number].project}",
            options=PullOptions(policy=QUICK),
            work=tmp_path / f"work{number}",
            settings=SETTINGS,
            transport=servers[number].transport,
            clock=Instant().clock,
        )

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    with open_bundle_set(root) as opened:
        found = {run.path.run_id: len(list(run.scan_history())) for run in opened.runs()}
    assert found == {f"{project}{number}": 5 for project in "xy" for number in range(4)}


def test_one_machine_archives_a_project_once_at_a_time(archive: Archive) -> None:
    """The second one ends, and the first one is not disturbed."""
    caught: list[UsageError] = []

    def meanwhile(_seal: object) -> None:
        with pytest.raises(UsageError) as refused:
            archive.night()
        caught.append(refused.value)

    grow(archive.server)
    archive.night(inspect=meanwhile)
    assert "is in use by process" in str(caught[0])
    assert archive.rows()["a"] == 33


def test_replaced_runs_are_counted_until_a_compaction(archive: Archive) -> None:
    """A third of the first member is dead when one of its three runs was replaced."""
    (first,) = open_store(archive.where).members().values()
    edit(archive.server)
    archive.night()
    store = open_store(archive.where)
    opened = open_latest(store)
    assert opened is not None
    with opened:
        size = size_of_set(opened)
    assert size.dead == first.bytes // 3
    compact_set(store, grace=0)
    opened = open_latest(store)
    assert opened is not None
    with opened:
        assert size_of_set(opened).dead == 0


def test_redacted_runs_are_not_brought_up_to_date(archive: Archive, tmp_path: Path) -> None:
    """What was removed does not come back."""
    archive.server.runs["b"].config = {"mail": {"value": "a.person@example.org"}}
    archive.night()
    with open_bundle_set(archive.where) as opened:
        member = open_store(archive.where).member_location(opened.entry("b").location.member)
    redact_bundle(member, tmp_path / "redacted.wandb.zip")
    other = Archive(tmp_path / "redacted", archive.work, archive.server)
    add_bundles(open_store(other.where, create=True), [tmp_path / "redacted.wandb.zip"])
    with pytest.raises(UsageError) as caught:
        other.night()
    assert str(caught.value) == (
        "something was removed from 1 run of this project in the set, and an update would add it again;"
        " archive the project into another set"
    )


def test_metrics_that_the_set_has_are_not_dropped(archive: Archive) -> None:
    """Fewer metrics are refused; more are downloaded."""
    with pytest.raises(UsageError) as caught:
        archive.night(metrics="^m0")
    assert str(caught.value) == (
        "the set has all metrics of 3 runs of this project, and an update would leave those that match '^m0';"
        " omit --metrics, or archive into another set"
    )


def test_runs_of_another_host_are_not_mixed(archive: Archive) -> None:
    """They may have the same paths."""
    other = replace(SETTINGS, base_url="https://else.example")
    with pytest.raises(UsageError) as caught:
        archive.night(settings=other)
    assert str(caught.value) == (
        "the set has 3 runs of this project from api.test, and the runs of else.example are other ones;"
        " archive into another set"
    )


def test_an_empty_project_is_an_error(tmp_path: Path) -> None:
    """Nothing is made."""
    archive = Archive(tmp_path / "set", tmp_path / "work", ScriptedWandb())
    with pytest.raises(RunNotFoundError):
        archive.night()
    assert not list((tmp_path / "set").iterdir())
    assert not archive.work.exists()


@pytest.fixture
def running(request: pytest.FixtureRequest) -> Iterator[ObjectServer]:
    with lab_server(getattr(request, "param", "s3")) as server:
        yield server


def puts(storage: ObjectServer) -> list[str]:
    found = [path for method, path in storage.requests if method in ("PUT", "POST")]
    storage.requests.clear()
    return [suffix for path in found for suffix in (".zip", ".parquet") if suffix in path]


@every_service_slowly
def test_faults_of_object_storage_publish_nothing_and_lose_nothing(
    running: ObjectServer, tmp_path: Path
) -> None:
    """What was downloaded is on this machine, and the next night uploads it without a request for rows."""
    server = ScriptedWandb(logging("a", 30), exported("b", 20))
    archive = Archive(running.at("archive/"), tmp_path / "work", server)
    archive.night()
    assert puts(running) == [".zip", ".parquet"]
    grow(server)
    for part in (".wandb.zip", "catalog-"):
        running.fault = lambda method, path, part=part: "503" if method == "PUT" and part in path else ""  # type: ignore[misc]
        with pytest.raises(NetworkError):
            archive.night()
        running.fault = lambda _method, _path: ""
        assert archive.rows() == {"a": 30, "b": 20}
    puts(running)
    report = archive.night()
    assert report.changes.rows_received == 0
    assert archive.rows() == {"a": 33, "b": 20}
    assert puts(running) == [".zip", ".parquet"]
    archive.night()
    assert puts(running) == []


@every_service_slowly
def test_a_new_machine_goes_on_with_the_prefix_alone(running: ObjectServer, tmp_path: Path) -> None:
    """It requests the new rows, and the last ones that the member has."""
    server = ScriptedWandb(logging("a", 30), exported("b", 20))
    Archive(running.at("archive/"), tmp_path / "work", server).night()
    grow(server)
    running.requests.clear()
    other = Archive(running.at("archive/"), tmp_path / "other", server)
    report = other.night()
    assert report.changes.rows_received == OVERLAP + 3
    assert other.runs_of(report) == ["a"]
    assert other.rows() == {"a": 33, "b": 20}
