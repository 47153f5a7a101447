"""`runs.parquet`: one row per run in path order, with all that is stored about it except its histories.

Columns that tools filter by are plain; the nested documents (config, summary, metadata) are canonical JSON
text. Row groups are small, so that the config of one run is read without those of ten thousand others. See
docs/bundle-format.md, "The table of runs".
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from operator import ge
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pull_logs.errors import BundleDamagedError, DataError
from pull_logs.rows.arrays import array_of, decoded, decoded_size
from pull_logs.rows.arrow_errors import ARROW_ERRORS
from pull_logs.rows.coded_text import shared_texts
from pull_logs.rows.limits import MAX_DOCUMENT, decoded_text_limit
from pull_logs.run_fields import RUN_FIELDS
from pull_logs.runs import Coverage, RunInfo, RunParts, RunPath
from pull_logs.snapshot.format.names import RUNS
from pull_logs.snapshot.format.parquet_pages import decoded_sizes, plain_texts
from pull_logs.snapshot.format.parquet_write import FILE_OPTIONS
from pull_logs.snapshot.format.run_record import (
    DOCUMENTS,
    OPTIONAL,
    PARTS,
    SCHEMA,
    SWEEP_CONFIG,
    coverage_fields,
    coverage_from_fields,
    document_from_text,
    info_fields,
    info_from_fields,
    parts_from_text,
    table_schema,
)

GROUP_ROWS = 256

_KEYS = ("entity", "project", "run_id")
LIGHT = tuple(name for name in SCHEMA.names if name not in DOCUMENTS)
"""The columns that are read when a bundle is opened."""

MAX_DECODED = 2**30
"""Most bytes of the documents of a row group."""

_KEPT_CELLS = 1024
"""Plain columns of row groups that are kept as Python values, because a ranking takes runs in any order."""

_MOST_COMPLETE = 65_536
"""Up to this many runs, a plain column is kept as Python values once it is used."""

_KEPT_GROUPS = 32
"""Row groups whose plain columns are kept together, run by run."""

_KEPT_DOCUMENTS = 32 * 2**20
"""Bytes of documents that are kept for the next runs; a column with more of them is read text by text."""

_LISTED = 2**20
"""Up to this many bytes of documents, a column of a row group is kept as Python texts."""

_TEXT_LEAVES = [
    "tags.list.element" if field.name == "tags" else field.name
    for field in SCHEMA
    if field.type == pa.string() or field.name == "tags"
]
_DICTIONARIES = [field.name for field in RUN_FIELDS if field.repetitive]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """The row of one run.

    Attributes:
        info: The run.
        coverage: What W&B promised of its history, and what arrived.
        rows: Rows of its history.
        first_step: The first step, or None without rows.
        last_step: The last step, or None without rows.
    """

    info: RunInfo
    coverage: Coverage
    rows: int
    first_step: int | None
    last_step: int | None


def encode_runs(rows: Iterable[RunRow], *, optional: Collection[str] = ()) -> bytes:
    """Return the bytes of `runs.parquet`; the same rows give the same bytes.

    Args:
        rows: The runs, in path order.
        optional: Those of `OPTIONAL` of which one of them has a value, so that the table has a column for it.

    Raises:
        DataError: A document is not JSON-like, or a number does not fit into 64 bits.
    """
    sink, source = io.BytesIO(), iter(rows)
    schema = table_schema(optional)
    with pq.ParquetWriter(
        sink,
        schema,
        **FILE_OPTIONS | {"compression_level": 9},
        use_dictionary=[name for name in _DICTIONARIES if name in schema.names],
        write_statistics=["entity", "project", "run_id"],
    ) as writer:
        while group := list(islice(source, GROUP_ROWS)):
            writer.write_table(_group_table(group, schema), row_group_size=GROUP_ROWS)
    return sink.getvalue()


def _group_table(rows: Sequence[RunRow], schema: pa.Schema) -> pa.Table:
    records = [
        info_fields(row.info)
        | coverage_fields(row.coverage)
        | {"rows": row.rows, "first_step": row.first_step, "last_step": row.last_step}
        for row in rows
    ]
    try:
        columns = [array_of([record.get(field.name) for record in records], field.type) for field in schema]
        return pa.Table.from_arrays(columns, schema=schema)
    except (pa.ArrowException, OverflowError, UnicodeError) as exc:
        raise DataError(f"a run near {str(rows[0].info.path)!r} cannot be kept: {exc}") from exc


def _check_texts(table: pa.Table, *, limit: int) -> None:
    """Check how much text the dictionaries of a table become: a few bytes can expand to a great deal."""
    size = 0
    for column in table.columns:
        for chunk in column.chunks:
            texts = chunk.values if pa.types.is_list(chunk.type) else chunk
            if pa.types.is_dictionary(texts.type):
                size += decoded_size(texts)
    _spend(size, limit)


def _cells(column: pa.ChunkedArray) -> list[Any]:
    """Return the values of a plain column; equal texts are one object."""
    if pa.types.is_dictionary(column.type):
        texts: list[Any] = shared_texts(column).tolist()
        return texts
    if pa.types.is_list(column.type):
        column = pa.chunked_array(map(decoded, column.chunks))
    values: list[Any] = column.to_pylist()
    return values


@dataclass(frozen=True, slots=True, eq=False)
class RunTable:
    """An opened `runs.parquet`: plain columns in memory, documents read on request.

    Attributes:
        path: The bundle, for messages.
        paths: The path of each run, ascending.
        light: The plain columns, with texts as dictionaries.
        optional: Those of `OPTIONAL` that are among them.
        cells: The values of each plain column, one per run; of an optional one that is not there, None.
        light_rows: Returns the values of all plain columns for each run of a row group.
        documents: Returns one document of the runs of a row group, as text.
    """

    path: str
    paths: tuple[RunPath, ...]
    light: pa.Table
    optional: frozenset[str]
    cells: Mapping[str, Sequence[Any]]
    light_rows: Callable[[int], Sequence[Sequence[Any]]]
    documents: _Documents

    @property
    def plain_columns(self) -> tuple[str, ...]:
        """The names of the plain columns."""
        return tuple(self.light.column_names)

    def column(self, name: str) -> list[Any]:
        """Return the values of a plain column, one per run."""
        return _cells(self.light.column(name))

    def value(self, name: str, index: int) -> Any:
        """Return the value of a plain column for one run; None if the table does not have the column."""
        return self.cells[name][index]

    def document(self, name: str, index: int) -> dict[str, Any]:
        """Parse one of `DOCUMENTS` of one run, or its `SWEEP_CONFIG`, into a new dict.

        Raises:
            BundleDamagedError: It cannot be read.
        """
        text = self.documents.text(name, index)
        try:
            return document_from_text(text or "")
        except DataError as exc:
            raise _damaged(self.path, f"holds a {name} that cannot be read: {exc.message}") from exc

    def sweep_config(self, index: int) -> dict[str, Any] | None:
        """Parse the config of one run's sweep into a new dict; None where there is none.

        Raises:
            BundleDamagedError: It cannot be read.
        """
        if SWEEP_CONFIG not in self.documents.names or self.documents.text(SWEEP_CONFIG, index) is None:
            return None
        return self.document(SWEEP_CONFIG, index)

    def parts(self, index: int) -> RunParts | None:
        """Parse the parts that one run was logged in; None where they are not known.

        Raises:
            BundleDamagedError: They cannot be read.
        """
        try:
            return parts_from_text(self.value(PARTS, index))
        except DataError as exc:
            raise _damaged(self.path, f"holds parts of a run that cannot be read: {exc.message}") from exc

    def plain_values(self, index: int) -> dict[str, Any]:
        """Return the values of all plain columns for one run."""
        group, offset = divmod(index, GROUP_ROWS)
        return dict(zip(self.light.column_names, self.light_rows(group)[offset], strict=True))

    def optional_fields(self, index: int) -> frozenset[str]:
        """Return the optional columns that have a value for a run."""
        known = [name for name in OPTIONAL if name in self.optional or name in self.documents.names]
        return frozenset(name for name in known if self._has(name, index))

    def _has(self, name: str, index: int) -> bool:
        found = self.documents.text(name, index) if name in self.documents.names else self.value(name, index)
        return found is not None

    def row(self, index: int) -> RunRow:
        """Return everything about one run.

        Raises:
            BundleDamagedError: A document of it cannot be read.
        """
        light = self.plain_values(index)
        texts = {name: self.documents.text(name, index) for name in self.documents.names}
        try:
            info = info_from_fields(light | texts)
        except DataError as exc:
            raise _damaged(self.path, f"holds a document that cannot be read: {exc.message}") from exc
        return RunRow(
            info=info,
            coverage=coverage_from_fields(light),
            rows=light["rows"],
            first_step=light["first_step"],
            last_step=light["last_step"],
        )

    def rows(self) -> Iterator[RunRow]:
        """Iterate over the runs in path order, with one row group in memory at a time."""
        return map(self.row, range(len(self.paths)))


def load_runs_table(data: bytes, *, rows: int, path: str) -> RunTable:
    """Open `runs.parquet`.

    Args:
        data: The complete file, its hash already checked.
        rows: The number of runs in the manifest.
        path: The bundle, for messages.

    Raises:
        BundleDamagedError: It is not a table of that many runs.
    """
    try:
        source, limit = pa.BufferReader(data), decoded_text_limit(len(data))
        optional = _checked_columns(pq.ParquetFile(source), rows=rows, path=path)
        documents = [*DOCUMENTS, *(name for name in optional if name == SWEEP_CONFIG)]
        plain = [*LIGHT, *(name for name in optional if name != SWEEP_CONFIG)]
        sizes = decoded_sizes(data, table_schema(optional).names)
        for group in sizes:
            _spend(group.get(SWEEP_CONFIG, 0), limit)
            _spend(sum(group[name] for name in documents), MAX_DECODED)
        _spend(sum(group[name] for group in sizes for name in plain), limit)
        leaves = [*_TEXT_LEAVES, *optional]
        file = pq.ParquetFile(source, page_checksum_verification=True, read_dictionary=leaves)
        light = file.read(columns=plain, use_threads=False)
        _check_texts(light, limit=limit)
        keys = list(zip(*(_cells(light.column(name)) for name in _KEYS), strict=True))
    except ARROW_ERRORS as exc:
        raise _damaged(path, f"cannot be read: {exc}") from exc
    if any(map(ge, keys, keys[1:])):
        raise _damaged(path, "is not in path order")
    light_cells = lru_cache(maxsize=_KEPT_CELLS)(partial(_light_cells, light))
    return RunTable(
        path=path,
        paths=tuple(map(RunPath._make, keys)),
        light=light,
        optional=frozenset(OPTIONAL).intersection(light.column_names),
        cells=_Columns(light, light_cells),
        light_rows=lru_cache(maxsize=_KEPT_GROUPS)(partial(_light_rows, light_cells, light.column_names)),
        documents=_Documents(data, file, sizes, path),
    )


def _checked_columns(file: pq.ParquetFile, *, rows: int, path: str) -> list[str]:
    """Check rows, columns and row groups of a table of runs, and return its optional columns."""
    metadata, schema = file.metadata, file.schema_arrow
    if metadata.num_rows != rows:
        raise _damaged(path, f"has {metadata.num_rows} runs and the manifest {rows}")
    optional = [name for name in OPTIONAL if name in schema.names]
    if not schema.equals(table_schema(optional), check_metadata=False):
        raise _damaged(path, "has other columns than a bundle's")
    groups = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    if any(size != GROUP_ROWS for size in groups[:-1]) or any(size > GROUP_ROWS for size in groups[-1:]):
        raise _damaged(path, f"is not in groups of {GROUP_ROWS} runs")
    return optional


class _Columns(dict[str, Sequence[Any]]):
    """The values of plain columns as Python objects, made when a column is used first.

    Those of a table of very many runs are made one row group at a time, so that they need not fit into
    memory.
    """

    def __init__(self, light: pa.Table, group: Callable[[str, int], Sequence[Any]]) -> None:
        super().__init__()
        self._light, self._group = light, group

    def __missing__(self, name: str) -> Sequence[Any]:
        runs = self._light.num_rows
        if name in OPTIONAL and name not in self._light.column_names:
            values: Sequence[Any] = [None] * runs
        elif runs <= _MOST_COMPLETE:
            values = _cells(self._light.column(name))
        else:
            values = _GroupedCells(partial(self._group, name), runs)
        self[name] = values
        return values


@dataclass(frozen=True, slots=True)
class _GroupedCells(Sequence[Any]):
    """The values of a plain column, read by row group.

    Attributes:
        group: Returns those of a row group.
        length: How many they are.
    """

    group: Callable[[int], Sequence[Any]]
    length: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        number, offset = divmod(index, GROUP_ROWS)
        return self.group(number)[offset]


def _light_cells(light: pa.Table, name: str, group: int) -> Sequence[Any]:
    return _cells(light.column(name).slice(group * GROUP_ROWS, GROUP_ROWS))


def _light_rows(
    cells: Callable[[str, int], Sequence[Any]], names: Sequence[str], group: int
) -> Sequence[Sequence[Any]]:
    return list(zip(*(cells(name, group) for name in names), strict=True))


class _Documents:
    """The documents of the runs, as texts.

    The columns of the row groups that were read last are kept, each distinct text once. A column with very
    much text is read one text after the other. Several threads may read at once.

    Attributes:
        names: The columns of documents.
    """

    def __init__(
        self, data: bytes, file: pq.ParquetFile, sizes: Sequence[Mapping[str, int]], path: str
    ) -> None:
        self._schema = file.schema_arrow.names
        self.names = tuple(name for name in (*DOCUMENTS, SWEEP_CONFIG) if name in self._schema)
        self._data, self._file, self._sizes, self._path = data, file, sizes, path
        # Two threads that read from one ParquetFile at once crash the process.
        self._reading = Lock()
        self._kept: dict[tuple[int, str], Sequence[Any]] = {}
        self._streams: dict[str, _TextStream] = {}

    def text(self, name: str, index: int) -> str | None:
        """Return the text of a document of one run.

        Raises:
            BundleDamagedError: It cannot be read.
        """
        group, offset = divmod(index, GROUP_ROWS)
        kept = self._kept.get((group, name))
        if type(kept) is list:
            listed: str | None = kept[offset]
            return listed
        try:
            with self._reading:
                if name != SWEEP_CONFIG and self._sizes[group][name] > _KEPT_DOCUMENTS:
                    return self._stream(group, name).text(offset)
                column = self._kept.get((group, name))
                if column is None:
                    column = self._read(group, name)
            text = column[offset]
            if text is None or isinstance(text, str):
                return text
            decoded_text: str | None = text.as_py()
        except DataError as exc:
            raise _damaged(self._path, f"holds a {name} that cannot be read: {exc.message}") from exc
        except ARROW_ERRORS as exc:
            raise _damaged(self._path, f"cannot be read: {exc}") from exc
        return decoded_text

    def _read(self, group: int, name: str) -> Sequence[Any]:
        others = sum(self._sizes[kept][name] for kept, name in self._kept if kept != group)
        if others > _KEPT_DOCUMENTS:
            self._kept = {key: column for key, column in self._kept.items() if key[0] == group}
        column = self._file.read_row_group(group, columns=[name], use_threads=False).column(0)
        found = self._kept[group, name] = _listed_texts(column)
        return found

    def _stream(self, group: int, name: str) -> _TextStream:
        stream = self._streams.get(name)
        if stream is None or stream.group != group:
            opened = partial(plain_texts, self._data, self._schema, group=group, name=name, most=MAX_DOCUMENT)
            stream = self._streams[name] = _TextStream(group, opened)
        return stream


def _listed_texts(column: pa.ChunkedArray) -> Sequence[Any]:
    """Return the texts of a column, rows with the same text share it; the column itself if it is large.

    Of a column in which a text is not UTF-8, the others can be read.
    """
    found: Sequence[Any] = column
    if column.nbytes <= _LISTED:
        with suppress(UnicodeDecodeError):
            found = shared_texts(column).tolist()
    return found


class _TextStream:
    """The texts of a column in their order, of which the last ones are kept.

    Attributes:
        group: The number of the row group.
    """

    def __init__(self, group: int, opened: Callable[[], Iterator[bytes]]) -> None:
        self.group = group
        self._open = opened
        self._texts = opened()
        self._next = 0
        self._kept: dict[int, bytes] = {}

    def text(self, offset: int) -> str:
        """Return the text at an offset; one far before the last one costs a second pass.

        Raises:
            DataError: The column is damaged, or a text is too long.
        """
        if offset < self._next and offset not in self._kept:
            self._texts, self._next, self._kept = self._open(), 0, {}
        while self._next <= offset:
            found = next(self._texts, None)
            if found is None:
                raise DataError("it is missing")
            self._kept[self._next] = found
            self._next += 1
            while len(self._kept) > 1 and sum(map(len, self._kept.values())) > _KEPT_DOCUMENTS:
                del self._kept[min(self._kept)]
        return self._kept[offset].decode()


def _spend(size: int, limit: int) -> None:
    if size > limit:
        raise ValueError(f"its text would take {size} bytes of memory, and {limit} are the most")


def _damaged(path: str, reason: str) -> BundleDamagedError:
    return BundleDamagedError(f"{path!r} is damaged: {RUNS} {reason}", path=path, member=RUNS)
