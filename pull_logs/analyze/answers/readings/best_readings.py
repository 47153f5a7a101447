"""The metrics of a run at its best step, of which nothing is read before it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pull_logs.analyze.questions import Alignment, Reading
from pull_logs.frames import History


class BestReadings(Mapping[str, Reading]):
    """The metrics of a run at the step at which one of them was best.

    That one is known from the index, so that the history is opened for runs that are shown only.
    """

    __slots__ = ("_alignment", "_frame", "_indexed", "_read")

    def __init__(self, frame: History, alignment: Alignment, indexed: Mapping[str, Reading]) -> None:
        self._frame, self._alignment, self._indexed = frame, alignment, indexed
        self._read: Mapping[str, Reading] | None = None

    def __getitem__(self, name: str) -> Reading:
        goal = self._alignment.best
        if goal is not None and name == goal.metric:
            found = self._indexed[name]
            if goal.direction == "min":
                return found._replace(value=found.min, x=found.min_step)
            return found._replace(value=found.max, x=found.max_step)
        if self._read is None:
            self._frame.load([*self._indexed, *self._alignment.extra_columns({})])
            self._read = self._alignment.read(self._frame, list(self._indexed), axes={}, checkpoint_step=None)
            self._frame.forget()
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        return name in self._indexed

    def __iter__(self) -> Iterator[str]:
        return iter(self._indexed)

    def __len__(self) -> int:
        return len(self._indexed)
