"""An open `runs.parquet`, of which some columns of some row groups are read at a time."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import pyarrow as pa
import pyarrow.parquet as pq

from pull_logs.errors import BundleDamagedError
from pull_logs.snapshot.format.names import RUNS

GROUP_ROWS = 256
"""Runs of a row group; the last one may have fewer."""


class TableFile:
    """The row groups of `runs.parquet`; several threads may read at once.

    Attributes:
        data: The complete file.
        path: The bundle, for messages.
        names: The columns, in the order of the schema.
        runs: The number of runs.
        groups: The numbers of the row groups.
    """

    def __init__(self, data: bytes, file: pq.ParquetFile, *, path: str) -> None:
        self.data, self.path = data, path
        self.names: Sequence[str] = file.schema_arrow.names
        self.runs, self.groups = file.metadata.num_rows, range(file.metadata.num_row_groups)
        self._file = file
        # Two threads that read from one ParquetFile at once crash the process.
        self._reading = Lock()

    def read(self, groups: Sequence[int], names: Sequence[str]) -> pa.Table:
        """Return some columns of these row groups."""
        with self._reading:
            return self._file.read_row_groups(groups, columns=list(names), use_threads=False)


def damaged_table(path: str, reason: str) -> BundleDamagedError:
    """Return the error about a table of runs with something wrong."""
    return BundleDamagedError(f"{path!r} is damaged: {RUNS} {reason}", path=path, member=RUNS)
