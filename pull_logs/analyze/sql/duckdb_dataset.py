"""The view `history` as a dataset of pyarrow, which every release of DuckDB reads (see `duckdb_source`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.dataset as ds

if TYPE_CHECKING:
    import pyarrow.compute as pc

    from pull_logs.analyze.sql.history import HistoryView


class _Reads(Protocol):
    """What DuckDB calls the result of `scanner`."""

    def to_reader(self) -> pa.RecordBatchReader:
        """Return the batches."""


@dataclass(frozen=True, slots=True)
class _Scanner:
    reader: pa.RecordBatchReader

    def to_reader(self) -> pa.RecordBatchReader:
        """Return the batches."""
        return self.reader


class HistoryDataset(ds.Dataset):  # type: ignore[misc]
    """The rows of a view; only the columns that a query names are read."""

    def __init__(self, view: HistoryView) -> None:
        self._view = view

    @property
    def schema(self) -> pa.Schema:
        """All columns."""
        return self._view.schema

    def scanner(
        self,
        columns: Sequence[str] | None = None,
        filter: pc.Expression | None = None,  # noqa: A002 - the name in pyarrow
        **_options: Any,
    ) -> _Reads:
        """Return what reads these columns of the rows for which the filter holds; all columns if None."""
        names = self.schema.names
        wanted = names if columns is None else list(columns)
        if filter is None:
            return _Scanner(self._view.reader(wanted))
        # The names of columns are part of the text of a filter; one that only looks like it is read too.
        read = [name for name in names if name in wanted or name in str(filter)]
        shown = pa.schema([self.schema.field(name) for name in wanted])
        batches = _filtered(self._view.reader(read), filter, wanted)
        return _Scanner(pa.RecordBatchReader.from_batches(shown, batches))


def _filtered(
    reader: pa.RecordBatchReader, keep: pc.Expression, wanted: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    for batch in reader:
        yield from pa.Table.from_batches([batch]).filter(keep).select(wanted).to_batches()
