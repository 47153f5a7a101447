"""System metrics of a run, read like a history of their own, or joined to the rows of its history.

W&B samples system metrics at times of their own, so that they have no `_step`. They are joined by time:

* a *sample* has the greatest `_step` of the rows of the history at or before it; before the first row, the
  first step;
* a *row* of the history has, of each system metric, its last value at or before the row.

Time is `_timestamp`, or `_runtime` if the history or the samples do not have that. Without either, samples
have step 0 and rows have no system metrics.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from pull_logs.frames.column import Column
from pull_logs.frames.frame import Frame, RunLike
from pull_logs.frames.from_arrow import Residual, Steps, read_column
from pull_logs.frames.metric_facts import MetricFacts
from pull_logs.frames.vector import Floats, Vector, numbers
from pull_logs.rows.batches import RESIDUAL
from pull_logs.rows.canonical import STEP

SYSTEM = "system."
"""How the names of system metrics start."""

_TIMES = ("_timestamp", "_runtime")


class SystemFrame:
    """The samples of the system metrics of a run; see `History`.

    Attributes:
        names: `_step`, then the other columns in the order of their names.
    """

    def __init__(self, run: RunLike, history: Frame) -> None:
        """Find out the names of the columns.

        Raises:
            DamageError: The system metrics are damaged.
        """
        self._run, self._history = run, history
        self._columns: dict[str, Column] | None = None
        self._steps: Steps | None = None
        schema = run.system_schema()
        known = [] if schema is None else [name for name in schema.names if name not in (RESIDUAL, STEP)]
        if schema is not None and RESIDUAL in schema.names:
            known = list(self._loaded())
        self.names: tuple[str, ...] = (STEP, *sorted(known))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the system metrics."""
        return tuple(name for name in self.names if name.startswith(SYSTEM))

    @property
    def length(self) -> int:
        """The number of samples."""
        return next((len(column.vector) for column in self._loaded().values()), 0)

    @property
    def steps(self) -> Steps:
        """The step of every sample, ascending."""
        if self._steps is None:
            self._steps = self._joined_steps()
        return self._steps

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def facts(
        self,
        names: frozenset[str] | None = None,  # noqa: ARG002
        *,
        brief: bool = False,  # noqa: ARG002
    ) -> Mapping[str, MetricFacts] | None:
        """Return None: no index has facts about samples."""
        return None

    def column(self, name: str) -> Column:
        """Return one column.

        Raises:
            KeyError: No column has that name.
            DamageError: The system metrics are damaged.
        """
        return Column(numbers(self.steps), "number") if name == STEP else self._loaded()[name]

    def load(self, names: Collection[str]) -> None:
        """Read all columns if any of these exists."""
        if any(name in self for name in names if name != STEP):
            self._loaded()

    def forget_columns(self, names: Collection[str]) -> None:
        """Keep them: all columns are read at once."""

    def forget(self) -> None:
        """Drop everything but the names of the columns."""
        self._columns = self._steps = None
        self._history.forget()

    def _loaded(self) -> dict[str, Column]:
        if self._columns is None:
            table = self._run.system_table()
            self._columns = {}
            if table is not None:
                cells = Residual.read(table).by_key
                names = dict.fromkeys([*table.column_names, *cells])
                typed = {name: table.column(name) for name in table.column_names if name != RESIDUAL}
                self._columns = {
                    name: read_column(typed.get(name), cells.get(name), length=table.num_rows)
                    for name in names
                    if name not in (RESIDUAL, STEP)
                }
        return self._columns

    def _joined_steps(self) -> Steps:
        times = self.times()
        if times is None or not self._history.length:
            return np.zeros(self.length, np.int64)
        samples, rows = times
        known = np.flatnonzero(~np.isnan(rows))
        order = known[np.argsort(rows[known], kind="stable")]
        greatest = np.maximum.accumulate(self._history.steps[order])
        early = np.where(np.isnan(samples), -np.inf, samples)
        places = np.searchsorted(rows[order], early, side="right") - 1
        found = greatest[np.maximum(places, 0)] if len(order) else np.zeros(len(samples), np.int64)
        return np.maximum.accumulate(found) if len(found) else found

    def times(self) -> tuple[Floats, Floats] | None:
        """Return the times of the samples and of the rows, NaN where one is missing; None without any."""
        for name in _TIMES:
            if name in self and name in self._history:
                found = [_finite(frame.column(name)) for frame in (self, self._history)]
                if all(len(times) and not np.isnan(times).all() for times in found):
                    return found[0], found[1]
        return None


def _finite(column: Column) -> Floats:
    values, present = column.numbers()
    return np.where(present & np.isfinite(values), values, np.nan)


class JoinedFrame:
    """A history with the system metrics of the run joined to its rows; see `History`.

    Attributes:
        history: The history.
        system: The samples.
        names: All columns, system metrics last; a column of the history hides a system metric of its name.
    """

    def __init__(self, run: RunLike, history: Frame) -> None:
        """Find out the names of the columns.

        Raises:
            DamageError: The history or the system metrics are damaged.
        """
        self.history, self.system = history, SystemFrame(run, history)
        self.system_names = frozenset(self.system.metrics) - {*history.names}
        self.names: tuple[str, ...] = (*history.names, *sorted(self.system_names))
        self._columns: dict[str, Column] = {}

    @property
    def length(self) -> int:
        """The number of rows of the history."""
        return self.history.length

    @property
    def steps(self) -> Steps:
        """`_step` of every row, ascending."""
        return self.history.steps

    def __contains__(self, name: object) -> bool:
        return name in self.system_names or name in self.history

    def facts(
        self,
        names: frozenset[str] | None = None,  # noqa: ARG002
        *,
        brief: bool = False,  # noqa: ARG002
    ) -> Mapping[str, MetricFacts] | None:
        """Return None: no index has facts about joined columns."""
        return None

    def column(self, name: str) -> Column:
        """Return one column.

        Raises:
            KeyError: No column has that name.
            DamageError: The column is damaged.
        """
        if name not in self.system_names:
            return self.history.column(name)
        if name not in self._columns:
            self._columns[name] = self._joined(self.system.column(name))
        return self._columns[name]

    def _joined(self, column: Column) -> Column:
        """Return the last value of a system metric at or before each row."""
        times = self.system.times()
        sampled = np.flatnonzero(column.vector.present)
        if times is None or not len(sampled):
            return Column.of(_nothing(column.vector, self.length))
        samples, rows = times
        sampled = sampled[~np.isnan(samples[sampled])]
        sampled = sampled[np.argsort(samples[sampled], kind="stable")]
        if not len(sampled):
            return Column.of(_nothing(column.vector, self.length))
        places = np.searchsorted(samples[sampled], rows, side="right") - 1
        there = (places >= 0) & ~np.isnan(rows)
        taken = column.take(sampled[np.maximum(places, 0)])
        vector = Vector(taken.vector.kind, taken.vector.values, there)
        exact = {row: value for row, value in taken.exact.items() if there[row]}
        return Column(vector, taken.type if there.any() else "empty", exact)

    def load(self, names: Collection[str]) -> None:
        """Read these columns together; names that do not exist are ignored.

        Raises:
            DamageError: A column is damaged.
        """
        self.history.load([name for name in names if name not in self.system_names])
        self.system.load([name for name in names if name in self.system_names])

    def forget_columns(self, names: Collection[str]) -> None:
        """Drop the cells of these columns, so that long ones can be read one after the other."""
        for name in names:
            self._columns.pop(name, None)
        self.history.forget_columns(names)

    def forget(self) -> None:
        """Drop everything but the names of the columns, so that many frames fit into memory."""
        self._columns = {}
        self.system.forget()


def _nothing(like: Vector, length: int) -> Vector:
    return Vector(like.kind, np.zeros(length, like.values.dtype), np.zeros(length, np.bool_))


def samples_for(names: Collection[str], frame: object) -> SystemFrame | None:
    """Return the samples, if a history is joined with system metrics and these columns are nothing else.

    Steps and times count as either.
    """
    if not isinstance(frame, JoinedFrame):
        return None
    metrics = {*names} - {STEP, *_TIMES}
    return frame.system if metrics and metrics <= frame.system_names else None


def join_system(runs: Sequence[RunLike], frames: Sequence[Frame]) -> list[JoinedFrame]:
    """Return the histories of runs with their system metrics.

    Raises:
        DamageError: A history or system metrics are damaged.
    """
    return [JoinedFrame(run, frame) for run, frame in zip(runs, frames, strict=True)]
