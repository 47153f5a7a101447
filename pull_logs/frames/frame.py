r"""A run's history as columns that are read when they are first used.

A frame knows the names of all columns, and reads a column, and nothing else of the file, when it is needed.

Nested values become dotted columns: `{"opt": {"lr": 0.1}}` is `opt.lr`. An object of W&B's own (a dict with a
`_type`: histogram, image, table) is one cell of one column. A key of the history keeps its name, dots
included; only if a nested value has exactly that name, the key is escaped (`opt\.lr`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pull_logs.frames.bundle_order import by_bundle
from pull_logs.frames.column import Column
from pull_logs.frames.flatten import escape_key, join_path
from pull_logs.frames.from_arrow import Residual, Steps, read_column, read_steps
from pull_logs.frames.metric_columns import IndexEntry
from pull_logs.frames.metric_facts import MetricFacts
from pull_logs.frames.vector import Vector, numbers
from pull_logs.rows.batches import RESIDUAL
from pull_logs.rows.canonical import STEP
from pull_logs.runs import Coverage, RunInfo, RunParts, RunPath

if TYPE_CHECKING:
    import pyarrow as pa

    from pull_logs.frames.history import History


class RunLike(Protocol):
    """What answers read of a run; `pull_logs.snapshot.Run` satisfies it."""

    path: RunPath

    @property
    def bundle_id(self) -> str:
        """The identity of the bundle that it is read from."""

    @property
    def name(self) -> str:
        """The display name."""

    @property
    def state(self) -> str:
        """Its state when it was pulled."""

    @property
    def host(self) -> str | None:
        """The host of the API it was read from."""

    @property
    def last_seen(self) -> str | None:
        """The last day on which W&B saw it, if W&B no longer has it; None for any other run."""

    @property
    def parts(self) -> RunParts | None:
        """The parts that it was logged in; None where nothing shows that there are more than one."""

    @property
    def info(self) -> RunInfo:
        """What is known of the run besides its history; parsed again on each access."""

    @property
    def tags(self) -> Sequence[str]:
        """Its tags."""

    @property
    def config(self) -> Mapping[str, Any]:
        """Its config; parsed again on each access, without the other documents."""

    @property
    def summary(self) -> Mapping[str, Any]:
        """Its summary, likewise."""

    @property
    def created_at(self) -> str | None:
        """The time of its creation."""

    @property
    def heartbeat_at(self) -> str | None:
        """The time when it was last seen."""

    @property
    def config_internal(self) -> Mapping[str, Any]:
        """The internal keys of its config, likewise."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What was recorded of the machine, likewise."""

    @property
    def coverage(self) -> Coverage:
        """How much of its history the server promised, and how much arrived."""

    @property
    def complete(self) -> bool:
        """Whether everything that was promised arrived."""

    @property
    def rows(self) -> int:
        """The number of rows of its history."""

    @property
    def rows_hash(self) -> str:
        """The identity of its rows."""

    @property
    def last_step(self) -> int | None:
        """The step of the last row; None without rows."""

    def indexed_names(self) -> Sequence[str] | None:
        """Return the names of its columns, `_step` first; None where no index has them."""

    def indexed_facts(
        self, names: frozenset[str] | None = None, *, brief: bool = False
    ) -> Sequence[MetricFacts] | None:
        """Return the facts about its columns, `_step` first; None where no index has them.

        Args:
            names: The columns wanted; all if None.
            brief: Leave out the first and last cells and numbers, and the steps of the extremes.
        """

    def index_entry(self) -> IndexEntry | None:
        """Return where an index of many runs has the facts about its columns; None where none has."""

    def schema(self) -> pa.Schema:
        """Return the columns of its history and their types, the residual column included."""

    def number_columns(self, columns: Sequence[str]) -> Mapping[str, Vector]:
        """Return `_step` and those of these columns that can be read quickly.

        Of a history that has a residual, there are none.
        """

    def arrow_table(self, columns: Sequence[str] | None = None, *, coded: bool = False) -> pa.Table:
        """Return these columns and the residual, if there is one; names that do not exist are left out.

        Args:
            columns: The names; all if None.
            coded: Whether texts may stay dictionaries, so that each distinct text is in memory once.
        """

    def batches_at(
        self, columns: Sequence[str] | None = None, *, rows: range | None = None
    ) -> Iterator[tuple[int, pa.Table]]:
        """Iterate over the batches that have some of these rows, each with the number of rows before it."""

    def system_schema(self) -> pa.Schema | None:
        """Return the columns of its system metrics and their types; None if none were pulled."""

    def system_table(self) -> pa.Table | None:
        """Return its system metrics, sorted by time; None if none were pulled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """Where the cells of the columns of a history are.

    Attributes:
        keys: The key of each column that has one.
        nested: The keys that lead to the values of each nested column.
        literal: The keys that have cells in the residual that are not nested.
    """

    keys: Mapping[str, str]
    nested: Mapping[str, tuple[str, ...]]
    literal: frozenset[str]

    @property
    def names(self) -> tuple[str, ...]:
        """All columns: `_step`, then the others in the order of their names."""
        return (STEP, *sorted({*self.keys, *self.nested}))


_NO_COLUMNS: dict[str, Column] = {}
"""The columns of each of very many frames that have read none; never changed."""


class Frame:
    """One run's history, column by column.

    Attributes:
        length: The number of rows.
        names: All columns: `_step`, then the others in the order of their names.
        has_facts: Whether an index has the facts about its columns.
    """

    __slots__ = ("_cache", "_opened", "_quick", "_residual", "_run", "_steps", "has_facts", "length", "names")

    def __init__(self, run: RunLike) -> None:
        """Find out the names of the columns: from an index, or from the history.

        Without an index, and where the history has no residual, only the description of its columns is read.

        Raises:
            DamageError: The index or the history is damaged.
        """
        self._run = run
        self.length = run.rows
        self._steps: Steps | None = None
        self._residual: Residual | None = None
        self._cache = _NO_COLUMNS
        self._opened: _Columns | None = None
        self._quick = True
        names = run.indexed_names()
        self.has_facts = names is not None
        self.names: tuple[str, ...] = self._columns.names if names is None else tuple(names)

    @property
    def _columns(self) -> _Columns:
        """Where the cells of each column are, read when it is first needed."""
        if self._opened is None:
            self._opened = self._read_columns()
        return self._opened

    def _read_columns(self) -> _Columns:
        keys, residual = self._run.schema().names, Residual()
        if RESIDUAL in keys:
            table = self._run.arrow_table([STEP, RESIDUAL], coded=True)
            self._steps, residual = read_steps(table), Residual.read(table)
        self._residual = residual
        nested = {join_path(path): path for path in residual.by_path}
        literal = frozenset(residual.by_key)
        own = self._own_keys(keys, nested=nested.values(), literal=literal)
        return _Columns(
            keys=column_names([key for key in own if key != STEP], nested), nested=nested, literal=literal
        )

    def facts(
        self, names: frozenset[str] | None = None, *, brief: bool = False
    ) -> Mapping[str, MetricFacts] | None:
        """Return the facts about columns from an index, by name; None where there is no index.

        Args:
            names: The columns wanted, those that do not exist are ignored; all if None.
            brief: Leave out the first and last cells and numbers, and the steps of the extremes.

        Raises:
            DamageError: The index is damaged.
        """
        found = self._run.indexed_facts(names, brief=brief)
        return None if found is None else {facts.name: facts for facts in found}

    @property
    def bundle_id(self) -> str:
        """The identity of the bundle that it is read from."""
        return self._run.bundle_id

    @property
    def index_entry(self) -> IndexEntry | None:
        """Where an index of many runs has the facts about its columns; None where none has."""
        return self._run.index_entry()

    @property
    def steps(self) -> Steps:
        """`_step` of every row, ascending."""
        if self._steps is None:
            self._load_numbers(())
        if self._steps is None:
            self._steps = read_steps(self._run.arrow_table([STEP]))
        return self._steps

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def column(self, name: str) -> Column:
        """Return one column.

        Raises:
            KeyError: No column has that name.
            DamageError: The column is damaged.
        """
        if name not in self._cache:
            if name not in self:
                raise KeyError(name)
            self.load((name,))
        return self._cache[name]

    def load(self, names: Collection[str]) -> None:
        """Read these columns together, in one pass over the file; names that do not exist are ignored.

        Raises:
            DamageError: A column is damaged.
        """
        own = frozenset(self.names)
        wanted = [name for name in dict.fromkeys(names) if name in own and name not in self._cache]
        if STEP in wanted:
            wanted.remove(STEP)
            self._keep(STEP, Column(numbers(self.steps), "number"))
        if wanted and self._opened is None:
            self._load_numbers(wanted)
            wanted = [name for name in wanted if name not in self._cache]
        if not wanted:
            return
        columns, typed = self._columns, self._read(wanted)
        residual = self._residual or Residual()
        for name in wanted:
            key, path = columns.keys.get(name), columns.nested.get(name, ())
            # An array is dropped once its column is made, so that both are in memory for one column only.
            array = None if key is None else typed.pop(key, None)
            cells = residual.by_path.get(path) if key is None else residual.by_key.get(key)
            self._keep(name, read_column(array, cells, length=self.length))

    def _keep(self, name: str, column: Column) -> None:
        if self._cache is _NO_COLUMNS:
            self._cache = {}
        self._cache[name] = column

    def _load_numbers(self, names: Sequence[str]) -> None:
        """Keep those columns that can be read quickly.

        Their names are those of their keys, because the history has no residual and so no nested values.
        """
        if not self._quick:
            return
        found = self._run.number_columns(names)
        self._quick = bool(found)
        for name, vector in found.items():
            if name == STEP:
                self._steps = vector.values.astype(np.int64, copy=False)
            else:
                self._keep(name, Column(vector, "number"))

    def _read(self, names: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        """Read the typed cells of columns, by their keys, and the residual if any of them has cells in it."""
        columns = self._columns
        keys = [columns.keys[name] for name in names if name in columns.keys]
        in_residual = any(name in columns.nested for name in names) or not columns.literal.isdisjoint(keys)
        if not keys and (self._residual is not None or not in_residual):
            return {}
        table = self._run.arrow_table([STEP, *keys], coded=True)
        self._take(table, residual=in_residual)
        # A key may have the name of the residual column; its cells are then in the residual.
        return {
            name: array
            for name, array in zip(table.column_names, table.columns, strict=True)
            if name not in (STEP, RESIDUAL)
        }

    def _take(self, table: pa.Table, *, residual: bool) -> None:
        """Keep the steps of a table that was read, and its residual, unless they are known."""
        if self._steps is None:
            self._steps = read_steps(table)
        if residual and self._residual is None:
            self._residual = Residual.read(table)

    def typed_keys(self, names: Collection[str]) -> dict[str, str] | None:
        """Return the key of each of these columns; None if one of them has cells in the residual.

        Raises:
            DamageError: The history is damaged.
        """
        columns = self._columns
        keys = {name: columns.keys[name] for name in names if name in columns.keys}
        return None if len(keys) < len(names) or not columns.literal.isdisjoint(keys.values()) else keys

    def batches_at(self, keys: Sequence[str], rows: range | None = None) -> Iterator[tuple[int, pa.Table]]:
        """Iterate over the batches that have some of these rows, each with the number of rows before it.

        Raises:
            DamageError: The history is damaged.
        """
        return self._run.batches_at(keys, rows=rows)

    def forget_columns(self, names: Collection[str]) -> None:
        """Drop the cells of these columns, so that long ones can be read one after the other."""
        for name in names:
            self._cache.pop(name, None)

    def forget(self) -> None:
        """Drop everything but the names of the columns, so that many frames fit into memory."""
        self._cache = _NO_COLUMNS
        self._steps = None
        self._residual = None

    def _own_keys(
        self, typed: Collection[str], *, nested: Collection[tuple[str, ...]], literal: Collection[str]
    ) -> list[str]:
        """Return the keys of the history that have a column of their own name."""
        parents = {path[0] for path in nested}
        keys = {*typed, *literal, *parents}
        if RESIDUAL not in literal:
            keys.discard(RESIDUAL)
        # A key all of whose values are nested has dotted columns only.
        only_nested = parents.difference(literal)
        if only_nested:
            only_nested -= set(self._run.arrow_table([STEP, *only_nested], coded=True).column_names)
        return [key for key in keys if key not in only_nested]


def open_frames(runs: Sequence[RunLike]) -> list[Frame]:
    """Return the frames of runs; of several runs, nothing but the names of their columns is kept.

    Raises:
        DamageError: A history is damaged.
    """
    frames: dict[int, Frame] = {}
    shared: dict[tuple[str, ...], tuple[str, ...]] = {}
    for positions in by_bundle(run.bundle_id for run in runs):
        for position in positions:
            frame = frames[position] = Frame(runs[position])
            frame.names = shared.setdefault(frame.names, frame.names)
            if len(runs) > 1:
                frame.forget()
    return [frames[position] for position in range(len(runs))]


def names_of(frames: Iterable[History]) -> dict[str, None]:
    """Return the columns of all histories as the keys of a dict, in the order in which they come up."""
    # Thousands of runs share a few tuples of names.
    alike = dict.fromkeys(tuple(frame.names) for frame in frames)
    return dict.fromkeys(name for names in alike for name in names)


def column_names(keys: Sequence[str], nested: Collection[str]) -> dict[str, str]:
    """Return the key of each column; a column has the name of its key unless that is taken."""
    taken = set(nested)
    escaped: set[str] = set()
    while clashing := [key for key in keys if key not in escaped and key in taken]:
        escaped.update(clashing)
        taken.update(map(escape_key, clashing))
    return {escape_key(key) if key in escaped else key: key for key in keys}
