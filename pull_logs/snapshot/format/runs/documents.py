"""The documents of the runs of a table, read on request: config, summary, metadata."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Any

import pyarrow as pa

from pull_logs.errors import DataError
from pull_logs.rows.arrow import ARROW_ERRORS
from pull_logs.rows.coded_text import shared_texts
from pull_logs.rows.limits import MAX_DOCUMENT
from pull_logs.snapshot.format.parquet_pages import plain_texts
from pull_logs.snapshot.format.run_record import DOCUMENTS, SWEEP_CONFIG
from pull_logs.snapshot.format.runs.table_file import GROUP_ROWS, TableFile, damaged_table

_KEPT_DOCUMENTS = 32 * 2**20
"""Bytes of documents that are kept for the next runs; a column with more of them is read text by text."""

_LISTED = 2**20
"""Up to this many bytes of documents, a column of a row group is kept as Python texts."""


class Documents:
    """The documents of the runs, as texts.

    The columns of the row groups that were read last are kept, each distinct text once. A column with very
    much text is read one text after the other. Several threads may read at once.

    Attributes:
        names: The columns of documents.
    """

    def __init__(self, file: TableFile, sizes: Sequence[Mapping[str, int]]) -> None:
        self.names = tuple(name for name in (*DOCUMENTS, SWEEP_CONFIG) if name in file.names)
        self._file, self._sizes = file, sizes
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
            raise damaged_table(
                self._file.path, f"holds a {name} that cannot be read: {exc.message}"
            ) from exc
        except ARROW_ERRORS as exc:
            raise damaged_table(self._file.path, f"cannot be read: {exc}") from exc
        return decoded_text

    def _read(self, group: int, name: str) -> Sequence[Any]:
        others = sum(self._sizes[kept][name] for kept, name in self._kept if kept != group)
        if others > _KEPT_DOCUMENTS:
            self._kept = {key: column for key, column in self._kept.items() if key[0] == group}
        column = self._file.read([group], [name]).column(0)
        found = self._kept[group, name] = _listed_texts(column)
        return found

    def _stream(self, group: int, name: str) -> _TextStream:
        stream = self._streams.get(name)
        if stream is None or stream.group != group:
            file = self._file
            opened = partial(plain_texts, file.data, file.names, group=group, name=name, most=MAX_DOCUMENT)
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
