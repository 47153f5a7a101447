"""Tables, images and other media that a run logged: the values of its rows that point to files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pull_logs.errors import DataError, FileMissingError, MetricNotFoundError
from pull_logs.frames import join_path
from pull_logs.rows.batches import steps_of
from pull_logs.rows.canonical import parse_json
from pull_logs.rows.file_pointers import PointerValue, find_pointers
from pull_logs.suggestions import did_you_mean

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from pull_logs.snapshot.read.run_files import RunFile

TABLE = "table-file"
"""The type of a value that points to a table."""

MAX_TABLE = 256 * 2**20
"""Most bytes of a table that is read: its values take several times as much memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaItem:
    """A file that a row points to.

    Attributes:
        step: The step of the row.
        key: The flat key of the value; nested keys are joined with `.`.
        kind: The type of the value, such as `table-file`, `image-file` or `images/separated`.
        name: The name of the file in the run, `media/images/a.png`; untrusted text.
        caption: The caption of the file, if it has one.
        file: The file; None if the bundle does not have it.
    """

    step: int
    key: str
    kind: str
    name: str
    caption: str | None = None
    file: RunFile | None = None


def media_of(batches: Iterable[pa.Table], files: Mapping[str, RunFile]) -> Iterator[MediaItem]:
    """Iterate over the files that rows point to, by step.

    Args:
        batches: The batches of a history, with their residual columns.
        files: The files of the run that the bundle has.

    Raises:
        BundleDamagedError: The history is damaged.
    """
    for batch in batches:
        steps = steps_of(batch)
        for found in find_pointers(batch):
            step, key = int(steps[found.row]), join_path(found.path)
            for name, caption in zip(found.names, _captions(found), strict=True):
                yield MediaItem(
                    step=step, key=key, kind=found.kind, name=name, caption=caption, file=files.get(name)
                )


def _captions(found: PointerValue) -> list[str | None]:
    """Return the caption of each file of a value."""
    one, several = found.value.get("caption"), found.value.get("captions")
    texts = several if isinstance(several, list) and len(several) == len(found.names) else [one]
    texts = [text if isinstance(text, str) and text else None for text in texts]
    return texts if len(texts) == len(found.names) else [None] * len(found.names)


def read_table(media: Iterable[MediaItem], key: str, step: int | None, *, run: str) -> pd.DataFrame:
    """Return a table that a run logged.

    Args:
        media: The files that its rows point to.
        key: The flat key of the table.
        step: The step at which it was logged; None for the last one.
        run: The path of the run, for errors.

    Raises:
        MetricNotFoundError: The run logged no table under that key, or none at that step.
        FileMissingError: The bundle does not have its file.
        DataError: The file is not a table, or is too large.
        BundleDamagedError: The bundle is damaged.
    """
    tables = [item for item in media if item.kind == TABLE]
    of_key = [item for item in tables if item.key == key]
    found = [item for item in of_key if step in (None, item.step)]
    if not of_key:
        hint = did_you_mean(key, {item.key for item in tables}, otherwise="it logged no table")
        raise MetricNotFoundError(f"run {run!r} has no table {key!r}", hint=hint)
    if not found:
        steps = ", ".join(str(item.step) for item in of_key[:5]) + (", ..." if len(of_key) > 5 else "")
        message = f"run {run!r} logged no table {key!r} at step {step}"
        raise MetricNotFoundError(message, hint=f"it logged those of steps {steps}")
    item = found[-1]
    if item.file is None:
        raise FileMissingError(
            f"the bundle does not have file {item.name!r} of table {key!r}",
            hint="`pull-logs fetch --media` and `pull-logs import --media` add tables and media",
        )
    return _frame(item.file)


def _frame(file: RunFile) -> pd.DataFrame:
    if file.size > MAX_TABLE:
        raise DataError(f"table {file.name!r} has {file.size} bytes, and {MAX_TABLE} are the most")
    value = parse_json(file.read())
    columns, rows = (value.get("columns"), value.get("data")) if isinstance(value, Mapping) else (None, None)
    if not _is_table(columns, rows):
        raise DataError(f"file {file.name!r} is not a table of W&B")
    import pandas as pd

    names = [str(name) for name in columns or ()]
    frame = pd.DataFrame(index=pd.RangeIndex(len(rows or ())))
    cells = [_column([row[at] for row in rows or ()]) for at in range(len(names))]
    frame = pd.concat([frame, *cells], axis=1) if cells else frame
    frame.columns = pd.Index(names, dtype=object)
    return frame


def _is_table(columns: Any, rows: Any) -> bool:
    return (
        isinstance(columns, list)
        and isinstance(rows, list)
        and all(isinstance(row, list) and len(row) == len(columns) for row in rows)
    )


def _column(values: Sequence[Any]) -> pd.Series[Any]:
    """Return the cells of a column: numbers where that is exact, else the values as they are."""
    import pandas as pd

    present = [value for value in values if value is not None]
    kinds = {type(value) for value in present}
    if kinds == {bool} and len(present) == len(values):
        return pd.Series(values, dtype=bool)
    if kinds == {int} and len(present) == len(values) and all(-(2**63) <= value < 2**63 for value in present):
        return pd.Series(values, dtype="int64")
    if kinds and kinds <= {int, float} and all(map(_is_double, present)):
        doubles = [math.nan if value is None else float(value) for value in values]
        return pd.Series(doubles, dtype="float64")
    return pd.Series(list(values), dtype=object)


def _is_double(value: Any) -> bool:
    """Return whether a number is exactly a double."""
    return type(value) is float or (abs(value) < 2**1000 and int(float(value)) == value)
