"""Short ways to pull from a scripted W&B and to compare what came with the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripted_wandb import QUICK, SETTINGS, Instant, Row, ScriptedWandb

from pull_logs.fetch import PullOptions, PullProgress, PullReport, Selection, Settings, pull
from pull_logs.fetch.api.clock import Clock
from pull_logs.rows.canonical import canon_row, same
from pull_logs.runs import RunReference
from pull_logs.snapshot import open_bundle

PROJECT = Selection(projects=("acme/nano",))


def named(*run_ids: str) -> Selection:
    return Selection(runs=tuple(RunReference(run_id, "nano", "acme") for run_id in run_ids))


async def pull_from(
    server: ScriptedWandb,
    out: Path,
    selection: Selection = PROJECT,
    *,
    settings: Settings = SETTINGS,
    clock: Clock | None = None,
    progress: Callable[[PullProgress], None] | None = None,
    **options: Any,
) -> PullReport:
    """Pull with these `PullOptions`, on a clock on which waiting takes no time."""
    return await pull(
        selection,
        out=out,
        options=PullOptions(**{"policy": QUICK, **options}),
        settings=settings,
        transport=server.transport,
        progress=progress,
        clock=clock or Instant().clock,
    )


def rows_in(out: Path) -> dict[str, list[Row]]:
    """Every row of every run of a bundle, by run id."""
    with open_bundle(out) as bundle:
        return {run.path.run_id: list(run.scan_history()) for run in bundle.runs()}


def assert_rows(out: Path, truth: Mapping[str, Iterable[Row]]) -> None:
    """The bundle holds these runs with these rows, each once, in step order, and nothing else."""
    found = rows_in(out)
    assert sorted(found) == sorted(truth)
    for run_id, rows in truth.items():
        wanted = [canon_row(row) for row in sorted(rows, key=lambda row: int(row["_step"]))]
        assert len(found[run_id]) == len(wanted), run_id
        assert all(same(left, right) for left, right in zip(found[run_id], wanted, strict=True)), run_id


def reasons(report: PullReport) -> dict[str, str]:
    """Why runs are incomplete, by run id."""
    return {outcome.path.run_id: outcome.reason for outcome in report.incomplete}


def bytes_of(paths: Sequence[Path]) -> bytes:
    return b"".join(path.read_bytes() for path in paths)
