"""Tables, images and other media that a run logged: the values of its rows that point to files."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from typing import TYPE_CHECKING, Any

from pull_logs.errors import DataError, FileMissingError, MetricNotFoundError
from pull_logs.rows.file_pointers import pointers_text
from pull_logs.snapshot.file_selection import ALL_MEDIA
from pull_logs.snapshot.format import LoggedTable, join_tables, parse_table
from pull_logs.snapshot.read.logged.contents import Content
from pull_logs.snapshot.read.logged.pointers import TABLE, MediaFiles, is_artifact_address, pointers_of
from pull_logs.suggestions import counted, did_you_mean

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from pull_logs.snapshot.file_selection import FileSelection
    from pull_logs.snapshot.format import MemberFile
    from pull_logs.snapshot.read.logged.artifacts import RunArtifacts
    from pull_logs.snapshot.read.run_files import RunFile

MAX_TABLE = 256 * 2**20
"""Most bytes of a table that is read: its values take several times as much memory."""


_OF_TABLES = frozenset({"joined-table", "partitioned-table"})
"""The types of values whose files only name other tables of their artifact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaItem:
    """A file that a value of a run points to; the bundle has to stay open.

    Attributes:
        step: The step of the row; None for a value that only the summary has.
        key: The flat key of the value; nested keys are joined with `.`.
        index: The position of the file in a list; None outside lists.
        kind: The type of the value, such as `table-file`, `image-file` or `images/separated`.
        name: The name of the file in the run, `media/images/a.png`, or the address of a file of an artifact;
            untrusted text.
        caption: The caption of the file, if it has one.
        width: The width of an image or a video in pixels, if it is known.
        height: The height of it.
        format: The format of it, `png`.
        file: The file; None if the bundle does not have it.
        typed: The table of an artifact with the same cells and their types; None without one.
    """

    step: int | None
    key: str
    kind: str
    name: str
    index: int | None = None
    caption: str | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    file: RunFile | Content | None = None
    typed: Content | None = None

    @property
    def in_artifact(self) -> bool:
        """Whether it is a file of an artifact, and not one of the run."""
        return is_artifact_address(self.name)

    @property
    def path(self) -> str:
        """The same as `name`: W&B calls it the path."""
        return self.name

    def read(self) -> bytes:
        """Return the bytes of the file, checked against their hash.

        Raises:
            FileMissingError: The bundle does not have the file.
            BundleDamagedError: They are not those that were written.
        """
        return self._file().read()

    def open(self) -> MemberFile:
        """Return the bytes as a seekable file, **not checked**: see `item.file.check`.

        Raises:
            FileMissingError: The bundle does not have the file.
        """
        return self._file().open()

    def _file(self) -> RunFile | Content:
        if self.file is None:
            raise FileMissingError(
                f"the bundle does not have file {self.name!r} of {self.key!r}", hint=_missing_hint(self)
            )
        return self.file


_MISSING_HINT = "`pull-logs fetch --media` and `pull-logs import --media` add tables and media"
_ARTIFACT_HINT = "it is a file of an artifact: `--artifacts logged` of `fetch` and `import` adds those"


def _missing_hint(item: MediaItem) -> str:
    return _ARTIFACT_HINT if item.in_artifact else _MISSING_HINT


def media_of(
    batches: Iterable[pa.Table],
    summary: Mapping[str, Any],
    files: Mapping[str, RunFile],
    artifacts: RunArtifacts | None,
) -> Iterator[MediaItem]:
    """Iterate over the files that rows and a summary point to, by step.

    Args:
        batches: The batches of a history, with their residual columns.
        summary: The summary of the run.
        files: The files of the run that the bundle has.
        artifacts: The artifacts of the run that the bundle has.

    Raises:
        BundleDamagedError: The history or an artifact is damaged.
    """
    held: MediaFiles[RunFile, Content] = MediaFiles(
        files,
        lambda: () if artifacts is None else artifacts.records,
        lambda: () if artifacts is None else artifacts.contents,
    )
    for pointer in pointers_of(batches, summary):
        yield MediaItem(
            step=pointer.step,
            key=pointer.key,
            kind=pointer.kind,
            name=pointer.name,
            index=pointer.index,
            caption=pointer.caption,
            width=pointer.width,
            height=pointer.height,
            format=pointer.format,
            file=held.file(pointer),
            typed=held.typed(pointer),
        )


def missing_media(runs: Iterable[Iterable[MediaItem]], selection: FileSelection) -> list[str]:
    """Return which selected files that runs point to are not in their bundle, in a sentence for each reason.

    Args:
        runs: The media of each run.
        selection: Selects by key and name.
    """
    found: dict[bool, Counter[tuple[str, str]]] = {False: Counter(), True: Counter()}
    counts: Counter[bool] = Counter()
    for items in runs:
        of_run: Counter[tuple[bool, str, str]] = Counter(
            (item.in_artifact, item.key, item.kind)
            for item in items
            if item.file is None and item.typed is None and selection.selects(item.key, item.name)
        )
        for (in_artifact, key, kind), count in of_run.items():
            found[in_artifact][key, kind] += count
        counts.update({in_artifact for in_artifact, _, _ in of_run})
    return [
        f"the bundle lacks the files of {pointers_text(values)}, in {counted(counts[in_artifact], 'run')}:"
        f" {_IN_ARTIFACTS if in_artifact else 'W&B does not have them'}"
        for in_artifact, values in found.items()
        if values
    ]


def complete_media(runs: Iterable[Iterable[MediaItem]]) -> tuple[str, ...]:
    """Return patterns for the media that are complete in a bundle.

    A key is one of them if the bundle has the file of each of its values. If that holds for all keys, the
    pattern stands for all media, also of keys that are new.

    Args:
        runs: The media of each run.
    """
    held, lacking = set[str](), set[str]()
    for items in runs:
        for item in items:
            if not item.in_artifact:
                (lacking if item.file is None else held).add(item.key)
    if held and not lacking:
        return (ALL_MEDIA,)
    return tuple(sorted(map(escape, held - lacking)))


_IN_ARTIFACTS = "they are files of artifacts that the bundle lacks, see `--artifacts`"


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
    items = list(media)
    tables = [item for item in items if item.kind == TABLE]
    of_key = [item for item in tables if item.key == key]
    found = [item for item in of_key if step in (None, item.step)]
    other = next((item.kind for item in items if item.key == key and item.kind in _OF_TABLES), None)
    if not of_key and other is not None:
        raise MetricNotFoundError(
            f"run {run!r} logged {key!r} as a {other}, which has no cells of its own",
            hint=f"its file says which tables it is made of: `run.media({key!r})`",
        )
    if not of_key:
        hint = did_you_mean(key, {item.key for item in tables}, otherwise="it logged no table")
        raise MetricNotFoundError(f"run {run!r} has no table {key!r}", hint=hint)
    if not found:
        steps = ", ".join(str(item.step) for item in of_key[:5]) + (", ..." if len(of_key) > 5 else "")
        message = f"run {run!r} logged no table {key!r} at step {step}"
        raise MetricNotFoundError(message, hint=f"it logged those of steps {steps}")
    return table_frame(found[-1])


def table_frame(item: MediaItem) -> pd.DataFrame:
    """Return the cells of a table as a data frame.

    Raises:
        FileMissingError: The bundle does not have its file.
        DataError: The file is not a table, or is too large.
        BundleDamagedError: The bundle is damaged.
    """
    if item.file is None and item.typed is None:
        message = f"the bundle does not have file {item.name!r} of table {item.key!r}"
        raise FileMissingError(message, hint=_missing_hint(item))
    return _frame(logged_table(item))


def logged_table(item: MediaItem) -> LoggedTable:
    """Return the cells of a table, with the types and the media that only an artifact has.

    Raises:
        DataError: A file is not a table, or is too large.
        BundleDamagedError: The bundle is damaged.
    """
    plain = None if item.file is None else _parsed(item.file, item.name)
    if item.typed is None:
        return plain or LoggedTable((), ())
    typed = _parsed(item.typed, item.name)
    return typed if plain is None else join_tables(plain, typed)


def _parsed(file: RunFile | Content, name: str) -> LoggedTable:
    if file.size > MAX_TABLE:
        raise DataError(f"table {name!r} has {file.size} bytes, and {MAX_TABLE} are the most")
    return parse_table(file.read(), name=name)


def _frame(table: LoggedTable) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(index=pd.RangeIndex(len(table.rows)))
    cells = [
        _times(table.cells(at)) if table.is_time(at) else _column(table.cells(at))
        for at in range(len(table.columns))
    ]
    frame = pd.concat([frame, *cells], axis=1) if cells else frame
    frame.columns = pd.Index(table.columns, dtype=object)
    return frame


def _times(values: Sequence[Any]) -> pd.Series[Any]:
    import pandas as pd

    return pd.Series(values, dtype="Int64").astype("datetime64[ms]").dt.tz_localize("UTC")


def _column(values: Sequence[Any]) -> pd.Series[Any]:
    """Return the cells of a column: numbers where that is exact, else the values as they are."""
    import pandas as pd

    present = [value for value in values if value is not None]
    kinds = {type(value) for value in present}
    if kinds == {bool} and len(present) == len(values):
        return pd.Series(values, dtype=bool)
    whole = kinds == {int} and all(-(2**63) <= value < 2**63 for value in present)
    if whole and len(present) == len(values):
        return pd.Series(values, dtype="int64")
    if kinds and kinds <= {int, float} and all(map(_is_double, present)):
        doubles = [math.nan if value is None else float(value) for value in values]
        return pd.Series(doubles, dtype="float64")
    if whole:
        return pd.Series(values, dtype="Int64")
    return pd.Series(list(values), dtype=object)


def _is_double(value: Any) -> bool:
    """Return whether a number is exactly a double."""
    return type(value) is float or (abs(value) < 2**1000 and int(float(value)) == value)
