"""Small sets, and runs that grow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bundlekit import bundle_run, make_bundle

from pull_logs.runs import RunPath
from pull_logs.snapshot import BundleSet, Run
from pull_logs.snapshot.sets.catalog_file import write_catalog
from pull_logs.snapshot.write.run_sources import BundleRun

Model = dict[str, int]
"""A set as a dict: the state of each run. That is its number of rows, and `BRANCH` more on another branch."""

BRANCH = 10
"""A state with this much more has as many rows, which are others and were logged later."""

KINDS: tuple[Any, ...] = (0.5, "text", True, 2**70, ["a"], {"deep": {"er": 1}}, None)


def grown_run(path: str, state: int) -> BundleRun:
    """Return a run after some rows: a later state of a branch has all that an earlier one has."""
    branch, rows = divmod(state, BRANCH)
    return bundle_run(
        path,
        [{"_step": step, "loss": branch + 1 / (step + 1)} for step in range(rows)],
        state="running" if rows < 4 else "finished",
        config={"lr": len(path) / 100, "odd": KINDS[(len(path) + rows) % len(KINDS)]},
        summary={"loss": 1 / rows} if rows else {},
        heartbeat_at=f"2026-01-01T00:0{branch}:0{rows}Z",
    )


def grown_bundle(file: Path, runs: Mapping[str, int] | Iterable[tuple[str, int]]) -> Path:
    """Write a bundle of runs after some rows."""
    return make_bundle(file, [grown_run(path, rows) for path, rows in sorted(dict(runs).items())])


def state_of(run: Run) -> int:
    """Return the state of a run, read from its member."""
    losses = [row["loss"] for row in run.scan_history()]
    branch = int(losses[0] - 1) if losses else 0
    assert losses == [branch + 1 / (step + 1) for step in range(len(losses))]
    return branch * BRANCH + len(losses)


def held(opened: BundleSet) -> Model:
    """Return the runs of a set and their rows, read from the members."""
    return {path: len(list(opened[path].scan_history())) for path in opened}


def written_again(opened: BundleSet, file: Path) -> bytes:
    """Return the bytes of a first catalog with the same rows."""
    write_catalog(file, None, {entry.path: entry for entry in opened.entries()})
    return file.read_bytes()


def path_of(text: str) -> RunPath:
    """Return the path of a run."""
    return RunPath(*text.split("/"))
