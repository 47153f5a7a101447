"""The plain columns of a table of runs as Python values, read when they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from typing import Any

import pyarrow as pa

from pull_logs.rows.arrays import decoded
from pull_logs.rows.coded_text import shared_texts
from pull_logs.snapshot.format.runs.table_file import GROUP_ROWS, TableFile

_MOST_COMPLETE = 8192
"""Up to this many runs, a plain column is kept completely once it is used."""

_KEPT_CELLS = 1024
"""Columns of row groups that are kept, because a ranking takes runs in any order."""

_KEPT_GROUPS = 32
"""Row groups whose plain columns are kept together, run by run."""

_ABSENT = (None,) * GROUP_ROWS


def cells_of(column: pa.ChunkedArray) -> list[Any]:
    """Return the values of a plain column; equal texts are one object."""
    if pa.types.is_dictionary(column.type):
        texts: list[Any] = shared_texts(column).tolist()
        return texts
    if pa.types.is_list(column.type):
        column = pa.chunked_array(map(decoded, column.chunks))
    values: list[Any] = column.to_pylist()
    return values


class PlainColumns(dict[str, Sequence[Any]]):
    """The values of the plain columns of a table of runs, by the name of the column; one per run.

    A column is read when it is used first; one that is not there has None for each run. Those of very many
    runs are read one row group at a time, so that they need not fit into memory.

    Attributes:
        names: The columns.
    """

    def __init__(self, file: TableFile, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        self._file = file
        self._cells = lru_cache(maxsize=_KEPT_CELLS)(self._read)
        self._rows = lru_cache(maxsize=_KEPT_GROUPS)(self._read_rows)

    def __missing__(self, name: str) -> Sequence[Any]:
        runs = self._file.runs
        if runs > _MOST_COMPLETE:
            values: Sequence[Any] = _GroupedCells(partial(self._cells, name), runs)
        elif name in self.names:
            values = cells_of(self._file.read(self._file.groups, [name]).column(0))
        else:
            values = [None] * runs
        self[name] = values
        return values

    def row(self, index: int) -> dict[str, Any]:
        """Return the values of all columns for one run."""
        group, offset = divmod(index, GROUP_ROWS)
        return dict(zip(self.names, self._rows(group)[offset], strict=True))

    def _read(self, name: str, group: int) -> Sequence[Any]:
        if name not in self.names:
            return _ABSENT
        return cells_of(self._file.read([group], [name]).column(0))

    def _read_rows(self, group: int) -> Sequence[Sequence[Any]]:
        table = self._file.read([group], self.names)
        return list(zip(*(cells_of(table.column(name)) for name in self.names), strict=True))


@dataclass(frozen=True, slots=True)
class _GroupedCells(Sequence[Any]):
    """The values of a column, read by row group.

    Attributes:
        group: Returns those of a row group.
        length: How many they are.
    """

    group: Callable[[int], Sequence[Any]]
    length: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        number, offset = divmod(range(self.length)[index], GROUP_ROWS)
        return self.group(number)[offset]

    def __iter__(self) -> Iterator[Any]:
        left = self.length
        for number in range(-(-left // GROUP_ROWS)):
            yield from islice(self.group(number), left)
            left -= GROUP_ROWS
