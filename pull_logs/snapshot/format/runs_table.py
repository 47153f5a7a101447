"""`runs.parquet`: one row per run in path order, with all that is stored about it except its histories.

Columns that tools filter by are plain; the nested documents (config, summary, metadata) are canonical JSON
text. Row groups are small, so that the config of one run is read without those of ten thousand others. See
docs/bundle-format.md, "The table of runs".
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pull_logs.errors import DataError
from pull_logs.rows.arrays import array_of, decoded_size
from pull_logs.rows.arrow import ARROW_ERRORS, open_parquet
from pull_logs.rows.limits import decoded_text_limit
from pull_logs.run_fields import RUN_FIELDS
from pull_logs.runs import Coverage, RunInfo, RunParts
from pull_logs.snapshot.format.parquet_pages import decoded_sizes
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
from pull_logs.snapshot.format.runs import (
    GROUP_ROWS,
    Documents,
    PathsBuilder,
    PlainColumns,
    RunPaths,
    TableFile,
    cells_of,
    damaged_table,
)

_KEYS = ("entity", "project", "run_id")
LIGHT = tuple(name for name in SCHEMA.names if name not in DOCUMENTS)
"""The columns that are read when a bundle is opened."""

MAX_DECODED = 2**30
"""Most bytes of the documents of a row group."""

_CHECKED_GROUPS = 16
"""Row groups whose plain columns are in memory at once when a table is opened."""

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


@dataclass(frozen=True, slots=True, eq=False)
class RunTable:
    """An opened `runs.parquet`: plain columns in memory, documents read on request.

    Attributes:
        path: The bundle, for messages.
        paths: The path of each run, ascending.
        cells: The values of each plain column, one per run; of an optional one that is not there, None.
        documents: Returns one document of a run, as text.
    """

    path: str
    paths: RunPaths
    cells: PlainColumns
    documents: Documents

    @property
    def plain_columns(self) -> tuple[str, ...]:
        """The names of the plain columns."""
        return self.cells.names

    def column(self, name: str) -> list[Any]:
        """Return the values of a plain column, one per run."""
        return list(self.cells[name])

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
            raise damaged_table(self.path, f"holds a {name} that cannot be read: {exc.message}") from exc

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
            raise damaged_table(
                self.path, f"holds parts of a run that cannot be read: {exc.message}"
            ) from exc

    def plain_values(self, index: int) -> dict[str, Any]:
        """Return the values of all plain columns for one run."""
        return self.cells.row(index)

    def optional_fields(self, index: int) -> frozenset[str]:
        """Return the optional columns that have a value for a run."""
        known = [name for name in OPTIONAL if name in (*self.plain_columns, *self.documents.names)]
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
            raise damaged_table(self.path, f"holds a document that cannot be read: {exc.message}") from exc
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
        checked = open_parquet(source)
        optional = _checked_columns(checked, rows=rows, path=path)
        documents = [*DOCUMENTS, *(name for name in optional if name == SWEEP_CONFIG)]
        plain = [*LIGHT, *(name for name in optional if name != SWEEP_CONFIG)]
        sizes = decoded_sizes(data, table_schema(optional).names)
        for group in sizes:
            _spend(group.get(SWEEP_CONFIG, 0), limit)
            _spend(sum(group[name] for name in documents), MAX_DECODED)
        _spend(sum(group[name] for group in sizes for name in plain), limit)
        leaves = [*_TEXT_LEAVES, *optional]
        coded = open_parquet(
            source, metadata=checked.metadata, page_checksum_verification=True, read_dictionary=leaves
        )
        file = TableFile(data, coded, path=path)
        paths = _checked_paths(file, plain, limit=limit)
    except ARROW_ERRORS as exc:
        raise damaged_table(path, f"cannot be read: {exc}") from exc
    if paths is None:
        raise damaged_table(path, "is not in path order")
    return RunTable(path=path, paths=paths, cells=PlainColumns(file, plain), documents=Documents(file, sizes))


def _checked_paths(file: TableFile, plain: Sequence[str], *, limit: int) -> RunPaths | None:
    """Return the paths, after reading all plain columns; None if they are not in order.

    Nothing else is kept: what is used is read again.
    """
    builder, texts = PathsBuilder(), 0
    for start in range(0, len(file.groups), _CHECKED_GROUPS):
        table = file.read(file.groups[start : start + _CHECKED_GROUPS], plain)
        texts += _text_size(table)
        _spend(texts, limit)
        builder.add(zip(*(cells_of(table.column(name)) for name in _KEYS), strict=True))
    return builder.paths() if builder.in_order else None


def _text_size(table: pa.Table) -> int:
    """Return how much text the dictionaries of a table become: a few bytes can expand to a great deal."""
    size = 0
    for column in table.columns:
        for chunk in column.chunks:
            texts = chunk.values if pa.types.is_list(chunk.type) else chunk
            if pa.types.is_dictionary(texts.type):
                size += decoded_size(texts)
    return size


def _checked_columns(file: pq.ParquetFile, *, rows: int, path: str) -> list[str]:
    """Check rows, columns and row groups of a table of runs, and return its optional columns."""
    metadata, schema = file.metadata, file.schema_arrow
    if metadata.num_rows != rows:
        raise damaged_table(path, f"has {metadata.num_rows} runs and the manifest {rows}")
    optional = [name for name in OPTIONAL if name in schema.names]
    if not schema.equals(table_schema(optional), check_metadata=False):
        raise damaged_table(path, "has other columns than a bundle's")
    groups = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    if any(size != GROUP_ROWS for size in groups[:-1]) or any(size > GROUP_ROWS for size in groups[-1:]):
        raise damaged_table(path, f"is not in groups of {GROUP_ROWS} runs")
    return optional


def _spend(size: int, limit: int) -> None:
    if size > limit:
        raise ValueError(f"its text would take {size} bytes of memory, and {limit} are the most")
