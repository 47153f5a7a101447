"""Write a version of a catalog, of which one row group is in memory at a time.

Its bytes depend on its rows alone, however many versions there were before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pull_logs.rows.arrays import array_of
from pull_logs.runs import RunPath
from pull_logs.snapshot.format import FILE_OPTIONS
from pull_logs.snapshot.sets.catalog import Catalog
from pull_logs.snapshot.sets.catalog_schema import (
    FIXED,
    GROUP_ROWS,
    JSON_ENDING,
    METADATA,
    REPEATED,
    TYPES,
    metadata_of,
    schema_of,
)
from pull_logs.snapshot.sets.entries import DOCUMENTS, KEYS, CatalogEntry
from pull_logs.snapshot.sets.leaf_counts import (
    Counts,
    LeafKind,
    Leaves,
    count_leaves,
    kind_of,
    leaves_of,
    typed_keys,
)


def write_catalog(file: Path, old: Catalog | None, changes: Mapping[RunPath, CatalogEntry | None]) -> None:
    """Write the next version of a catalog.

    Args:
        file: A new file.
        old: The version before; None for the first one.
        changes: The new rows by their runs; None for a run that is dropped.

    Raises:
        BundleDamagedError: The version before is damaged.
        DataError: A config or summary is not a JSON object.
        OSError: The file cannot be written.
    """
    new = [entry for _, entry in sorted(changes.items()) if entry is not None]
    leaves = [leaves_of(entry.config, entry.summary) for entry in new]
    gone = {} if old is None else old.locate(changes)
    counts = _counts(old, gone.values(), leaves)
    typed = typed_keys(counts)
    added = _entry_table(new, leaves, typed)
    write_tables(file, _merged(old, frozenset(gone.values()), added, typed), counts)


def write_tables(file: Path, tables: Iterable[pa.Table], counts: Counts) -> None:
    """Write a catalog.

    Args:
        file: A new file.
        tables: The rows in order, in tables of any size, with the columns of `schema_of`.
        counts: How many runs have each key of their config and summary, by the kind of the value.

    Raises:
        OSError: The file cannot be written.
    """
    typed = typed_keys(counts)
    schema = schema_of(typed)
    with pq.ParquetWriter(
        str(file),
        schema,
        **FILE_OPTIONS,
        use_dictionary=[*REPEATED, *(name for name, kind in typed.items() if kind == "text")],
        write_statistics=list(KEYS),
    ) as writer:
        for table in _regrouped(tables):
            writer.write_table(table.cast(schema), row_group_size=GROUP_ROWS)
        writer.add_key_value_metadata({METADATA: metadata_of(counts)})


def _counts(old: Catalog | None, gone: Iterable[int], leaves: Iterable[Leaves]) -> Counts:
    """Return the counts of the keys of the next version."""
    gone = frozenset(gone)
    if old is None or old.counts is not None:
        counts = {} if old is None or old.counts is None else {k: [*v] for k, v in old.counts.items()}
        for index in gone:
            assert old is not None  # noqa: S101 - for the type checker: no run is gone from nothing
            count_leaves(counts, leaves_of(*old.documents(index)), -1)
    else:  # there were too many keys to keep their counts
        counts = {}
        for index in range(len(old)):
            if index not in gone:
                count_leaves(counts, leaves_of(*old.documents(index)), 1)
    for one in leaves:
        count_leaves(counts, one, 1)
    return counts


def _entry_table(
    entries: Sequence[CatalogEntry], leaves: Sequence[Leaves], typed: Mapping[str, LeafKind]
) -> pa.Table:
    records = [
        {**entry.facts, **asdict(entry.location), "config_json": entry.config, "summary_json": entry.summary}
        for entry in entries
    ]
    columns = [array_of([record[field.name] for record in records], field.type) for field in FIXED]
    columns += [_typed_array(leaves, name, kind) for name, kind in typed.items()]
    return pa.Table.from_arrays(columns, schema=schema_of(typed))


def _typed_array(leaves: Sequence[Leaves], name: str, kind: LeafKind) -> pa.Array:
    cells = (one.get(name) for one in leaves)
    fitting = [None if cell is None or kind_of(cell) != kind else cell for cell in cells]
    if kind == "number":
        fitting = [None if cell is None else float(cell) for cell in fitting]
    return array_of(fitting, TYPES[kind])


def _merged(
    old: Catalog | None, gone: frozenset[int], added: pa.Table, typed: Mapping[str, LeafKind]
) -> Iterator[pa.Table]:
    """Iterate over the rows of the next version in order, in tables of any size."""
    paths = list(zip(*(added.column(name).to_pylist() for name in KEYS), strict=True))
    done = 0
    for group in range(0 if old is None else old.groups):
        assert old is not None  # noqa: S101 - for the type checker: without one there are no groups
        keys, start = old.keys(group), group * GROUP_ROWS
        table = _with_typed(old.table(group), old.typed, typed)
        kept = [row for row in range(len(keys)) if start + row not in gone]
        if len(kept) < len(keys):
            table = table.take(pa.array(kept, pa.int64()))
        until = done
        while until < len(paths) and paths[until] < keys[-1]:
            until += 1
        if until > done:
            joined = pa.concat_tables([table, added.slice(done, until - done)])
            table = joined.sort_by([(name, "ascending") for name in KEYS])
        done = until
        yield table
    if done < len(paths):
        yield added.slice(done)


def _with_typed(table: pa.Table, before: Mapping[str, LeafKind], typed: Mapping[str, LeafKind]) -> pa.Table:
    """Return a row group with other typed columns; those that it does not have are read from its JSON."""
    columns = [table.column(field.name) for field in FIXED]
    leaves: list[Leaves] | None = None
    for name, kind in typed.items():
        if before.get(name) == kind:
            columns.append(table.column(name))
            continue
        if leaves is None:
            texts = (table.column(f"{document}{JSON_ENDING}").to_pylist() for document in DOCUMENTS)
            leaves = [leaves_of(config, summary) for config, summary in zip(*texts, strict=True)]
        columns.append(pa.chunked_array([_typed_array(leaves, name, kind)]))
    return pa.Table.from_arrays(columns, schema=schema_of(typed))


def _regrouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Divide rows into row groups."""
    held: list[pa.Table] = []
    count = 0
    for table in tables:
        held.append(table)
        count += table.num_rows
        if count >= GROUP_ROWS:
            joined = pa.concat_tables(held).combine_chunks()
            full = count - count % GROUP_ROWS
            for start in range(0, full, GROUP_ROWS):
                yield joined.slice(start, GROUP_ROWS)
            held, count = [joined.slice(full)], count - full
    if count:
        yield pa.concat_tables(held).combine_chunks()


def wrong_parts(catalog: Catalog) -> Iterator[str]:
    """Iterate over what is wrong in the parts of a catalog that repeat its rows, in one sentence each.

    These are the columns of single keys and the counts of keys, which filters use, and the statistics, by
    which runs are looked up.

    Raises:
        BundleDamagedError: The catalog is damaged.
        DataError: A config or summary is not a JSON object.
    """
    counts: Counts = {}
    for group in range(catalog.groups):
        table = catalog.table(group)
        right = _with_typed(table, {}, catalog.typed)
        wrong = [name for name in catalog.typed if not _same(table.column(name), right.column(name))]
        yield from (f"its column {name!r} does not have the values of the runs" for name in wrong)
        texts = (table.column(f"{document}{JSON_ENDING}").to_pylist() for document in DOCUMENTS)
        for config, summary in zip(*texts, strict=True):
            count_leaves(counts, leaves_of(config, summary), 1)
        paths = catalog.keys(group)
        if any(catalog.find(path) is None for path in (*paths[:1], *paths[-1:])):
            yield f"the statistics of row group {group} do not have its runs"
    if catalog.counts is not None and counts != catalog.counts:
        yield "its counts of keys are not those of the runs"


def _same(left: pa.ChunkedArray, right: pa.ChunkedArray) -> bool:
    return repr(left.to_pylist()) == repr(right.to_pylist())  # NaN is itself
