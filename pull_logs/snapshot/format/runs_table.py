"""`runs.parquet`: all that is known of each run but its histories, a row a run in path order.

Columns that tools want to filter by are plain ones; the nested documents
(config, summary, metadata) are canonical JSON text. Row groups are small, so
that one run's config can be had without reading ten thousand.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from operator import ge
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pull_logs.errors import BundleDamagedError, DataError
from pull_logs.rows.arrays import decoded, decoded_size
from pull_logs.rows.canonical import canon_record, canon_text, canonical_text, parse_json
from pull_logs.run_fields import RUN_FIELDS
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot.format.names import RUNS

GROUP_ROWS = 256

DOCUMENTS = tuple(field.name for field in RUN_FIELDS if field.kind == "document" and field.required)
"""The columns of JSON text."""

_REQUIRED = tuple(field.name for field in RUN_FIELDS if field.kind == "text" and field.required)
_TEXTS = tuple(
    field.name
    for field in RUN_FIELDS
    if field.kind in ("text", "time") and not field.required and field.name != "host"
)
_COUNTS = ("promised_rows", "promised_last_step", "received_rows", "received_last_step")
_NUMBERS = ("rows", "first_step", "last_step", *_COUNTS)

SCHEMA = pa.schema(
    [
        pa.field("host", pa.string()),
        *(pa.field(name, pa.string(), nullable=False) for name in _REQUIRED),
        pa.field("tags", pa.list_(pa.field("element", pa.string()))),
        *(pa.field(name, pa.string()) for name in _TEXTS),
        *(pa.field(name, pa.int64()) for name in _NUMBERS),
        pa.field("complete", pa.bool_(), nullable=False),
        pa.field("incomplete_reason", pa.string(), nullable=False),
        *(pa.field(name, pa.string(), nullable=False) for name in DOCUMENTS),
    ]
)
SWEEP_CONFIG = "sweep_config"
"""A last column, of JSON text like the documents, that a table has only where a run has the config of its sweep."""

SWEPT_SCHEMA = SCHEMA.append(pa.field(SWEEP_CONFIG, pa.string()))

LIGHT = tuple(name for name in SCHEMA.names if name not in DOCUMENTS)
"""The columns that are read when a bundle is opened."""

MAX_TEXT = 4 * 2**30
"""Bytes of text that may be in memory at once."""

_FOREIGN = (pa.ArrowException, OSError, ValueError, LookupError, TypeError, OverflowError)
"""What pyarrow raises over a file that is not what it should be."""

_TEXT_LEAVES = [
    "tags.list.element" if field.name == "tags" else field.name
    for field in SCHEMA
    if field.type == pa.string() or field.name == "tags"
]
_DICTIONARIES = [field.name for field in RUN_FIELDS if field.repetitive and field.kind != "document"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """What the table holds of one run.

    Attributes:
        rows: Rows of its history.
        first_step: The first step, or None without rows.
        last_step: The last step, or None without rows.
    """

    info: RunInfo
    coverage: Coverage
    rows: int
    first_step: int | None
    last_step: int | None


def canon_info(info: RunInfo) -> RunInfo:
    """A run's facts as a bundle gives them back: documents canonical, text without lone surrogates.

    Raises:
        DataError: A document is not JSON-like.
    """
    return info_from_fields(info_fields(info))


def info_fields(info: RunInfo) -> dict[str, Any]:
    """The columns of a run's facts, by name; `SWEEP_CONFIG` only where there is one.

    Raises:
        DataError: A document is not JSON-like.
    """
    path = info.path
    fields: dict[str, Any] = {
        "host": _text(info.host),
        "entity": canon_text(path.entity),
        "project": canon_text(path.project),
        "run_id": canon_text(path.run_id),
        "name": canon_text(info.name),
        "state": canon_text(info.state),
        "tags": [canon_text(tag) for tag in info.tags],
    }
    for name in _TEXTS:
        fields[name] = _text(getattr(info, name))
    for name in DOCUMENTS:
        fields[name] = _document_text(getattr(info, name), name, path)
    swept = info.sweep_config
    return fields if swept is None else fields | {SWEEP_CONFIG: _document_text(swept, "sweep config", path)}


def info_from_fields(fields: Mapping[str, Any]) -> RunInfo:
    """The inverse of `info_fields`.

    Raises:
        DataError: A document is not a JSON object.
    """
    rest: dict[str, Any] = {name: fields[name] for name in _TEXTS}
    rest |= {name: document_from_text(fields[name]) for name in DOCUMENTS}
    swept = fields.get(SWEEP_CONFIG)
    return RunInfo(
        path=RunPath(fields["entity"], fields["project"], fields["run_id"]),
        name=fields["name"],
        state=fields["state"],
        tags=tuple(fields["tags"] or ()),
        host=fields["host"],
        sweep_config=None if swept is None else document_from_text(swept),
        **rest,
    )


def document_from_text(text: str) -> dict[str, Any]:
    """A config, summary or the like from its JSON text, as a dict of the caller's own.

    Raises:
        DataError: It is not a JSON object.
    """
    value = parse_json(text)
    if not isinstance(value, dict):
        raise DataError("a document of a run is not a JSON object")
    return canon_record(value)


def _text(value: str | None) -> str | None:
    return None if value is None else canon_text(value)


def _document_text(value: Mapping[str, Any], name: str, path: RunPath) -> str:
    try:
        return canonical_text(canon_record(value))
    except DataError as exc:
        raise DataError(f"the {name} of run {str(path)!r} cannot be kept: {exc.message}") from exc
    except ValueError as exc:
        raise DataError(f"the {name} of run {str(path)!r} cannot be kept: {exc}") from exc


def coverage_fields(coverage: Coverage) -> dict[str, Any]:
    """The columns of a run's coverage, by name."""
    fields: dict[str, Any] = {name: getattr(coverage, name) for name in _COUNTS}
    return fields | {"complete": coverage.complete, "incomplete_reason": canon_text(coverage.reason)}


def coverage_from_fields(fields: Mapping[str, Any]) -> Coverage:
    """The inverse of `coverage_fields`."""
    return Coverage(
        promised_rows=fields["promised_rows"],
        promised_last_step=fields["promised_last_step"],
        received_rows=fields["received_rows"] or 0,
        received_last_step=fields["received_last_step"],
        complete=fields["complete"],
        reason=fields["incomplete_reason"],
    )


def encode_runs(rows: Iterable[RunRow], *, sweep_configs: bool = False) -> bytes:
    """The bytes of `runs.parquet`. Same rows, same bytes.

    Args:
        rows: The runs, in path order.
        sweep_configs: Whether one of them has the config of its sweep: then the table has the column for it.

    Raises:
        DataError: A document is not JSON-like, or a number does not fit into 64 bits.
    """
    sink, source = io.BytesIO(), iter(rows)
    schema = SWEPT_SCHEMA if sweep_configs else SCHEMA
    with pq.ParquetWriter(
        sink,
        schema,
        version="2.6",
        data_page_version="2.0",
        compression="zstd",
        compression_level=9,
        use_dictionary=[*_DICTIONARIES, SWEEP_CONFIG] if sweep_configs else _DICTIONARIES,
        write_statistics=["entity", "project", "run_id"],
        write_page_checksum=True,
        store_schema=False,
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
        return pa.Table.from_pylist(records, schema=schema)
    except (pa.ArrowException, OverflowError, UnicodeError) as exc:
        raise DataError(f"a run near {str(rows[0].info.path)!r} cannot be kept: {exc}") from exc


def _plain(table: pa.Table) -> pa.Table:
    """The table with its texts written out, once it is known that they fit: a few bytes can stand for a lot."""
    size = 0
    for column in table.columns:
        for chunk in column.chunks:
            texts = chunk.values if pa.types.is_list(chunk.type) else chunk
            if pa.types.is_dictionary(texts.type):
                size += decoded_size(texts)
    if size > MAX_TEXT:
        raise ValueError(f"its text would take {size} bytes of memory, and {MAX_TEXT} are the most")
    schema = pa.schema([SWEPT_SCHEMA.field(name) for name in table.column_names])
    columns = [
        pa.chunked_array(map(decoded, column.chunks), field.type)
        for column, field in zip(table.columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=schema)


class RunTable:
    """An opened `runs.parquet`: plain columns at hand, documents read when they are asked for.

    Args:
        data: The whole file, its hash already checked.
        rows: The runs that the manifest promises.
        path: The bundle, for messages.

    Raises:
        BundleDamagedError: It is no such table.
    """

    def __init__(self, data: bytes, *, rows: int, path: str) -> None:
        self._path = path
        try:
            source = pa.BufferReader(data)
            self._check(pq.ParquetFile(source), rows)
            leaves = [*_TEXT_LEAVES, SWEEP_CONFIG] if self._swept else _TEXT_LEAVES
            self._file = pq.ParquetFile(source, page_checksum_verification=True, read_dictionary=leaves)
            self._light = _plain(self._file.read(columns=list(LIGHT), use_threads=False))
            columns = [self._light.column(name).to_pylist() for name in ("entity", "project", "run_id")]
        except _FOREIGN as exc:
            raise self._damaged(f"cannot be read: {exc}") from exc
        self.paths: tuple[RunPath, ...] = tuple(map(RunPath, *columns))
        keys = list(zip(*columns, strict=True))
        if any(map(ge, keys, keys[1:])):
            raise self._damaged("is not in path order")
        self._reading = Lock()
        self._group = lru_cache(maxsize=4)(self._read_group)
        self._plain_group = lru_cache(maxsize=4)(self._list_group)

    def _check(self, file: pq.ParquetFile, rows: int) -> None:
        metadata = file.metadata
        if metadata.num_rows != rows:
            raise self._damaged(f"has {metadata.num_rows} runs and the manifest {rows}")
        self._swept = file.schema_arrow.equals(SWEPT_SCHEMA, check_metadata=False)
        if not self._swept and not file.schema_arrow.equals(SCHEMA, check_metadata=False):
            raise self._damaged("has other columns than a bundle's")
        groups = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
        if any(size != GROUP_ROWS for size in groups[:-1]) or any(size > GROUP_ROWS for size in groups[-1:]):
            raise self._damaged(f"is not in groups of {GROUP_ROWS} runs")

    def _damaged(self, reason: str) -> BundleDamagedError:
        return BundleDamagedError(f"{self._path!r} is damaged: {RUNS} {reason}", path=self._path, member=RUNS)

    def _list_group(self, number: int) -> dict[str, list[Any]]:
        listed: dict[str, list[Any]] = self._light.slice(number * GROUP_ROWS, GROUP_ROWS).to_pydict()
        return listed

    def _read_group(self, number: int) -> pa.Table:
        try:
            # Two threads that read from one ParquetFile at once crash the process.
            with self._reading:
                columns = [*DOCUMENTS, SWEEP_CONFIG] if self._swept else list(DOCUMENTS)
                return _plain(self._file.read_row_group(number, columns=columns, use_threads=False))
        except _FOREIGN as exc:
            raise self._damaged(f"cannot be read: {exc}") from exc

    def column(self, name: str) -> list[Any]:
        """A plain column's values, one a run."""
        values: list[Any] = self._light.column(name).to_pylist()
        return values

    def value(self, name: str, index: int) -> Any:
        """A plain column's value for one run."""
        return self._plain_group(index // GROUP_ROWS)[name][index % GROUP_ROWS]

    def document(self, name: str, index: int) -> dict[str, Any]:
        """One of `DOCUMENTS` of one run, parsed anew each time; `SWEEP_CONFIG` where it has one.

        Raises:
            BundleDamagedError: It cannot be read.
        """
        text = self._group(index // GROUP_ROWS).column(name)[index % GROUP_ROWS].as_py()
        try:
            return document_from_text(text)
        except DataError as exc:
            raise self._damaged(f"holds a {name} that cannot be read: {exc.message}") from exc

    def sweep_config(self, index: int) -> dict[str, Any] | None:
        """The config of one run's sweep, parsed anew each time; None where there is none.

        Raises:
            BundleDamagedError: It cannot be read.
        """
        held = (
            self._swept and self._group(index // GROUP_ROWS).column(SWEEP_CONFIG)[index % GROUP_ROWS].is_valid
        )
        return self.document(SWEEP_CONFIG, index) if held else None

    def row(self, index: int) -> RunRow:
        """All of one run.

        Raises:
            BundleDamagedError: A document of it cannot be read.
        """
        group, place = index // GROUP_ROWS, index % GROUP_ROWS
        light = {name: values[place] for name, values in self._plain_group(group).items()}
        documents = self._group(group)
        texts = {name: documents.column(name)[place].as_py() for name in documents.column_names}
        try:
            info = info_from_fields(light | texts)
        except DataError as exc:
            raise self._damaged(f"holds a document that cannot be read: {exc.message}") from exc
        return RunRow(
            info=info,
            coverage=coverage_from_fields(light),
            rows=light["rows"],
            first_step=light["first_step"],
            last_step=light["last_step"],
        )

    def rows(self) -> Iterator[RunRow]:
        """All runs in path order, one group in memory at a time."""
        return map(self.row, range(len(self.paths)))
