"""Values by run that are made when they are used."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pull_logs.analyze.answers.indexed.readings import Field, MetricReadings
    from pull_logs.rows.arrays import Ints


class RunValues(Mapping[str, Any]):
    """Values by the labels of runs: a dict that is made when it is used first.

    Of thousands of runs, a text shows the last value of each metric and none of the others.
    """

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], dict[str, Any]]) -> None:
        self._make = make
        self._made: dict[str, Any] | None = None

    @property
    def plain(self) -> dict[str, Any]:
        """The dict."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def listed(self, labels: Sequence[str]) -> Sequence[Any]:
        """Return the value of each of these runs, None where there is none."""
        return [self.plain.get(label) for label in labels]

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


class MetricValues(RunValues):
    """A value of a metric in several runs that an index has."""

    __slots__ = ("_field", "_labels", "_metric", "_positions")

    def __init__(self, metric: MetricReadings, field: Field, labels: Sequence[str], positions: Ints) -> None:
        super().__init__(self._values)
        self._metric, self._field, self._labels = metric, field, labels
        self._positions = positions

    def listed(self, labels: Sequence[str]) -> Sequence[Any]:
        """Return what `RunValues.listed` does; of all runs, as cells that are made when they are used."""
        if labels != self._labels:
            return super().listed(labels)
        return MetricCells(self._metric, self._field, self._positions)

    def __bool__(self) -> bool:
        return self._metric.any_cell(self._field, self._positions)

    def _values(self) -> dict[str, Any]:
        cells = self._metric.cells(self._field, self._positions)
        found = zip(self._labels, cells, strict=True)
        return {label: cell for label, cell in found if cell is not None}


class MetricCells(Sequence[Any]):
    """A value of a metric in each of several runs, None where there is none, made when it is used."""

    __slots__ = ("_field", "_metric", "_positions")

    def __init__(self, metric: MetricReadings, field: Field, positions: Ints) -> None:
        self._metric, self._field, self._positions = metric, field, positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self._metric.cells(self._field, self._positions[index])
        return self._metric.cells(self._field, self._positions[[index]])[0]

    def __iter__(self) -> Iterator[Any]:
        return iter(self[:])

    @property
    def texts(self) -> Sequence[str]:
        """Those that are texts, such as NaN."""
        return self._metric.texts(self._field, self._positions)
