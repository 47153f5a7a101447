"""What every module that reads with pyarrow shares: its errors, and how a Parquet file is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    import pyarrow.parquet as pq

ARROW_ERRORS = (
    *(pa.ArrowException, OSError, ValueError, LookupError, TypeError),
    *(AttributeError, OverflowError, RuntimeError),
)
"""The errors that pyarrow, and reading what it returns, raise about data that is not valid."""


def open_parquet(source: Any, **options: Any) -> pq.ParquetFile:
    """Open a Parquet file, which is then read in the thread that asks for rows.

    By default, pyarrow reads ahead in threads of its own. One of them may have the last reference to the
    bytes or the file, and be about to release it when the process ends: Python then stops the thread, and
    C++ ends the process with `terminate called`, after all was done. What is read here is in memory, or is
    requested in few ranges before.

    Args:
        source: What `pyarrow.parquet.ParquetFile` opens.
        **options: Its other arguments.

    Raises:
        ArrowException: It cannot be read; see `ARROW_ERRORS`.
    """
    from pyarrow.parquet import ParquetFile

    return ParquetFile(source, pre_buffer=False, **options)
