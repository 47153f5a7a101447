"""The rows that the SDK wrote to a file, a list in JSON on each line, in the order of the scan.

They are read in parts, so that a long history needs little memory. The SDK concatenates exported and live
rows without removing what is in both, so that lines are counted by their step and time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pull_logs.errors import DataError
from pull_logs.fetch.decoding import Lines
from pull_logs.fetch.discovery import Steps
from pull_logs.rows.batches import batch_from_rows
from pull_logs.rows.canonical import parse_json

Stamps = npt.NDArray[np.float64]

_PART = 8 << 20
"""The characters of JSON from which rows are made a batch."""


@dataclass(frozen=True, slots=True)
class ScannedRows:
    """What is in a file of rows.

    Attributes:
        count: The number of different lines of the history.
        last_step: The last step; None without rows.
        ascending: Whether each row has a later step than the one before, so that nothing is to be merged.
    """

    count: int
    last_step: int | None
    ascending: bool


def batches_in(file: Path) -> Iterator[pa.Table]:
    """Yield the rows in a file as batches, each sorted by step.

    Raises:
        DataError: It holds something that is not a row.
    """
    for rows in _parts(file):
        yield batch_from_rows(rows)


def rows_in(file: Path) -> list[dict[str, object]]:
    """Return the rows in a file of samples, which have no step.

    Raises:
        DataError: It holds something that is not a row.
    """
    rows = parse_json(file.read_text(encoding="ascii"))
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError("the SDK gave something that is not a list of rows")
    return rows


def _parts(file: Path) -> Iterator[list[dict[str, object]]]:
    held: list[dict[str, object]] = []
    size = 0
    with file.open(encoding="ascii") as source:
        for line in source:
            rows = parse_json(line)
            if not isinstance(rows, list):
                raise DataError("the SDK gave something that is not a list of rows")
            # Rows without a step are left out, as the SDK leaves them out of exported files.
            held += [row for row in rows if isinstance(row, dict) and row.get("_step") is not None]
            size += len(line)
            if size >= _PART:
                yield held
                held, size = [], 0
    if held:
        yield held


def scan_rows(file: Path) -> ScannedRows:
    """Return what is in a file of rows.

    Raises:
        DataError: It holds something that is not a row.
    """
    pieces = [Lines.of(batch) for batch in batches_in(file)]
    if not pieces:
        return ScannedRows(0, None, ascending=True)
    steps = np.concatenate([piece.steps for piece in pieces])
    stamps = np.concatenate([piece.stamps for piece in pieces])
    ascending = bool((steps[1:] > steps[:-1]).all())
    count = len(steps) if ascending else _different(steps, stamps)
    return ScannedRows(count, int(steps.max()), ascending=ascending)


def _different(steps: Steps, stamps: Stamps) -> int:
    """Return the number of lines that differ in step or time; those without a time are counted each."""
    timed = np.isfinite(stamps)
    order = np.lexsort((stamps[timed], steps[timed]))
    steps, stamps = steps[timed][order], stamps[timed][order]
    again = (steps[1:] == steps[:-1]) & (stamps[1:] == stamps[:-1])
    return int(len(timed) - again.sum())
