"""What discovery finds: the facts of a run, what its history is promised to hold, and where its rows are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from pull_logs.errors import PullLogsError
from pull_logs.runs import RunInfo, RunPath

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Steps: TypeAlias = "npt.NDArray[np.int64]"


@dataclass(frozen=True, slots=True)
class Promise:
    """What the history holds according to the server, at the time the pull was planned.

    Attributes:
        rows: The number of logged rows, from `historyLineCount`; None if the server did not report it.
        last_step: The last step, from `historyKeys.lastStep`; None if it was not reported, or -1.
    """

    rows: int | None
    last_step: int | None

    @property
    def any_rows(self) -> bool:
        """Whether the history has at least one row, as far as the server reported."""
        return bool(self.rows) or self.last_step is not None

    def shortfall(self, *, rows: int, last_step: int | None) -> str:
        """Return what is missing of a history, in one sentence; empty if nothing is.

        Args:
            rows: The number of rows that arrived.
            last_step: The last step that arrived; None without rows.
        """
        if self.last_step is not None and (last_step is None or last_step < self.last_step):
            arrived = "none arrived" if last_step is None else f"they end at step {last_step}"
            return f"W&B promised rows up to step {self.last_step} and {arrived}"
        if self.rows is not None and rows < self.rows:
            return f"W&B promised {self.rows} rows and {rows} arrived"
        return ""


@dataclass(frozen=True, slots=True)
class ExportedHistory:
    """Where the rows of a history are: in exported files, or live.

    Attributes:
        urls: The signed URLs of the exported files, by what identifies a file (`shard_key`).
        live_steps: The steps of the rows that are not exported, sorted, each once. None if the server did
            not report them, which does not mean that there are none (docs/protocol.md, "History").
        requested_at: When the URLs were requested, on the clock of the client.
    """

    urls: Mapping[str, str]
    live_steps: Steps | None
    requested_at: float

    @property
    def first_live_step(self) -> float:
        """The first step that is reported as live; infinity if there is none."""
        return (
            int(self.live_steps[0]) if self.live_steps is not None and len(self.live_steps) else float("inf")
        )


@dataclass(frozen=True, slots=True)
class LivePage:
    """Live rows that were requested together with those of other runs.

    Attributes:
        start: The first step of the window.
        stop: The step after its last.
        rows: The rows in the answer.
    """

    start: int
    stop: int
    rows: Sequence[object]


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run that was found.

    Attributes:
        info: The facts of the run.
        promise: What its history is promised to hold.
        exports: Where its rows are; None where that must be requested separately.
        live_page: Its live rows, where they were requested already.
    """

    info: RunInfo
    promise: Promise
    exports: ExportedHistory | None
    live_page: LivePage | None = None

    @property
    def path(self) -> RunPath:
        """The path of the run."""
        return self.info.path


@dataclass(frozen=True, slots=True)
class MissedRun:
    """A run that was named and could not be found.

    Attributes:
        path: The path of the run.
        error: The reason.
    """

    path: RunPath
    error: PullLogsError
