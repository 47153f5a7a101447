"""The operations that write what a user keeps, each on a small example, in one thread."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anyio
import httpx
from artifactkit import Version, artifacts_of
from bundlekit import ROWS, bundle_run, make_bundle, run_info
from consolekit import printed
from crashfiles import FILE_OPERATIONS
from crashsets import SET_OPERATIONS, set_operation
from operationkit import (
    OUT,
    SPOOL,
    Operation,
    beside_temporary_folders,
    both,
    bundle,
    nothing,
    rich_runs,
)
from pulling import named, pull_from
from scripted_wandb import QUICK, SETTINGS, FakeRun, ScriptedWandb, rows_of

from pull_logs.cli.sharing import write_without
from pull_logs.errors import IncompleteError, NetworkError, UsageError
from pull_logs.fetch import PullOptions, open_cached
from pull_logs.fetch.cache import Cache
from pull_logs.fetch.cache_folder import prune_cache
from pull_logs.fetch.files.download import checked_file
from pull_logs.fetch.files.listing import ListedFile
from pull_logs.fetch.sdk.parts import _take
from pull_logs.interface import archive_project
from pull_logs.rows.batches import batch_from_rows
from pull_logs.rows.merge import Lane, LanedBatch
from pull_logs.runs import Coverage, RunPath
from pull_logs.snapshot import (
    Spool,
    disk_errors,
    merge_bundles,
    open_bundle,
    open_store,
    subset_bundle,
    write_bundle,
)
from pull_logs.snapshot.format import MD5, digest_of
from pull_logs.snapshot.privacy import KINDS, redact_bundle
from pull_logs.snapshot.write.run_sources import RunExtras
from pull_logs.snapshot.write.spool_folder import SpoolFolder


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


def _write_redacted(root: Path) -> None:
    """Write a bundle under another name, and then without personal data under its own."""
    file = root / UNREDACTED
    write = partial(write_bundle, runs=rich_runs())
    write_without(KINDS, root / OUT, write, target=root / OUT, force=True, written=file)


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


def _contents(root: Path) -> None:
    """Download the content of an artifact, of which an earlier attempt may have left a part."""
    data = b"w" * 1500
    with disk_errors(root / OUT, hint=""), _spool(root) as spool:
        if _RUN not in spool.stored:
            if spool.contents.find(MD5, digest_of(MD5, [data]), len(data)) is None:
                file = spool.contents.unfinished("model.bin")
                file.write_bytes(data)
                spool.contents.add_file(file)
            extras = RunExtras(artifacts=artifacts_of([Version({"model.bin": data})]))
            batches = [LanedBatch(Lane.SHARD, batch_from_rows(ROWS))]
            spool.store(run_info(str(_RUN)), Coverage(), batches, extras)
        spool.seal()


def _sdk_file(root: Path) -> None:
    """Take a file that the SDK wrote to a folder of its own."""
    with disk_errors(root / OUT, hint=""), _spool(root) as spool:
        if _RUN not in spool.stored:
            file = spool.files_folder(_RUN) / "0"
            folder = file.with_name("0.sdk")
            written = folder / "media" / "out.log"
            written.parent.mkdir(parents=True, exist_ok=True)
            written.write_bytes(b"a line\n" * 200)
            _take({"file": str(written)}, folder, file)
            listed = ListedFile(
                name="media/out.log", size=1400, md5=None, mediatype=None, direct_url=None, url=None
            )
            extras = RunExtras(files=[checked_file(listed, file)])
            batches = [LanedBatch(Lane.SHARD, batch_from_rows(ROWS))]
            spool.store(run_info(str(_RUN)), Coverage(), batches, extras)
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


def _record(root: Path) -> None:
    from pull_logs.recording import Recorder

    def pull(*_: Any, out: Path, **__: Any) -> Any:
        write_bundle(out, rich_runs())
        return type("Report", (), {"runs": ()})()

    with (
        patch("pull_logs.recording.pull_sync", pull),
        Recorder(root / "runs" / OUT, [], settings=SETTINGS, requested=set()) as recording,
    ):
        if not (root / "runs" / OUT).exists():
            recording.record([RunPath("acme", "nano", "3fk2a")])


UNREDACTED = f".{OUT}.unredacted"
_look_later = partial(_look, later=True)
_RUN_FILE = str(SpoolFolder(Path(SPOOL)).run_file(_RUN))
CACHED = str(Cache(Path("cache"), SETTINGS).file(RunPath("acme", "nano", "a")))
_SIDES = beside_temporary_folders


def _prune(root: Path) -> None:
    prune_cache(root / "cache")


def _archive(root: Path) -> None:
    """A night of an archive, which adds a new bundle to a set."""
    archive_project(
        open_store(root / "set", create=True),
        "acme/nano",
        options=PullOptions(policy=QUICK, concurrency=1),
        settings=SETTINGS,
        transport=_server().transport,
        work=root / "work",
    )


def _cached(name: str, prepare: Callable[[Path], object], run: Callable[[Path], object]) -> Operation:
    return Operation(name, prepare, run, kept=CACHED, works_in="cache", left=".pull-logs-", spare=True)


OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("bundle", nothing, bundle(OUT, more=9), relevant=_SIDES),
        Operation("bundle-over-one", bundle(OUT), bundle(OUT, more=9), relevant=_SIDES),
        Operation("merge", both(bundle("a.zip"), _other), _merge, relevant=_SIDES),
        Operation("subset", bundle(OUT), _subset, relevant=_SIDES),
        Operation("redact", bundle(OUT), _redact, relevant=_SIDES),
        Operation(
            "write-redacted", nothing, _write_redacted, relevant=_SIDES, works_in=UNREDACTED, gone=UNREDACTED
        ),
        Operation("import", _csv, _import, relevant=_SIDES),
        Operation("record", nothing, _record, relevant=_SIDES, kept=f"runs/{OUT}", left=".pull-logs-"),
        Operation("fetch", nothing, _fetch),
        Operation("fetch-over-one", bundle(OUT), partial(_fetch, force=True)),
        Operation("fetch-incomplete", nothing, _fetch_incomplete),
        Operation("fetch-other-selection", _other_selection, _fetch_fresh, _fetch_whatever_is_there),
        Operation("fetch-unclaimed", _unclaimed, _fetch),
        Operation("resume", _interrupted, _fetch),
        Operation("refresh", _fetch, _refresh),
        Operation("adopt", bundle("a.zip"), _adopt),
        Operation("contents", nothing, _contents),
        Operation("sdk-file", nothing, _sdk_file),
        Operation("restate", _stored, _restate, kept=_RUN_FILE, acknowledged=False),
        _cached("cache", nothing, _look),
        _cached("cache-over-one", _look, _look_later),
        replace(_cached("prune", _look, _prune), acknowledged=False),
        set_operation("archive", nothing, _archive, works_in="work"),
        *FILE_OPERATIONS,
        *SET_OPERATIONS,
    )
}
