"""The answer to a query as a Parquet file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pull_logs.errors import UsageError
from pull_logs.snapshot import disk_errors, new_file

if TYPE_CHECKING:
    from pull_logs.analyze.sql.engine import Rows


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Attributes:
        rows: The rows of the answer.
        bytes: The size of the file.
    """

    rows: int
    bytes: int


def check_table_file(out: Path, *, force: bool = False) -> None:
    """Check that an answer can be written to a file.

    Raises:
        UsageError: Its name does not end in .parquet, or it exists.
    """
    if out.suffix.lower() != ".parquet":
        raise UsageError(f"-o {str(out)!r} does not end in .parquet", hint="for example best.parquet")
    if out.exists() and not force:
        raise UsageError(f"{str(out)!r} exists", hint="pass --force to replace it, or name another file")


def write_table(answer: Rows, out: Path) -> Written:
    """Write an answer batch by batch; the file gets its name when it is complete.

    Raises:
        UsageError: Two columns have the same name.
        PullLogsError: The query fails, or the file cannot be written.
    """
    import pyarrow.parquet as pq

    rows = 0
    with disk_errors(out, hint="free some space, or write it to another disk"):
        schema, batches = answer.batches()
        _check_names(schema.names)
        with new_file(out) as file:
            with pq.ParquetWriter(file, schema, compression="zstd") as writer:
                for batch in batches:
                    writer.write_batch(batch)
                    rows += batch.num_rows
            size = file.tell()
    return Written(rows, size)


def _check_names(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            f"two columns of the answer have the name {twice[0]!r}",
            hint="give them names with AS: a file has one column of each name",
        )
