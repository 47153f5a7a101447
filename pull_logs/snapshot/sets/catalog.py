"""Read a version of the catalog of a bundle set.

Opening reads the footer alone. A run is looked up in one row group, and a column of all runs is read when it
is first used.

The file is untrusted: the headers of pages are checked before they are decompressed, so that memory is
bounded, and the names of members are checked, so that none is outside the set.
"""

from __future__ import annotations

import hashlib
import json
import os
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import product
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pull_logs.errors import (
    BundleDamagedError,
    DataError,
    FormatTooNewError,
    PullLogsError,
    UnsafeFileError,
)
from pull_logs.rows.arrays import array_of
from pull_logs.rows.arrow import ARROW_ERRORS, open_parquet
from pull_logs.rows.coded_text import row_text_bytes, shared_texts
from pull_logs.runs import RunPath
from pull_logs.snapshot.format import (
    BUNDLE_ENDING,
    LIGHT,
    Chunk,
    LeafColumn,
    Page,
    check_described_chunks,
    last_bytes,
    plain_page_bytes,
    walk_pages,
)
from pull_logs.snapshot.sets.catalog_schema import (
    FORMAT_NAME,
    FORMAT_VERSION,
    GROUP_ROWS,
    JSON_ENDING,
    METADATA,
    NUMBERS,
    REPEATED,
    schema_of,
)
from pull_logs.snapshot.sets.entries import KEYS, LOCATION, OPTIONAL, CatalogEntry, RunLocation
from pull_logs.snapshot.sets.leaf_counts import KINDS, Counts, exact_keys, typed_keys
from pull_logs.suggestions import shortened

_MAX_GROUP = 2**32
"""The most bytes of text of a row group that is copied."""

_KEPT_CELLS, _KEPT_KEYS = 64, 32
"""Columns of row groups, and row groups with their paths, that are kept as Python values."""

_MAX_CHUNK = 2**30
"""The most bytes of a column of a row group."""

_MAX_TAGS = 1000
"""The most tags that a run has on average in a row group."""

_FEW = 64
"""Up to this many runs are looked up one by one."""


class Catalog:
    """A version of the catalog of a set. Several threads may read from it at once.

    Args:
        source: The file.
        path: The catalog, for messages.
        version: Its version.

    Attributes:
        path: As given.
        version: As given.
        groups: The number of row groups.
        counts: How many runs have each key of their config and summary; None if there are too many keys.
        typed: The keys that have a column of their own, and their kinds.

    Raises:
        FormatTooNewError: It has a later format version.
        BundleDamagedError: It is damaged.
        UnsafeFileError: It is not a catalog.
    """

    def __init__(self, source: pa.NativeFile, *, path: str, version: int) -> None:
        self.path, self.version = path, version
        self._source = source
        self._lock = Lock()
        with self._errors():
            texts = [name for name in REPEATED if name != "tags"]
            self._file = open_parquet(source, page_checksum_verification=True, read_dictionary=texts)
            self._coded = frozenset(texts)
            self._checked: set[tuple[int, str]] = set()
            self._names = {name: position for position, name in enumerate(self._file.schema_arrow.names)}
            self._length = int(self._file.metadata.num_rows)
            self.groups = int(self._file.metadata.num_row_groups)
            self.counts = self._read_counts()
            self.typed = typed_keys(self.counts or {})
            self._check()
        self.exact = frozenset(exact_keys(self.counts or {}))
        self._columns: dict[str, pa.ChunkedArray] = {}
        self._ids: list[list[bytes] | None] | None = None
        self.keys: Callable[[int], list[RunPath]] = lru_cache(_KEPT_KEYS)(self._keys)
        self.cells: Callable[[str, int], Sequence[Any]] = lru_cache(_KEPT_CELLS)(self._cells)

    def __len__(self) -> int:
        return self._length

    def _read_counts(self) -> Counts | None:
        text = (self._file.metadata.metadata or {}).get(METADATA)
        found = json.loads(text) if text else {}
        if found.get("format") != FORMAT_NAME:
            raise UnsafeFileError(f"{self.path!r} is not the catalog of a bundle set")
        if found["version"] > FORMAT_VERSION:
            raise FormatTooNewError(
                f"{self.path!r} has format version {found['version']}, and this release reads"
                f" {FORMAT_VERSION}",
                hint="install a later release: pip install -U wandb-pull-logs",
            )
        keys = found["keys"]
        if keys is not None and any(
            not isinstance(count, list)
            or len(count) != len(KINDS)
            or not all(isinstance(one, int) and one >= 0 for one in count)
            for count in keys.values()
        ):
            raise ValueError("its counts of keys are not valid")
        return keys  # type: ignore[no-any-return]

    def _check(self) -> None:
        """Check the columns and the row groups."""
        expected = schema_of(self.typed)
        found = self._file.schema_arrow
        plain = pa.schema([pa.field(one.name, _plain_type(one.type), nullable=one.nullable) for one in found])
        if not plain.equals(expected, check_metadata=False):
            raise ValueError("it has other columns than a catalog")
        metadata = self._file.metadata
        sizes = [metadata.row_group(group).num_rows for group in range(self.groups)]
        if any(size != GROUP_ROWS for size in sizes[:-1]) or any(size > GROUP_ROWS for size in sizes[-1:]):
            raise ValueError(f"it is not in groups of {GROUP_ROWS} runs")
        if min(sizes, default=0) < 0 or sum(sizes) != self._length:
            raise ValueError("it has another number of runs than its groups")
        columns = map(self._file.schema.column, range(len(self._file.schema)))
        described = [
            LeafColumn(one.path, one.max_repetition_level, one.max_definition_level, one.physical_type)
            for one in columns
        ]
        check_described_chunks(last_bytes(self._source), described)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except DataError as exc:
            raise BundleDamagedError(f"{self.path!r} is damaged: {exc.message}", path=self.path) from exc
        except PullLogsError:
            raise
        except ARROW_ERRORS as exc:
            raise BundleDamagedError(f"{self.path!r} is damaged: {exc}", path=self.path) from exc

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()
            self._source.close()

    def _read(self, groups: Sequence[int], names: Sequence[str]) -> pa.Table:
        with self._errors(), self._lock:
            for group, name in product(groups, names):
                if (group, name) not in self._checked:
                    self._check_pages(group, name)
                    self._checked.add((group, name))
            expanded = [name for name in names if self.typed.get(name) == "text"]
            if expanded:
                self._check_texts(groups, expanded)
            found = self._file.read_row_groups(list(groups), columns=list(names), use_threads=False)
            rows = sum(self._file.metadata.row_group(group).num_rows for group in groups)
            if found.num_rows != rows or any(len(column) != rows for column in found.columns):
                raise ValueError(f"it does not have {rows} rows in every column")
            if "member" in names:
                _check_members(found.column("member"))
            return found.select(list(names))

    def _check_pages(self, group: int, name: str) -> None:
        """Check the headers of the pages of a column in a row group before they are decompressed.

        A page that is read as text must not be encoded with a dictionary, with which it would expand.
        """
        chunk = self._chunk(group, name)
        if isinstance(self._source, pa.PythonFile):  # by one request, whose bytes are kept for the decoder
            self._source.read_at(chunk.end - chunk.start, chunk.start)
        self._check_sizes(chunk, walk_pages(lambda offset, size: self._source.read_at(size, offset), chunk))

    def _chunk(self, group: int, name: str) -> Chunk:
        """Return the byte range of a column in a row group."""
        # Every column but `tags` is one leaf, and `tags` is one too.
        column = self._file.metadata.row_group(group).column(self._names[name])
        start = column.data_page_offset
        if column.has_dictionary_page and 0 < column.dictionary_page_offset < start:
            start = column.dictionary_page_offset
        chunk = Chunk(group, name, start, start + column.total_compressed_size)
        if not 0 <= chunk.start <= chunk.end <= self._source.size():
            raise ValueError(f"its column {name!r} is not in the file")
        return chunk

    def _check_sizes(self, chunk: Chunk, pages: Iterable[Page]) -> None:
        """Check what the headers of the pages of a column say."""
        name, rows = chunk.column, self._file.metadata.row_group(chunk.row_group).num_rows
        decoded = values = 0
        for page in pages:
            decoded, values = decoded + page.decoded, values + page.values
            if not page.values and page.decoded and self._is_plain_text(name):
                raise ValueError(f"its column {name!r} is encoded with a dictionary")
        if decoded > _MAX_CHUNK:
            raise ValueError(f"its column {name!r} has more than {_MAX_CHUNK} bytes in a row group")
        if values > rows * (_MAX_TAGS if name == "tags" else 1):
            raise ValueError(f"its column {name!r} has more values than rows")

    def _is_plain_text(self, name: str) -> bool:
        """Return whether a column has texts that are decoded one by one."""
        return name not in self._coded and name not in self.typed and name not in NUMBERS and name != "tags"

    def _check_texts(self, groups: Sequence[int], names: Sequence[str]) -> None:
        """Check how many bytes of text columns have whose dictionaries are expanded."""
        coded = open_parquet(self._source, metadata=self._file.metadata, read_dictionary=list(names))
        for group in groups:
            table = coded.read_row_group(group, columns=list(names), use_threads=False)
            if int(row_text_bytes(table).sum()) > _MAX_CHUNK:
                raise ValueError(f"its row group {group} has more than {_MAX_CHUNK} bytes of text")

    def _cells(self, name: str, group: int) -> Sequence[Any]:
        column = self._read([group], [name]).column(0)
        with self._errors():
            if pa.types.is_dictionary(column.type):
                return shared_texts(column).tolist()  # type: ignore[no-any-return]
            return column.to_pylist()  # type: ignore[no-any-return]

    def _keys(self, group: int) -> list[RunPath]:
        keys = list(map(RunPath, *(self.cells(name, group) for name in KEYS)))
        if keys != sorted(set(keys)):
            raise BundleDamagedError(f"{self.path!r} is damaged: it is not in path order", path=self.path)
        return keys

    def table(self, group: int) -> pa.Table:
        """Return all columns of a row group, texts as texts."""
        table = self._read([group], self._file.schema_arrow.names)
        with self._errors():
            if int(row_text_bytes(table).sum()) > _MAX_GROUP:
                raise ValueError(f"its row group {group} has more than {_MAX_GROUP} bytes of text")
            return table.cast(schema_of(self.typed))

    def value(self, name: str, index: int) -> Any:
        """Return the cell of a run in a column."""
        group, row = divmod(index, GROUP_ROWS)
        return self.cells(name, group)[row]

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column of all runs; repeated texts are dictionaries."""
        if name not in self._columns:
            self._columns[name] = self._read(range(self.groups), [name]).column(0)
        return self._columns[name]

    def documents(self, index: int) -> tuple[str, str]:
        """Return the JSON of the config and the summary of a run."""
        return self.document("config", index), self.document("summary", index)

    def document(self, name: str, index: int) -> str:
        """Return the JSON of the config or the summary of a run."""
        text: str = self.value(f"{name}{JSON_ENDING}", index)
        return text

    def documents_with(self, name: str, text: str) -> Iterator[tuple[int, str]]:
        """Iterate over the JSON of the configs or summaries that contain a text, each with its row."""
        for group in range(self.groups):
            column = self._read([group], [f"{name}{JSON_ENDING}"]).column(0)
            rows = pc.indices_nonzero(pc.match_substring(column, text).combine_chunks())
            with self._errors():
                found = column.take(rows).to_pylist()
            yield from zip((group * GROUP_ROWS + row for row in rows.to_pylist()), found, strict=True)

    def path_at(self, index: int) -> RunPath:
        """Return the path of the run in a row."""
        entity, project, run_id = (self.value(name, index) for name in KEYS)
        return RunPath(entity, project, run_id)

    def paths(self) -> Iterator[RunPath]:
        """Iterate over the paths of all runs, in order."""
        for group in range(self.groups):
            yield from self.keys(group)

    def entry(self, index: int) -> CatalogEntry:
        """Return the row of a run."""
        config, summary = self.documents(index)
        return CatalogEntry(
            path=self.path_at(index),
            facts={name: self.value(name, index) for name in (*LIGHT, *OPTIONAL)},
            config=config,
            summary=summary,
            location=self.location(index),
        )

    def location(self, index: int) -> RunLocation:
        """Return where a run is stored."""
        found = RunLocation(**{name: self.value(name, index) for name in LOCATION})
        if found.history_offset < 0 or found.history_bytes < 0:
            raise BundleDamagedError(
                f"{self.path!r} is damaged: a history has a negative position or size", path=self.path
            )
        return found

    def member_of(self, index: int) -> tuple[str, str]:
        """Return the name and the identity of the member of a run."""
        return self.value("member", index), self.value("bundle_id", index)

    def entries(self) -> Iterator[CatalogEntry]:
        """Iterate over the rows of all runs, in path order."""
        return map(self.entry, range(len(self)))

    def find(self, path: RunPath) -> int | None:
        """Return the row of a run; None if there is none."""
        key = (path.entity, path.project, path.run_id)
        for group in range(self.groups):
            if self._may_have(group, key):
                keys = self.keys(group)
                row = bisect_left(keys, key)
                if row < len(keys) and keys[row] == key:
                    return group * GROUP_ROWS + row
        return None

    def rows_of_project(self, entity: str, project: str) -> Iterator[int]:
        """Iterate over the rows of the runs of a project, in path order; only their row groups are read."""
        wanted = (entity, project)
        for group in range(self.groups):
            if self._may_have(group, wanted):
                keys = self.keys(group)
                start = bisect_left(keys, (entity, project, ""))
                for row in range(start, len(keys)):
                    if keys[row][:2] != wanted:
                        break
                    yield group * GROUP_ROWS + row

    def locate(self, paths: Collection[RunPath]) -> dict[RunPath, int]:
        """Return the rows of those of these runs that it has."""
        if len(paths) <= _FEW:
            return {path: index for path in paths if (index := self.find(path)) is not None}
        wanted = {*paths}
        return {
            key: group * GROUP_ROWS + row
            for group in range(self.groups)
            for row, key in enumerate(self.keys(group))
            if key in wanted
        }

    def find_short(self, name: str) -> list[int]:
        """Return the rows of the runs with this `run_id` or `project/run_id`."""
        project, _, run_id = name.rpartition("/")
        # As texts are stored: the size in four bytes, then the text.
        text = run_id.encode(errors="surrogatepass")
        stored = len(text).to_bytes(4, "little") + text
        return [
            row
            for group, pages in enumerate(self._stored_ids())
            if pages is None or any(stored in page for page in pages)
            for row, found in enumerate(self.cells("run_id", group), group * GROUP_ROWS)
            if found == run_id and (not project or self.value("project", row) == project)
        ]

    def _stored_ids(self) -> list[list[bytes] | None]:
        """Return the pages of the ids of each row group as they are stored; None for one of another form.

        They are not decoded: searching a million of them takes a few milliseconds, and decoding them thirty.
        """
        with self._errors(), self._lock:
            if self._ids is None:
                self._ids = [self._stored_pages(self._chunk(group, "run_id")) for group in range(self.groups)]
            return self._ids

    def _stored_pages(self, chunk: Chunk) -> list[bytes] | None:
        start = chunk.start
        data: bytes = self._source.read_at(chunk.end - start, start)
        pages = list(walk_pages(lambda offset, size: data[offset - start : offset - start + size], chunk))
        self._check_sizes(chunk, pages)
        found = [plain_page_bytes(data, start, page) for page in pages]
        known = [one for one in found if one is not None]
        return known if len(known) == len(found) else None

    def _may_have(self, group: int, key: Sequence[str]) -> bool:
        metadata = self._file.metadata.row_group(group)
        for name, wanted in zip(KEYS, key, strict=False):
            found = metadata.column(self._names[name]).statistics
            if found is None or not found.has_min_max:
                continue
            with self._errors():  # those of a damaged footer may not be UTF-8
                if not found.min <= wanted <= found.max:
                    return False
        return True

    def identity(self) -> str:
        """Return the identity of the version: a hash of what each run is and where it is stored."""
        digest = hashlib.sha256()
        for group in range(self.groups):
            names = (*KEYS, "member", "bundle_id", "data_hash", "history_offset")
            for row in zip(*(self.cells(name, group) for name in names), strict=True):
                digest.update(json.dumps(row).encode())
        return f"sha256:{digest.hexdigest()}"

    def member_ids(self) -> list[tuple[str, str]]:
        """Return the name and the identity of each member, in the order of the names."""
        found = {
            (name, identity)
            for group in range(self.groups)
            for name, identity in zip(
                self.cells("member", group), self.cells("bundle_id", group), strict=True
            )
        }
        return sorted(found)

    def members(self) -> Mapping[str, int]:
        """Return the members that it refers to, and how many runs it has in each."""
        counted = pc.value_counts(_texts(self.column("member")))
        return {one["values"]: one["counts"] for one in counted.to_pylist()}


def _check_members(column: pa.ChunkedArray) -> None:
    """Check that members are bundles in the folder of the set.

    Raises:
        ValueError: A member cannot have its name.
    """
    for chunk in column.chunks:
        for name in chunk.dictionary.to_pylist():
            if not is_set_member(name):
                raise ValueError(f"{shortened(name)!r} is not the name of a member")


def is_set_member(name: str) -> bool:
    """Return whether a name is that of a bundle in a set, or in a folder below it."""
    parts = name.split("/")
    windows = os.name == "nt" and any(mark in name for mark in "\\:")
    allowed = {"", ".", ".."}.isdisjoint(parts) and "\0" not in name
    return name.endswith(BUNDLE_ENDING) and allowed and not windows


def _scalar(text: str) -> pa.StringScalar:
    """Return a text as Arrow has it; Arrow's own conversion imports pandas."""
    return array_of([text], pa.string())[0]


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
