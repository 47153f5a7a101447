"""Values by run that are made when they are used."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pull_logs.analyze.answers.indexed.readings import Field, MetricReadings


class RunValues(Mapping[str, Any]):
    """Values by the labels of runs: a dict that is made when it is used first.

    Of thousands of runs, a text shows the last value of each metric and none of the others.
    """

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], dict[str, Any]]) -> None:
        self._make = make
        self._made: dict[str, Any] | None = None

    @classmethod
    def of(cls, metric: MetricReadings, runs: Sequence[tuple[str, int]], field: Field) -> Self:
        """Return a value of a metric in those of these runs, each a label and a position, that have it."""
        return cls(lambda: _values(metric, runs, field))

    @property
    def plain(self) -> dict[str, Any]:
        """The dict."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def __getitem__(self, label: str) -> Any:
        return self.plain[label]

    def __contains__(self, label: object) -> bool:
        return label in self.plain

    def __iter__(self) -> Iterator[str]:
        return iter(self.plain)

    def __len__(self) -> int:
        return len(self.plain)

    def __repr__(self) -> str:
        return repr(self.plain)

    def get(self, label: str, default: Any = None) -> Any:
        """Return the value of a run, or `default`."""
        return self.plain.get(label, default)

    def keys(self) -> KeysView[str]:
        """Return the labels."""
        return self.plain.keys()

    def items(self) -> ItemsView[str, Any]:
        """Return the labels with the values."""
        return self.plain.items()

    def values(self) -> ValuesView[Any]:
        """Return the values."""
        return self.plain.values()


def _values(metric: MetricReadings, runs: Sequence[tuple[str, int]], field: Field) -> dict[str, Any]:
    cells = dict(zip(metric.positions.tolist(), metric.cells(field), strict=True))
    found = ((label, cells.get(position)) for label, position in runs)
    return {label: cell for label, cell in found if cell is not None}
