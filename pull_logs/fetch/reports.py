"""What a pull says when it has ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pull_logs.runs import Coverage, RunPath
from pull_logs.snapshot import SealReport

How = Literal["whole", "appended", "copied", "resumed", "kept"]
"""How a run came into the bundle: asked for whole; from an earlier bundle, with what is new of it; from there
as it is, because nothing is new; from an earlier attempt at the same pull; or from an earlier bundle or attempt
although W&B could not be asked how it is now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """What became of one run.

    Attributes:
        path: The run.
        rows: Lines that arrived, counted before rows of one step were merged.
        promised_rows: Lines that W&B promised when the pull was planned; None if it did not say.
        last_step: The last step that arrived.
        promised_last_step: The last step that was promised.
        complete: Whether all that was promised is there.
        reason: Why not, in one sentence; empty when complete.
        sealed: Whether the bundle holds the run; an incomplete one may be in it, as far as it arrived.
        how: How it came, if it is sealed.
        new_rows: Lines of it that an earlier bundle did not have, or was not looked at for.
        note: Why it came so, where there is something to tell, such as why an earlier bundle was of no use.
    """

    path: RunPath
    rows: int
    complete: bool
    promised_rows: int | None = None
    last_step: int | None = None
    promised_last_step: int | None = None
    reason: str = ""
    sealed: bool = True
    how: How = "whole"
    new_rows: int = 0
    note: str = ""

    @classmethod
    def of(cls, path: RunPath, coverage: Coverage, *, how: How, new_rows: int = 0, note: str = "") -> Self:
        """What became of a run that is sealed, by what was promised of it and arrived."""
        return cls(
            path=path,
            rows=coverage.received_rows,
            complete=coverage.complete,
            promised_rows=coverage.promised_rows,
            last_step=coverage.received_last_step,
            promised_last_step=coverage.promised_last_step,
            reason=coverage.reason,
            how=how,
            new_rows=new_rows,
            note=note,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PullReport:
    """What a pull brought and what it took.

    Attributes:
        out: The bundle.
        seal: What was sealed.
        runs: What became of each run, in path order.
        requests: Requests sent, retries included.
        graphql_requests: Those of them that asked the GraphQL API.
        throttled: Those of them that were answered 429.
        retries: Requests that had to be sent again.
        bytes_received: Bytes of the answers' bodies, as they came over the wire.
        rows_received: Rows in the answers, repeats included.
        seconds: Seconds from the first question to the sealed bundle.
        notes: What else there is to tell, a sentence each.
    """

    out: Path
    seal: SealReport
    runs: tuple[RunOutcome, ...]
    requests: int
    graphql_requests: int
    throttled: int
    retries: int
    bytes_received: int
    rows_received: int
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def incomplete(self) -> tuple[RunOutcome, ...]:
        """The runs that are not whole."""
        return tuple(outcome for outcome in self.runs if not outcome.complete)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON-like values, for machines."""
        return {
            "out": str(self.out),
            "bundle_id": self.seal.bundle_id,
            "content_id": self.seal.content_id,
            "bytes": self.seal.bytes,
            "rows": self.seal.rows,
            "files": self.seal.files,
            "file_bytes": self.seal.file_bytes,
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
            "requests": self.requests,
            "graphql_requests": self.graphql_requests,
            "throttled": self.throttled,
            "retries": self.retries,
            "bytes_received": self.bytes_received,
            "rows_received": self.rows_received,
            "seconds": self.seconds,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a pull would take, as far as the server says beforehand.

    Attributes:
        runs: Runs that would be pulled.
        missing: Runs that were named and are not there, and why.
        rows: Lines promised; runs that promise none count 0.
        files: Exported files to be downloaded.
        live_rows: Rows that are not exported.
        requests: Requests that a pull would send without faults, its own listing included.
        listing_seconds: What asking for all this took.
        seconds: What a pull may take, very roughly: see `dryrun`.
        run_files: Files that runs logged and that would be pulled; None where none were asked for.
        run_file_bytes: Their bytes, as far as W&B tells.
        notes: What else there is to tell, a sentence each.
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
        """The survey as JSON-like values, for machines."""
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
