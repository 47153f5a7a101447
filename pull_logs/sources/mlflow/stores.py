"""What the stores of MLflow have in common: runs, their metrics, and the values of one run.

A store gives runs with their facts, and per run all metric values in the order of their steps, then of their
times. See docs/other-trackers.md, "MLflow".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from pull_logs.snapshot import FileSelection
    from pull_logs.sources.local_files import CopiedFiles

STATES: Mapping[str, str] = {
    "RUNNING": "running",
    "SCHEDULED": "pending",
    "FINISHED": "finished",
    "FAILED": "failed",
    "KILLED": "killed",
}
"""The states of W&B by the statuses of MLflow."""

PARENT = "mlflow.parentRunId"
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")
_DECIMAL = re.compile(r"-?(\d+\.\d*|\.\d+|\d+)([eE][-+]?\d+)?")
_WORDS: Mapping[str, Any] = {
    "True": True,
    "False": False,
    "None": None,
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
}


class Value(NamedTuple):
    """A value of a metric: its key, step, time in milliseconds since 1970, and the number."""

    key: str
    step: int
    time: int
    value: float


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact of a run, as a server lists it.

    Attributes:
        path: Its path below the artifacts of the run.
        size: Its size; None if it is not known.
    """

    path: str
    size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """The facts of a run in a store.

    Attributes:
        run_id: Its id.
        name: Its name.
        experiment: The name of its experiment.
        status: Its status.
        started: The time of its start, in milliseconds since 1970.
        ended: The time of its end.
        user: The user who logged it.
        params: Its parameters.
        tags: Its tags.
        artifacts: The path or URL of its artifacts.
    """

    run_id: str
    name: str
    experiment: str
    status: str
    started: int | None = None
    ended: int | None = None
    user: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    artifacts: str = ""

    def as_tags(self) -> tuple[str, ...]:
        """Return the tags that a user set, as `name=value`."""
        own = ((key, value) for key, value in sorted(self.tags.items()) if not key.startswith("mlflow."))
        return tuple(f"{key}={value}" if value else key for key, value in own)


class Store(Protocol):
    """A store of MLflow."""

    @property
    def version(self) -> str | None:
        """The version of its format; None if it has none."""

    def runs(self) -> tuple[list[StoredRun], int]:
        """Return the runs that are not deleted, and the number of those that are.

        Raises:
            DamageError: The store cannot be read.
        """

    def values(self, run: StoredRun) -> Iterator[Value]:
        """Yield all values of a run, by step.

        Raises:
            DamageError: The store cannot be read.
        """

    def promised(self, run: StoredRun) -> int | None:
        """Return how many values the store says that it has; None if it does not say."""

    def lost(self, run: StoredRun) -> list[str]:
        """Return what of the values of a run could not be read, after `values`."""

    def artifacts(self, run: StoredRun, selection: FileSelection, scratch: Path) -> CopiedFiles:
        """Copy the selected artifacts of a run to a new folder.

        Raises:
            OSError: A file cannot be written.
            AccessError: The server could not be reached.
        """


def parameter(text: str) -> Any:
    """Return the value that the text of a parameter stands for: a number, True, False, None, or the text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text
