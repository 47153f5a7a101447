"""Compares runs with the local logs that they were uploaded from.

The logs are read as `import` reads them: the folders of a resumed run are one run, copies count once, and
rows after a rewind are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pull_logs.errors import BundleDamagedError, DataError, RunNotFoundError
from pull_logs.proof.logged_rows import LoggedRows, trace_rows
from pull_logs.runs import RunPath
from pull_logs.snapshot import record_edits

if TYPE_CHECKING:
    from pull_logs.snapshot import Edit, Run
    from pull_logs.sources import IgnoredCalls

_INTERNAL, _DERIVED = "_wandb", "derived"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciledRun:
    """A run in local logs, compared with the stored run.

    Attributes:
        path: The run in the logs.
        stored: The stored run that it was compared with; None if there is none.
        rows: What became of its rows.
        ignored: The log calls that the SDK ignored, which are not in the log; None if it reported none.
        config: The differences of the config, from the logged to the stored one.
        summary: Those of the summary.
    """

    path: RunPath
    stored: RunPath | None
    rows: LoggedRows
    ignored: IgnoredCalls | None = None
    config: tuple[Edit, ...] = ()
    summary: tuple[Edit, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether all that was logged is stored, and nothing else."""
        found = self.rows.ranges or self.config or self.summary or self.ignored
        return self.stored is not None and not found


def reconcile_run(logged: Run, stored: Run | None, ignored: IgnoredCalls | None = None) -> ReconciledRun:
    """Compare a run in local logs with the stored run.

    Args:
        logged: The run as `import` reads its logs.
        stored: The stored run; None if there is none.
        ignored: The log calls that the SDK ignored.

    Raises:
        BundleDamagedError: The stored history is damaged.
    """
    if stored is None:
        return ReconciledRun(
            path=logged.path, stored=None, rows=trace_rows(logged.batches, lambda: ()), ignored=ignored
        )
    try:
        rows = trace_rows(logged.batches, stored.batches)
    except DataError as exc:
        raise BundleDamagedError(
            f"the history of run {str(stored.path)!r} cannot be compared with its log: {exc.message}",
            path=stored.bundle_path,
            hint="run `pull-logs verify` on the bundle",
        ) from exc
    return ReconciledRun(
        path=logged.path,
        stored=stored.path,
        rows=rows,
        ignored=ignored,
        config=tuple(record_edits(logged.config, stored.config)),
        summary=tuple(record_edits(*_summaries(logged.summary, stored.summary))),
    )


def _summaries(
    logged: Mapping[str, Any], stored: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return both summaries without what was derived from the rows of a log that has no summary."""
    derived = logged.get(_INTERNAL, {}).get(_DERIVED, [])
    here = {key: value for key, value in logged.items() if key not in derived or key in stored}
    return _without_derived(here), _without_derived(stored)


def _without_derived(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    internal = summary.get(_INTERNAL)
    if not isinstance(internal, Mapping) or _DERIVED not in internal:
        return summary
    rest = {key: value for key, value in internal.items() if key != _DERIVED}
    others = {key: value for key, value in summary.items() if key != _INTERNAL}
    return others | ({_INTERNAL: rest} if rest else {})


def match_runs(logged: Sequence[RunPath], stored: Sequence[Run]) -> dict[RunPath, Run | None]:
    """Find the stored run of each run in local logs, by its id.

    Of several with one id, that of the same project and entity is taken. A single logged run and a single
    stored one belong together, whatever their ids: a log can be uploaded under another id.

    Args:
        logged: The runs in the logs.
        stored: The stored runs.

    Raises:
        RunNotFoundError: Several stored runs have the id, and none of them has the project of the log.
    """
    if len(logged) == len(stored) == 1:
        return {logged[0]: stored[0]}
    by_id: dict[str, list[Run]] = {}
    for run in stored:
        by_id.setdefault(run.path.run_id, []).append(run)
    return {path: _nearest(path, by_id.get(path.run_id, [])) for path in logged}


def _nearest(path: RunPath, found: Sequence[Run]) -> Run | None:
    best = max((_likeness(path, run.path) for run in found), default=0)
    nearest = [run for run in found if _likeness(path, run.path) == best]
    if len(nearest) > 1:
        names = ", ".join(repr(str(run.path)) for run in nearest[:3])
        raise RunNotFoundError(
            f"the log of {str(path)!r} may belong to {len(nearest)} runs: {names}",
            hint="name one with -r entity/project/run_id, or the project of the log with --project",
        )
    return nearest[0] if nearest else None


def _likeness(path: RunPath, other: RunPath) -> int:
    """Return 2 for the same path, 1 for the same project, else 0."""
    return (path.project == other.project) * (1 + (path.entity == other.entity))
