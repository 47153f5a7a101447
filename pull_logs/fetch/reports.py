"""The report of a pull, and the estimate of one that was not made."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pull_logs.errors import IncompleteError
from pull_logs.fetch.outcomes import RunOutcome
from pull_logs.runs import RunPath
from pull_logs.suggestions import incomplete_text

if TYPE_CHECKING:
    from pull_logs.snapshot import SealReport


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadReport:
    """What was downloaded, and the requests and time it needed.

    Attributes:
        runs: The outcome of each run, in path order.
        requests: Requests sent, including retries.
        graphql_requests: Those of `requests` that were GraphQL queries.
        throttled: Those of `requests` that were answered with 429.
        retries: Requests that had to be sent again.
        bytes_received: Bytes of the bodies of answers, as received.
        rows_received: Rows in the answers, including repeated ones.
        seconds: Seconds from the first request to the end.
        notes: Other remarks, as sentences.
        pruned: The runs of the earlier bundle that were dropped because W&B no longer has them.
        via: What read from W&B: `graphql`, this package's queries, or `sdk`, whose requests are not counted.
    """

    runs: tuple[RunOutcome, ...]
    requests: int
    graphql_requests: int
    throttled: int
    retries: int
    bytes_received: int
    rows_received: int
    seconds: float
    notes: tuple[str, ...] = ()
    pruned: tuple[RunPath, ...] = ()
    via: str = "graphql"

    @property
    def incomplete(self) -> tuple[RunOutcome, ...]:
        """The outcomes of the incomplete runs."""
        return tuple(outcome for outcome in self.runs if not outcome.complete)

    def require_complete(self) -> None:
        """Make sure that every run is complete.

        Raises:
            IncompleteError: A run is incomplete or missing.
        """
        if not self.incomplete:
            return
        first = self.incomplete[0]
        raise IncompleteError(
            f"{incomplete_text(len(self.incomplete), len(self.runs))}; the first, {first.path}:"
            f" {first.reason}",
            hint="the others are sealed; run the same command again",
        )

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-like values, for programs."""
        return {
            "runs": [
                {
                    "path": str(run.path),
                    "rows": run.rows,
                    "promised_rows": run.promised_rows,
                    "last_step": run.last_step,
                    "promised_last_step": run.promised_last_step,
                    "complete": run.complete,
                    "reason": run.reason,
                    "sealed": run.sealed,
                    "how": run.how if run.sealed else None,
                    "new_rows": run.new_rows,
                    "note": run.note,
                }
                for run in self.runs
            ],
            "pruned": list(map(str, self.pruned)),
            "via": self.via,
            "requests": self.requests,
            "graphql_requests": self.graphql_requests,
            "throttled": self.throttled,
            "retries": self.retries,
            "bytes_received": self.bytes_received,
            "rows_received": self.rows_received,
            "seconds": self.seconds,
            "notes": list(self.notes),
        }

    def shared(self) -> dict[str, Any]:
        """Return the attributes of this class, for a report that has more."""
        return {field.name: getattr(self, field.name) for field in fields(DownloadReport)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PullReport(DownloadReport):
    """What a pull into a bundle downloaded.

    Attributes:
        out: The path of the bundle.
        seal: The contents of the bundle.
    """

    out: Path
    seal: SealReport

    @classmethod
    def of(cls, report: DownloadReport, *, out: Path, seal: SealReport) -> Self:
        """Return the report of a download into this bundle."""
        return cls(out=out, seal=seal, **report.shared())

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-like values, for programs."""
        return {"out": str(self.out), **_contents(self.seal), **DownloadReport.to_json(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesReport(DownloadReport):
    """What a pull of the changes since an archive was written downloaded.

    Attributes:
        bundles: The new bundles, which have the new and the changed runs alone; none if nothing changed.
    """

    bundles: tuple[SealReport, ...]

    @classmethod
    def of(cls, report: DownloadReport, *, bundles: tuple[SealReport, ...]) -> Self:
        """Return the report of a download into these bundles."""
        return cls(bundles=bundles, **report.shared())

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-like values, for programs."""
        return {"bundles": [_contents(seal) for seal in self.bundles], **DownloadReport.to_json(self)}


def _contents(seal: SealReport) -> dict[str, Any]:
    """Return what a bundle contains."""
    return {
        "bundle_id": seal.bundle_id,
        "content_id": seal.content_id,
        "bytes": seal.bytes,
        "rows": seal.rows,
        "files": seal.files,
        "file_bytes": seal.file_bytes,
        "console_lines": seal.console_lines,
        "contents": seal.contents,
        "content_bytes": seal.content_bytes,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class PullEstimate:
    """What a pull would download and need, as far as the server knows in advance.

    Attributes:
        runs: Runs that would be pulled.
        missing: Runs that were named and do not exist, with the reason.
        rows: Rows promised; a run that promises none counts 0.
        files: Exported files to be downloaded.
        live_rows: Rows that are not exported.
        requests: Requests that a pull would send without faults, including its listings.
        listing_seconds: Seconds that the requests for this estimate took.
        seconds: Seconds that a pull may take, very roughly (see the module `dry_run`).
        run_files: Files of runs that would be pulled; None where none were selected.
        run_file_bytes: The size of these files, as far as W&B reports it.
        notes: Other remarks, as sentences.
    """

    runs: int
    missing: tuple[tuple[RunPath, str], ...]
    rows: int
    files: int
    live_rows: int
    requests: int
    listing_seconds: float
    seconds: float
    run_files: int | None = None
    run_file_bytes: int = 0
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the estimate as JSON-like values, for programs."""
        return {
            "runs": self.runs,
            "missing": [{"path": str(path), "reason": reason} for path, reason in self.missing],
            "rows": self.rows,
            "files": self.files,
            "live_rows": self.live_rows,
            "requests": self.requests,
            "listing_seconds": self.listing_seconds,
            "expected_seconds": self.seconds,
            "run_files": self.run_files,
            "run_file_bytes": self.run_file_bytes,
            "notes": list(self.notes),
        }
