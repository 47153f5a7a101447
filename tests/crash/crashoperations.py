"""The operations that write what a user keeps, each on a small example, in one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anyio
import httpx
import pyarrow as pa
from anyio._backends._asyncio import AsyncIOBackend
from artifactkit import Version, artifacts_of
from bundlekit import ROWS, SYSTEM_ROWS, bundle_run, make_bundle, run_info
from consolekit import console_of, printed
from diskmodel import Tree
from fakeruns import subjects, training
from pulling import named, pull_from
from scripted_wandb import QUICK, SETTINGS, FakeRun, ScriptedWandb, rows_of
from setkit import grown_bundle

from pull_logs.cli.commands.archives.archive import _write_metrics
from pull_logs.errors import IncompleteError, NetworkError, UsageError
from pull_logs.fetch import open_cached
from pull_logs.fetch.cache import Cache
from pull_logs.fetch.history import exported, pieces
from pull_logs.rows.batches import batch_from_rows
from pull_logs.rows.merge import Lane, LanedBatch
from pull_logs.runs import Coverage, RunPath
from pull_logs.snapshot import (
    Spool,
    add_bundles,
    disk,
    export_runs,
    merge_bundles,
    open_bundle,
    open_store,
    subset_bundle,
    write_bundle,
)
from pull_logs.snapshot.format import record_of
from pull_logs.snapshot.privacy import redact_bundle
from pull_logs.snapshot.privacy.file_scrubber import TextFile
from pull_logs.snapshot.write import seal
from pull_logs.snapshot.write.run_sources import BundleRun
from pull_logs.snapshot.write.spool_folder import SpoolFolder

OUT = "out.wandb.zip"
SPOOL = f"{OUT}.partial"


class _OneThread(Executor):
    """An executor that runs each call at once."""

    def __init__(self, *_: Any) -> None:
        """Need nothing."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(call(*arguments, **options))
        except BaseException as exc:  # noqa: BLE001 - it belongs to the caller
            future.set_exception(exc)
        return future


async def _at_once(call: Callable[..., Any], arguments: Sequence[Any], *_: Any, **__: Any) -> Any:
    await anyio.lowlevel.checkpoint()
    return call(*arguments)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run what usually runs in threads at once, so that the calls have the same order every time."""
    with ExitStack() as stack:
        for module in (disk, seal):
            stack.enter_context(patch.object(module, "ThreadPoolExecutor", _OneThread))
        stack.enter_context(patch.object(AsyncIOBackend, "run_sync_in_worker_thread", _at_once))
        stack.enter_context(patch.object(exported, "check_cancelled", lambda: None))
        stack.enter_context(patch.object(pieces, "_IN_MEMORY", 1))  # each piece goes to the spool at once
        yield


def _everything(tree: Tree) -> Tree:
    return tree


def _beside_temporary_folders(tree: Tree) -> Tree:
    """A tree in which only the names of temporary folders count: their files are removed, and never read."""
    return {
        path: None if ".pull-logs-" in path.rpartition("/")[0] else content for path, content in tree.items()
    }


@dataclass(frozen=True)
class Operation:
    """An operation that replaces `kept`, or creates it.

    Attributes:
        name: Its name.
        prepare: Makes what is there before.
        run: Does it.
        again: The command that a user runs after a crash; the same one if None.
        kept: The file or folder that the user keeps.
        relevant: The part of a tree that the command reads.
        partly: Whether the files of the folder `kept` are replaced one by one.
        acknowledged: Whether what is new is on the disk when the operation ends.
        left: A part of the names of files that a killed process leaves and this command does not remove.
    """

    name: str
    prepare: Callable[[Path], object]
    run: Callable[[Path], object]
    again: Callable[[Path], object] | None = None
    kept: str = OUT
    relevant: Callable[[Tree], Tree] = _everything
    partly: bool = False
    acknowledged: bool = True
    left: str = "no file has this name"


def _nothing(_: Path) -> None:
    """Nothing is there before."""


def _rich_runs(*, more: int = 0) -> list[BundleRun]:
    """Two runs, with files, media, a console log, system metrics and artifacts."""
    picture, table = b"\x89PNG" + b"p" * 700, b'{"columns": ["a"], "data": [[1], [2]]}'
    rows: list[dict[str, Any]] = [
        {"_step": 0, "loss": 1.5, "pic": {"_type": "image-file", "path": "media/images/pic.png"}},
        {"_step": 1, "loss": 0.5, "t": {"_type": "table-file", "path": "media/table/t.table.json"}},
        *({"_step": 2 + step, "loss": float(step)} for step in range(more)),
    ]
    weights = Version({"model.bin": b"w" * 1500, "model.json": b"{}"})
    contents = {"media/images/pic.png": picture, "media/table/t.table.json": table, "out.log": b"hello\n"}
    first = bundle_run("acme/nano/3fk2a", rows, system=SYSTEM_ROWS, config={"mail": "a.person@example.org"})
    first = replace(
        first,
        files=[TextFile(record_of(name, [data]), data) for name, data in contents.items()],
        console=console_of(printed(12)),
        artifacts=artifacts_of([weights]),
    )
    return [first, bundle_run("acme/nano/b", ROWS[:1], state="crashed")]


def _bundle(name: str, *, more: int = 0) -> Callable[[Path], object]:
    return lambda root: write_bundle(root / name, _rich_runs(more=more))


def _both(*calls: Callable[[Path], object]) -> Callable[[Path], object]:
    def call(root: Path) -> None:
        for one in calls:
            one(root)

    return call


def _merge(root: Path) -> None:
    with open_bundle(root / "a.zip") as left, open_bundle(root / "b.zip") as right:
        merge_bundles([left, right], root / OUT)


def _other(root: Path) -> None:
    make_bundle(root / "b.zip", [bundle_run("acme/nano/c")])


def _redact(root: Path) -> None:
    redact_bundle(root / OUT, root / OUT)


def _subset(root: Path) -> None:
    with open_bundle(root / OUT) as bundle:
        subset_bundle(list(bundle.runs()), root / OUT, metrics="loss", force=True)


def _import(root: Path) -> None:
    from pull_logs.sources import import_locations, locate

    import_locations([locate(str(root / "metrics.csv"))], out=root / OUT)


def _csv(root: Path) -> None:
    lines = [f"{step},{step / 8}" for step in range(40)]
    (root / "metrics.csv").write_text("\n".join(["step,loss", *lines]) + "\n")


def _server(*, later: bool = False, incomplete: bool = False) -> ScriptedWandb:
    more = 20 if later else 0
    files = {"out.log": b"line\n" * (400 + more), "config.yaml": b"a: 1\n"}
    return ScriptedWandb(
        FakeRun.exported("a", rows_of(range(30)), shards=2, files=files),
        FakeRun.logging("live", rows_of(range(0, 60 + more, 2)), console=printed(8 + more)),
        FakeRun("part", live=rows_of(range(5)), lines=9 if incomplete else 5, last_step=4),
    )


MORE: dict[str, Any] = {"concurrency": 1, "files": ("*",), "console": True}


def _pull(root: Path, server: ScriptedWandb, **options: Any) -> None:
    anyio.run(partial(pull_from, server, root / OUT, **{**MORE, **options}))


def _fetch(root: Path, **options: Any) -> None:
    _pull(root, _server(), **options)


def _fetch_incomplete(root: Path) -> None:
    _pull(root, _server(incomplete=True))


def _refresh(root: Path) -> None:
    _pull(root, _server(later=True), previous=root / OUT)


def _interrupted(root: Path, *, requests: int = 6, **options: Any) -> None:
    server, left = _server(), iter(range(requests))

    def fault(_: httpx.Request) -> Exception | None:
        return None if next(left, None) is not None else httpx.ConnectError("unplugged")

    server.faults = [fault]
    try:
        _pull(root, server, **options)
    except (NetworkError, IncompleteError):
        (root / OUT).unlink(missing_ok=True)


def _other_selection(root: Path) -> None:
    """A download of some metrics is begun, and another one without it is wanted."""
    _interrupted(root, requests=9, metrics="m1")


def _unclaimed(root: Path) -> None:
    """A removal of what arrived of some metrics was interrupted after the plan was gone."""
    _other_selection(root)
    (root / SPOOL / "plan.json").unlink()


def _fetch_fresh(root: Path) -> None:
    _fetch(root, fresh=True)


def _fetch_whatever_is_there(root: Path) -> None:
    try:
        _fetch(root)
    except UsageError as exc:
        if "holds what arrived for another selection of runs" not in exc.message:
            raise
        _fetch_fresh(root)


_RUN = RunPath("acme", "nano", "b")


def _spool(root: Path) -> Spool:
    return Spool.open(root / OUT, plan={"runs": "all"})


def _adopt(root: Path) -> None:
    """Copy the runs of another bundle, with the contents of their artifacts, and add a run."""
    with _spool(root) as spool, open_bundle(root / "a.zip") as bundle:
        for run in bundle.runs():
            if run.path not in spool.stored:
                spool.adopt(run)
        info = run_info("acme/nano/c")
        if info.path not in spool.stored:
            spool.append(info.path, Lane.SHARD, batch_from_rows(ROWS), key="rows")
            spool.finish(info, Coverage(received_rows=3, received_last_step=4))
        spool.seal()


def _stored(root: Path) -> None:
    with _spool(root) as spool:
        spool.store(run_info(str(_RUN)), Coverage(), [LanedBatch(Lane.SHARD, batch_from_rows(ROWS))])


def _restate(root: Path) -> None:
    """Note that W&B no longer has a run, of which the spool has the only copy."""
    with _spool(root) as spool:
        assert list(spool.stored) == [_RUN], "the only copy of a run is lost"
        spool.restate(run_info(str(_RUN), state="gone"))


def _look(root: Path, *, later: bool = False) -> None:
    server = ScriptedWandb(FakeRun.exported("a", rows_of(range(40 if later else 30)), shards=1))
    with ExitStack() as stack:
        options: dict[str, Any] = {"settings": SETTINGS, "policy": QUICK, "transport": server.transport}
        (run,) = open_cached(named("a"), stack=stack, folder=root / "cache", **options)
        assert run.rows == (40 if later else 30)


def _export(root: Path, *, force: bool = False) -> None:
    with open_bundle(root / "a.zip") as bundle:
        export_runs(bundle.runs(), root / "out", to="csv", force=force)


def _export_before(root: Path) -> None:
    make_bundle(root / "before.zip")
    with open_bundle(root / "before.zip") as bundle:
        export_runs(bundle.runs(), root / "out", to="csv")


def _media(root: Path) -> None:
    from pull_logs.interface.media import media_of_runs, save_media

    with open_bundle(root / "a.zip") as bundle:
        if not (root / "out").exists():
            save_media(media_of_runs(bundle.runs()), root / "out")


def _save(root: Path) -> None:
    with open_bundle(root / "a.zip") as bundle:
        bundle["acme/nano/3fk2a"].files["out.log"].save(root / "out.log")


def _download_artifact(root: Path) -> None:
    with open_bundle(root / "a.zip") as bundle:
        (artifact,) = bundle["acme/nano/3fk2a"].logged_artifacts()
        artifact.download(root / "out")


def _report(root: Path) -> None:
    from pull_logs.report import ReportOptions, write_report

    write_report(subjects(training()), root / "out.html", options=ReportOptions())


class _Answer:
    """The answer to an SQL query."""

    def batches(self) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        batch = pa.record_batch({"step": list(range(90)), "loss": [step / 8 for step in range(90)]})
        return batch.schema, iter([batch])


def _table(root: Path) -> None:
    from pull_logs.analyze.sql.table_file import write_table

    write_table(_Answer(), root / "out.parquet")  # type: ignore[arg-type]


def _skill(root: Path) -> None:
    from pull_logs.cli.commands.skills.installation import Installed, install

    install(Installed(root / "SKILL.md", "older"), "a skill\n" * 200)


def _plot(root: Path) -> None:
    from matplotlib.figure import Figure

    from pull_logs.plots.figure import save_figure

    figure = Figure(figsize=(1, 1))
    figure.add_subplot().plot([1, 2, 3])
    save_figure(figure, root / "out.svg")


def _record(root: Path) -> None:
    from pull_logs.recording import Recorder

    def pull(*_: Any, out: Path, **__: Any) -> Any:
        write_bundle(out, _rich_runs())
        return type("Report", (), {"runs": ()})()

    with (
        patch("pull_logs.recording.pull_sync", pull),
        Recorder(root / OUT, [], settings=SETTINGS, requested=set()) as recording,
    ):
        if not (root / OUT).exists():
            recording.record([RunPath("acme", "nano", "3fk2a")])


def _given(root: Path) -> None:
    grown_bundle(root / "given.zip", {"acme/nano/a": 3, "acme/nano/b": 2})


def _add(root: Path, name: str = "given.zip") -> None:
    add_bundles(open_store(root / "set", create=True), [root / name], keep=True)


def _move(root: Path) -> None:
    add_bundles(open_store(root / "set", create=True), [root / "given.zip"])


def _move_again(root: Path) -> None:
    """Move what was not moved; what is not there any more has to be in the set."""
    if (root / "given.zip").exists():
        _move(root)


def _write_archive_metrics(root: Path) -> None:
    _write_metrics(root / "metrics.prom", "pull_logs_archive_runs 7\n" * 60)


def _set_before(root: Path) -> None:
    _given(root)
    _add(root)
    grown_bundle(root / "later.zip", {"acme/nano/b": 4, "acme/nano/c": 1})


def _earlier(name: str) -> Callable[[Path], object]:
    """An earlier file of that name."""
    return lambda root: (root / name).write_bytes(b"an earlier file\n" * 50)


_earlier_log = _both(_bundle("a.zip"), _earlier("out.log"))
_add_later = partial(_add, name="later.zip")
_look_later = partial(_look, later=True)
_RUN_FILE = str(SpoolFolder(Path(SPOOL)).run_file(_RUN))
CACHED = str(Cache(Path("cache"), SETTINGS).file(RunPath("acme", "nano", "a")))
_SIDES = _beside_temporary_folders

OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("bundle", _nothing, _bundle(OUT, more=9), relevant=_SIDES),
        Operation("bundle-over-one", _bundle(OUT), _bundle(OUT, more=9), relevant=_SIDES),
        Operation("merge", _both(_bundle("a.zip"), _other), _merge, relevant=_SIDES),
        Operation("subset", _bundle(OUT), _subset, relevant=_SIDES),
        Operation("redact", _bundle(OUT), _redact, relevant=_SIDES),
        Operation("import", _csv, _import, relevant=_SIDES),
        Operation("record", _nothing, _record, relevant=_SIDES, left=".pull-logs-"),
        Operation("fetch", _nothing, _fetch),
        Operation("fetch-over-one", _bundle(OUT), partial(_fetch, force=True)),
        Operation("fetch-incomplete", _nothing, _fetch_incomplete),
        Operation("fetch-other-selection", _other_selection, _fetch_fresh, _fetch_whatever_is_there),
        Operation("fetch-unclaimed", _unclaimed, _fetch),
        Operation("resume", _interrupted, _fetch),
        Operation("refresh", _fetch, _refresh),
        Operation("adopt", _bundle("a.zip"), _adopt),
        Operation("restate", _stored, _restate, kept=_RUN_FILE, acknowledged=False),
        Operation("cache", _nothing, _look, kept=CACHED, acknowledged=False, left=".pull-logs-"),
        Operation("cache-over-one", _look, _look_later, kept=CACHED, acknowledged=False, left=".pull-logs-"),
        Operation("export", _bundle("a.zip"), _export, partial(_export, force=True), "out", _SIDES),
        Operation(
            "export-over-one",
            _both(_bundle("a.zip"), _export_before),
            partial(_export, force=True),
            kept="out",
            relevant=_SIDES,
        ),
        Operation("set", _given, _add, kept="set", relevant=_SIDES, partly=True, left=".pull-logs-"),
        Operation("set-move", _given, _move, _move_again, "set", _SIDES, partly=True, left=".pull-logs-"),
        Operation("set-add", _set_before, _add_later, None, "set", _SIDES, partly=True, left=".pull-logs-"),
        Operation("media", _bundle("a.zip"), _media, kept="out", relevant=_SIDES, left=".pull-logs-"),
        Operation(
            "save", _both(_bundle("a.zip"), _earlier("out.log")), _save, kept="out.log", left=".saving-"
        ),
        Operation("artifact", _bundle("a.zip"), _download_artifact, kept="out", partly=True, left=".saving-"),
        Operation("report", _earlier("out.html"), _report, kept="out.html"),
        Operation("table", _earlier("out.parquet"), _table, kept="out.parquet"),
        Operation("skill", _earlier("SKILL.md"), _skill, kept="SKILL.md"),
        Operation("metrics", _earlier("metrics.prom"), _write_archive_metrics, kept="metrics.prom"),
        Operation("plot", _earlier("out.svg"), _plot, kept="out.svg"),
    )
}
