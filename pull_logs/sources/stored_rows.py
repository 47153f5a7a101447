"""The rows of one run in scratch files: written batch by batch, then mapped into memory."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pull_logs.rows.canonical import STEP, TIMESTAMP

if TYPE_CHECKING:
    import pyarrow as pa

RUNTIME = "_runtime"
RESERVED = frozenset({STEP, TIMESTAMP, RUNTIME})
"""The columns that this library adds to the metrics of a tracker."""


def store_batch(batch: pa.Table, file: Path) -> None:
    """Write a batch to a new file.

    Raises:
        OSError: The file cannot be written.
    """
    import pyarrow as pa

    with file.open("xb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_table(batch)


def load_batch(file: Path) -> pa.Table:
    """Return the batch of a file; its memory is that of the file.

    Raises:
        OSError: The file cannot be read.
    """
    import pyarrow as pa

    # pyarrow opens paths of UTF-8 only, so the file is opened and mapped here.
    with file.open("rb") as source:
        mapped = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)
    return pa.ipc.open_file(pa.py_buffer(mapped)).read_all()


@dataclass(frozen=True, slots=True)
class StoredRows:
    """The merged rows of a run.

    Attributes:
        files: The files that hold them, in step order.
        rows: Their number.
        last_step: The greatest step; None without rows.
        last: The last value of each column: the one with the greatest step.
    """

    files: tuple[Path, ...]
    rows: int
    last_step: int | None
    last: Mapping[str, Any]

    def batches(self) -> Iterator[pa.Table]:
        """Read the rows, batch by batch."""
        return map(load_batch, self.files)


def store_rows(batches: Iterable[pa.Table], folder: Path) -> StoredRows:
    """Write merged batches, whose steps follow each other, to files of a folder, which is created.

    Raises:
        OSError: A file cannot be written.
        DataError: A residual column is not valid.
    """
    from pull_logs.rows.batches import steps_of

    folder.mkdir()
    files: list[Path] = []
    last: dict[str, Any] = {}
    rows, last_step = 0, None
    for batch in batches:
        if not batch.num_rows:
            continue
        files.append(folder / f"{len(files):06d}.arrow")
        store_batch(batch, files[-1])
        last |= _last_values(batch)
        rows += batch.num_rows
        last_step = int(steps_of(batch)[-1])
    return StoredRows(tuple(files), rows, last_step, last)


def _last_values(batch: pa.Table) -> dict[str, Any]:
    """Return the last value of each key of a batch."""
    from pull_logs.rows.arrays import python_values
    from pull_logs.rows.batches import take_apart

    cells = take_apart(batch)
    found: dict[str, tuple[int, Any]] = {}
    for name, array in cells.typed.items():
        row = _last_row(array)
        found[name] = row, python_values(array.slice(row, 1))[0]
    residual: dict[str, int] = {}
    for name, values in cells.rest.items():
        row = max(values)
        if name not in found or row > found[name][0]:
            residual[name] = row
    known = {name: value for name, (_, value) in found.items() if name not in residual}
    return known | _residual_values(batch, residual) | {STEP: int(batch.column(STEP)[-1].as_py())}


def _last_row(array: pa.Array) -> int:
    """Return the last row that has a value; a column of a batch has one."""
    from pull_logs.rows.arrays import present_rows

    return len(array) - 1 - int(present_rows(array)[::-1].argmax()) if array.null_count else len(array) - 1


def _residual_values(batch: pa.Table, rows: Mapping[str, int]) -> dict[str, Any]:
    from pull_logs.rows.batches import batch_rows

    return {name: next(batch_rows(batch.slice(row, 1), [name])).get(name) for name, row in rows.items()}
