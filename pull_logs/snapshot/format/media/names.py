"""The members of tables: `tables/KEY/STEP.parquet` in the folder of a run.

The key is one segment, encoded as the names of logged files are. The position in a list follows the step
(`3.1.parquet`). A table that only the summary points to is `summary.parquet`. See docs/bundle-format.md,
"Media".
"""

from __future__ import annotations

from collections.abc import Iterable

from pull_logs.snapshot.format.names import TABLE_FOLDER, segments_of

SUMMARY = "summary"


def table_folders(folder: str, keys: Iterable[str]) -> dict[str, str]:
    """Return the folder of the tables with each key; it depends on all keys of tables of the run.

    Args:
        folder: The folder of the run.
        keys: The flat keys, all different.

    Raises:
        DataError: Two keys would have the same folder.
    """
    return {key: f"{folder}/{TABLE_FOLDER}/{segment}" for key, segment in segments_of(keys).items()}


def table_member(folder: str, step: int | None, index: int | None) -> str:
    """Return the member of a table.

    Args:
        folder: The folder of the tables with its key.
        step: The step of the row that points to it; None for the summary.
        index: Its position in a list; None outside lists.
    """
    name = SUMMARY if step is None else str(step)
    return f"{folder}/{name}{'' if index is None else f'.{index}'}.parquet"
