"""Values of rows that point to files: tables, images, audio and other media.

W&B logs a table or an image as a file, and as a value that has its type and its path, such as
`{"_type": "table-file", "path": "media/table/t_0.table.json"}`. Without the file the value shows nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pull_logs.rows.arrays import flat
from pull_logs.rows.batches import RESIDUAL, residual_rows

_TYPE = "_type"
_MOST_KEYS = 5


def count_pointers(
    batches: Iterable[pa.Table], *, available: Collection[str] = ()
) -> Counter[tuple[str, str]]:
    """Count the values in rows that point to files, by their key and type.

    Args:
        batches: Batches of a history, of which the residual column is read.
        available: The names of files that are not missing.

    Raises:
        DataError: A cell of the residual column is not a JSON object.
    """
    return Counter(
        (found.path[0], found.kind)
        for batch in batches
        for found in find_pointers(batch)
        if any(name not in available for name in found.names)
    )


@dataclass(frozen=True, slots=True)
class PointerValue:
    """A value that points to files.

    Attributes:
        row: The index of the row in its batch; 0 for a value of a record.
        path: The keys that lead to the value; elements of a list have those of the list.
        kind: Its type.
        names: The files that it points to, by their paths.
        indexes: The position of each file in a list, None for one that is in none; no two files of a row
            have the same path and position.
        value: The value.
    """

    row: int
    path: tuple[str, ...]
    kind: str
    names: tuple[str, ...]
    indexes: tuple[int | None, ...]
    value: Mapping[str, Any]


def find_pointers(batch: pa.Table) -> Iterator[PointerValue]:
    """Yield the values of a batch that point to files, by row and key.

    Values inside others are among them: the masks of an image after the image.

    Raises:
        DataError: A cell of the residual column is not a JSON object.
    """
    if RESIDUAL not in batch.column_names:
        return
    for row, _, members in residual_rows(flat(batch.column(RESIDUAL)), containing=f'"{_TYPE}"'):
        yield from _Walk(row).visit(members, ())


def record_pointers(record: Mapping[str, Any]) -> Iterator[PointerValue]:
    """Yield the values of a record, a summary for example, that point to files, by key."""
    return _Walk(0).visit(record, ())


class _Walk:
    """Finds the values of one row that point to files."""

    def __init__(self, row: int) -> None:
        self._row = row
        self._seen: dict[tuple[str, ...], set[int | None]] = {}
        self._next: dict[tuple[str, ...], int] = {}

    def visit(self, value: Any, path: tuple[str, ...], index: int | None = None) -> Iterator[PointerValue]:
        """Yield the pointers in a value.

        Args:
            value: The value.
            path: The keys that lead to it.
            index: Its position in the innermost list around it; None outside lists.
        """
        if isinstance(value, Mapping):
            kind = value.get(_TYPE)
            names = tuple(_paths(value)) if path and isinstance(kind, str) else ()
            if names:
                indexes = tuple(self._free(path, at) for at in _positions(value, len(names), index))
                yield PointerValue(self._row, path, str(kind), names, indexes, value)
            for key, item in sorted(value.items()):
                yield from self.visit(item, (*path, key), index)
        elif isinstance(value, list):
            for at, item in enumerate(value):
                yield from self.visit(item, path, at)

    def _free(self, path: tuple[str, ...], index: int | None) -> int | None:
        """Return a position, or one after all others if another file with the same path has it."""
        seen = self._seen.setdefault(path, set())
        if index in seen:
            index = self._next.get(path, 0)
        seen.add(index)
        if index is not None:
            self._next[path] = max(index + 1, self._next.get(path, 0))
        return index


def _positions(value: Mapping[str, Any], count: int, index: int | None) -> Iterable[int | None]:
    return range(count) if isinstance(value.get("filenames"), list) else (index,)


def pointers_text(found: Mapping[tuple[str, str], int]) -> str:
    """Return how many values point to files, and of which keys: `3 values of 1 key: pred (3 table-file)`."""
    keys = list(dict.fromkeys(key for key, _ in sorted(found)))
    total = sum(found.values())
    shown = [
        f"{key} ({', '.join(f'{count} {kind}' for (of, kind), count in sorted(found.items()) if of == key)})"
        for key in keys[:_MOST_KEYS]
    ]
    more = ", ..." if len(keys) > _MOST_KEYS else ""
    values = "1 value" if total == 1 else f"{total} values"
    return f"{values} of {len(keys)} {'key' if len(keys) == 1 else 'keys'}: {', '.join(shown)}{more}"


def _paths(value: Mapping[str, Any]) -> Iterator[str]:
    """Yield the files that a value points to, each under its path or as a file of an artifact."""
    for name in ("path", "artifact_path", "_latest_artifact_path"):
        if isinstance(value.get(name), str):
            yield value[name]
            return
    names = value.get("filenames")
    if isinstance(names, list):
        yield from (name for name in names if isinstance(name, str))
