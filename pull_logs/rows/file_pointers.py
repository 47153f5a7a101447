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
import pyarrow.compute as pc

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
    found: Counter[tuple[str, str]] = Counter()
    for batch in batches:
        if RESIDUAL not in batch.column_names:
            continue
        cells = flat(batch.column(RESIDUAL))
        for _, _, members in residual_rows(cells.filter(pc.match_substring(cells, f'"{_TYPE}"'))):
            for key, value in members.items():
                found.update((key, kind) for kind in _kinds(value, available))
    return found


@dataclass(frozen=True, slots=True)
class PointerValue:
    """A value of a row that points to files.

    Attributes:
        row: The index of the row in its batch.
        path: The keys that lead to the value; elements of a list have those of the list.
        kind: Its type.
        names: The files that it points to, by their paths.
        value: The value.
    """

    row: int
    path: tuple[str, ...]
    kind: str
    names: tuple[str, ...]
    value: Mapping[str, Any]


def find_pointers(batch: pa.Table) -> Iterator[PointerValue]:
    """Yield the values of a batch that point to files, by row and key.

    Raises:
        DataError: A cell of the residual column is not a JSON object.
    """
    if RESIDUAL not in batch.column_names:
        return
    cells = flat(batch.column(RESIDUAL))
    rows = pc.indices_nonzero(pc.fill_null(pc.match_substring(cells, f'"{_TYPE}"'), fill_value=False))
    for index, _, members in residual_rows(cells.take(rows)):
        yield from _pointers(members, (), rows[index].as_py())


def _pointers(value: Any, path: tuple[str, ...], row: int) -> Iterator[PointerValue]:
    if isinstance(value, Mapping):
        kind = value.get(_TYPE)
        names = tuple(_paths(value)) if path and isinstance(kind, str) else ()
        if names:
            yield PointerValue(row, path, str(kind), names, value)
            return
        for key, item in sorted(value.items()):
            yield from _pointers(item, (*path, key), row)
    elif isinstance(value, list):
        for item in value:
            yield from _pointers(item, path, row)


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


def _kinds(value: Any, available: Collection[str]) -> Iterator[str]:
    """Yield the type of each value, in a value of a row, that points to a file."""
    if isinstance(value, Mapping):
        kind = value.get(_TYPE)
        if isinstance(kind, str) and any(name not in available for name in _paths(value)):
            yield kind
        else:
            for item in value.values():
                yield from _kinds(item, available)
    elif isinstance(value, list):
        for item in value:
            yield from _kinds(item, available)


def _paths(value: Mapping[str, Any]) -> Iterator[str]:
    """Yield the files that a value points to, each under its path or as a file of an artifact."""
    for name in ("path", "artifact_path", "_latest_artifact_path"):
        if isinstance(value.get(name), str):
            yield value[name]
            return
    names = value.get("filenames")
    if isinstance(names, list):
        yield from (name for name in names if isinstance(name, str))
