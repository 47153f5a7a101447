"""What discovery hands on: a run's facts, what its history was promised to hold, and where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pull_logs.errors import PullLogsError
from pull_logs.runs import RunInfo, RunPath

Steps = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Promise:
    """What the server said, when the pull was planned, that the history holds.

    Attributes:
        rows: Lines logged, its `historyLineCount`; None if it did not say.
        last_step: Its `historyKeys.lastStep`; None if it did not say, or -1.
    """

    rows: int | None
    last_step: int | None

    @property
    def something(self) -> bool:
        """Whether there is a row to be had, as far as the server said."""
        return bool(self.rows) or self.last_step is not None


@dataclass(frozen=True, slots=True)
class Exports:
    """Where the rows of a history lie.

    Attributes:
        urls: Signed URLs of the exported files, by what identifies a file (`storage.shard_key`).
        live_steps: The steps of the rows that are not exported, sorted, each once; None if the server did
            not say, which does not mean that there are none (read API facts, section 3.5).
        asked_at: When the URLs were given, on the client's clock.
    """

    urls: Mapping[str, str]
    live_steps: Steps | None
    asked_at: float


@dataclass(frozen=True, slots=True)
class Found:
    """A run that was found.

    Attributes:
        exports: None where they have to be asked for.
    """

    info: RunInfo
    promise: Promise
    exports: Exports | None

    @property
    def path(self) -> RunPath:
        """The run."""
        return self.info.path


@dataclass(frozen=True, slots=True)
class Missed:
    """A run that was named and could not be found."""

    path: RunPath
    error: PullLogsError


@dataclass(slots=True)
class Lessons:
    """What the server turned out not to do, kept for the rest of a pull.

    Attributes:
        batches: Whether it takes several runs in one query.
        exports_ride_along: Whether it takes `parquetHistory` beside a run's other fields.
        prefilter: Whether it takes the caller's filter.
        futile_rereads: Runs in a row whose missing rows were asked for once more, in vain.
        pages_exported: Whether its history pages have rows that are in exported files too.
    """

    batches: bool = True
    exports_ride_along: bool = True
    prefilter: bool = True
    futile_rereads: int = 0
    pages_exported: bool = True
