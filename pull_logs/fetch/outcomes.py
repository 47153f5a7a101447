"""What became of each run of a pull, and of the files of all runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from pull_logs.errors import IncompleteError, PullLogsError, RunNotFoundError
from pull_logs.fetch.progress import Meter
from pull_logs.runs import Coverage, RunPath
from pull_logs.snapshot import FileSelection
from pull_logs.suggestions import counted

How = Literal["complete", "appended", "copied", "resumed", "kept", "gone", "unchanged"]
"""How a run came into the bundle.

`complete`: downloaded completely. `appended`: from an earlier bundle, with the new rows. `copied`: from an
earlier bundle, unchanged. `resumed`: from an earlier attempt at the same pull. `kept`: from an earlier bundle
or attempt, although its current state could not be downloaded. `gone`: likewise, and W&B no longer has it.
`unchanged`: it is in the archive just like this, and not in the bundle of its changes.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedRun:
    """A run that is in the spool.

    Attributes:
        coverage: What was promised of its history, and what arrived.
        how: How it came there.
        new_rows: Rows that the earlier bundle does not have; all rows if there is none.
        note: Why it was not appended to or copied, or what else is worth a remark; often empty.
    """

    coverage: Coverage
    how: How
    new_rows: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """What became of one run.

    Attributes:
        path: The path of the run.
        rows: Rows that arrived, counted before rows of one step were merged.
        promised_rows: Rows that W&B promised when the pull was planned; None if it promised none.
        last_step: The last step that arrived.
        promised_last_step: The last step that was promised.
        complete: Whether all that was promised is there.
        reason: Why the run is incomplete, in one sentence; empty when it is complete.
        sealed: Whether the bundle holds the run; an incomplete one may be in it, as far as it arrived.
        how: How it came into the bundle, if it is sealed.
        new_rows: Rows that an earlier bundle did not have, or that were downloaded again.
        note: A remark, for example why an earlier bundle was of no use; often empty.
    """

    path: RunPath
    rows: int
    complete: bool
    promised_rows: int | None = None
    last_step: int | None = None
    promised_last_step: int | None = None
    reason: str = ""
    sealed: bool = True
    how: How = "complete"
    new_rows: int = 0
    note: str = ""

    @classmethod
    def of(cls, path: RunPath, fetched: FetchedRun) -> Self:
        """Return the outcome of a run that is in the spool."""
        coverage = fetched.coverage
        return cls(
            path=path,
            rows=coverage.received_rows,
            complete=coverage.complete,
            promised_rows=coverage.promised_rows,
            last_step=coverage.received_last_step,
            promised_last_step=coverage.promised_last_step,
            reason=coverage.reason,
            how=fetched.how,
            new_rows=fetched.new_rows,
            note=fetched.note,
        )


class Outcomes:
    """Collects the outcomes of a pull."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._outcomes: dict[RunPath, RunOutcome] = {}
        self._errors: list[tuple[RunPath, PullLogsError]] = []
        self._pruned: set[RunPath] = set()

    def __contains__(self, path: RunPath) -> bool:
        return path in self._outcomes or path in self._pruned

    @property
    def pruned(self) -> tuple[RunPath, ...]:
        """The runs that were dropped because W&B no longer has them, in path order."""
        return tuple(sorted(self._pruned))

    def drop(self, path: RunPath) -> None:
        """Record a run of an earlier bundle that will not be in the new one."""
        self._pruned.add(path)
        self._meter.finish_run()

    def __iter__(self) -> Iterator[RunOutcome]:
        """Iterate over the outcomes in path order."""
        return (self._outcomes[path] for path in sorted(self._outcomes))

    def add(self, path: RunPath, fetched: FetchedRun) -> None:
        """Record a run that is in the spool."""
        self._finish(RunOutcome.of(path, fetched))

    def keep(self, path: RunPath, coverage: Coverage, error: PullLogsError) -> None:
        """Record a run that is kept as it was, because of an error."""
        kept = RunOutcome.of(path, FetchedRun(coverage=coverage, how="kept"))
        self._finish(replace(kept, complete=False, reason=f"kept as it was: {error.message}"))

    def fail(self, path: RunPath, error: PullLogsError) -> None:
        """Record a run that will not be in the bundle."""
        self._errors.append((path, error))
        self._meter.runs_failed += 1
        self._meter.failure = f"{path}: {error.message}"
        self._finish(RunOutcome(path=path, rows=0, complete=False, reason=error.message, sealed=False))

    def _finish(self, outcome: RunOutcome) -> None:
        self._outcomes[outcome.path] = outcome
        self._meter.finish_run()

    def raise_failure(self) -> None:
        """Raise the error of a pull in which every run failed or was dropped."""
        if not self._errors:
            runs = counted(len(self._pruned), "run")
            raise RunNotFoundError(
                f"W&B has none of the {runs} of the bundle any more, and --prune would leave nothing",
                hint="nothing was changed; omit --prune to keep them",
            )
        path, error = min(self._errors, key=lambda failed: failed[0])
        if len(self._errors) == 1:
            raise error
        raise IncompleteError(
            f"none of {len(self._errors)} runs could be pulled; the first, {path}: {error.message}",
            hint=error.hint,
        )


@dataclass(slots=True)
class FileCounts:
    """What became of the files of all runs of a pull.

    Attributes:
        runs: Runs whose files were requested by pattern.
        without: Runs of these in which no file matched.
        too_large: Files that were omitted for their size, with run, name and size.
    """

    runs: int = 0
    without: int = 0
    too_large: list[tuple[RunPath, str, int]] = field(default_factory=list)

    def add_run(self, *, matched: bool) -> None:
        """Count a run whose files were requested by pattern."""
        self.runs += 1
        self.without += not matched

    def omit(self, path: RunPath, name: str, size: int) -> None:
        """Count a file that is too large."""
        self.too_large.append((path, name, size))

    def notes(self, selection: FileSelection) -> list[str]:
        """Return what is worth reporting, as sentences."""
        notes = []
        if self.without:
            patterns = " or ".join(map(repr, dict.fromkeys((*selection.globs, *selection.media))))
            notes.append(f"{self.without} of {self.runs} runs have no file that matches {patterns}")
        if self.too_large:
            path, name, size = min(self.too_large)
            total = sum(size for _, _, size in self.too_large)
            files = counted(len(self.too_large), "file")
            notes.append(
                f"omitted {files} of more than {selection.max_bytes} bytes, {total} bytes in total;"
                f" the first, {name!r} of {path}, has {size}"
            )
        return notes
