r"""A run's history as columns that are read when they are first used.

A frame knows the names of all columns, and reads a column, and nothing else of the file, when it is needed.

Nested values become dotted columns: `{"opt": {"lr": 0.1}}` is `opt.lr`. An object of W&B's own (a dict with a
`_type`: histogram, image, table) is one cell of one column. A key of the history keeps its name, dots
included; only if a nested value has exactly that name, the key is escaped (`opt\.lr`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Protocol

from pull_logs.frames.column import Column
from pull_logs.frames.flatten import escape_key, join_path
from pull_logs.frames.from_arrow import Residual, Steps, read_column, read_steps
from pull_logs.frames.vector import numbers
from pull_logs.rows.batches import RESIDUAL
from pull_logs.rows.canonical import STEP
from pull_logs.runs import Coverage, RunInfo, RunPath

if TYPE_CHECKING:
    import pyarrow as pa


class RunLike(Protocol):
    """What answers read of a run; `pull_logs.snapshot.Run` satisfies it."""

    path: RunPath

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
    def info(self) -> RunInfo:
        """What is known of the run besides its history; parsed again on each access."""

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
    def last_step(self) -> int | None:
        """The step of the last row; None without rows."""

    def schema(self) -> pa.Schema:
        """Return the columns of its history and their types, the residual column included."""

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return these columns and the residual, if there is one; names that do not exist are left out."""


class Frame:
    """One run's history, column by column.

    Attributes:
        length: The number of rows.
        names: All columns: `_step`, then the others in the order of their names.
    """

    def __init__(self, run: RunLike) -> None:
        """Find out the names of the columns.

        Where the history has no residual, only the description of its columns is read.

        Raises:
            DamageError: The history is damaged.
        """
        self._run = run
        self.length = run.rows
        self._steps: Steps | None = None
        self._cache: dict[str, Column] = {}
        keys, residual = run.schema().names, Residual()
        if RESIDUAL in keys:
            table = run.table([STEP, RESIDUAL])
            self._steps, residual = read_steps(table), Residual.read(table)
        self._residual: Residual | None = residual
        self._nested = {join_path(path): path for path in residual.by_path}
        self._literal = frozenset(residual.by_key)
        keys = self._own_keys(keys)
        self._keys = column_names([key for key in keys if key != STEP], self._nested)
        self.names: tuple[str, ...] = (STEP, *sorted({*self._keys, *self._nested}))

    @property
    def steps(self) -> Steps:
        """`_step` of every row, ascending."""
        if self._steps is None:
            self._steps = read_steps(self._run.table([STEP]))
        return self._steps

    def __contains__(self, name: object) -> bool:
        return name == STEP or name in self._keys or name in self._nested

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
        wanted = [name for name in dict.fromkeys(names) if name in self and name not in self._cache]
        if STEP in wanted:
            wanted.remove(STEP)
            self._cache[STEP] = Column(numbers(self.steps), "number")
        typed = self._read(wanted)
        residual = self._residual or Residual()
        for name in wanted:
            key, path = self._keys.get(name), self._nested.get(name, ())
            # An array is dropped once its column is made, so that both are in memory for one column only.
            array = None if key is None else typed.pop(key, None)
            cells = residual.by_path.get(path) if key is None else residual.by_key.get(key)
            self._cache[name] = read_column(array, cells, length=self.length)

    def _read(self, names: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        """Read the typed cells of columns, by their keys, and the residual if any of them has cells in it."""
        keys = [self._keys[name] for name in names if name in self._keys]
        in_residual = any(name in self._nested or self._keys[name] in self._literal for name in names)
        if not keys and (self._residual is not None or not in_residual):
            return {}
        table = self._run.table([STEP, *keys])
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

    def forget(self) -> None:
        """Drop everything but the names of the columns, so that many frames fit into memory."""
        self._cache = {}
        self._steps = None
        self._residual = None

    def _own_keys(self, typed: Collection[str]) -> list[str]:
        """Return the keys of the history that have a column of their own name."""
        parents = {path[0] for path in self._nested.values()}
        keys = {*typed, *self._literal, *parents}
        if RESIDUAL not in self._literal:
            keys.discard(RESIDUAL)
        # A key all of whose values are nested has dotted columns only.
        only_nested = parents - self._literal
        if only_nested:
            only_nested -= set(self._run.table([STEP, *only_nested]).column_names)
        return [key for key in keys if key not in only_nested]


def open_frames(runs: Sequence[RunLike]) -> list[Frame]:
    """Return the frames of runs; of several runs, nothing but the names of their columns is kept.

    Raises:
        DamageError: A history is damaged.
    """
    frames = []
    for run in runs:
        frame = Frame(run)
        if len(runs) > 1:
            frame.forget()
        frames.append(frame)
    return frames


def column_names(keys: Sequence[str], nested: Collection[str]) -> dict[str, str]:
    """Return the key of each column; a column has the name of its key unless that is taken."""
    taken = set(nested)
    escaped: set[str] = set()
    while clashing := [key for key in keys if key not in escaped and key in taken]:
        escaped.update(clashing)
        taken.update(map(escape_key, clashing))
    return {escape_key(key) if key in escaped else key: key for key in keys}
