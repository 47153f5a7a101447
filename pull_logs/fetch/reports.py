"""What a pull says when it has ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pull_logs.runs import RunPath
from pull_logs.snapshot.seal import SealReport

How = Literal["whole", "appended", "copied", "kept"]
"""How a run came into the bundle: asked for whole; from an earlier bundle, with what is new of it; from there
as it is, because nothing is new; or from there although W&B could not be asked how it is now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """What became of one run.

    Attributes:
        path: The run.
        rows: Lines that arrived, counted before rows of one step were merged.
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
    reason: str = ""
    sealed: bool = True
    how: How = "whole"
    new_rows: int = 0
    note: str = ""


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
            "runs": [
                {
                    "path": str(run.path),
                    "rows": run.rows,
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
    """

    runs: int
    missing: tuple[tuple[RunPath, str], ...]
    rows: int
    files: int
    live_rows: int
    requests: int
    listing_seconds: float
