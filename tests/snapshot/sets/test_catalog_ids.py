"""Runs are found by their ids in the pages of a catalog, however the pages are stored."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from setkit import grown_bundle

from pull_logs.errors import BundleDamagedError
from pull_logs.snapshot import add_bundles, open_store
from pull_logs.snapshot.sets.catalog import Catalog
from pull_logs.snapshot.sets.catalog_schema import METADATA, REPEATED

IDS = ("a", "a\1\0\0\0a", "ab", "abc", "b", "bc", "x" * 300, "é", "\U0001f642")
FORMS: dict[str, dict[str, Any]] = {
    "as the writer does": {"data_page_version": "2.0"},
    "pages of version 1": {"data_page_version": "1.0"},
    "several pages": {"data_page_version": "2.0", "data_page_size": 1, "write_batch_size": 1},
    "not compressed": {"data_page_version": "2.0", "compression": "none"},
    "compressed by another codec": {"data_page_version": "2.0", "compression": "snappy"},
}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The catalog of a set that has every id in two projects."""
    folder = tmp_path_factory.mktemp("ids")
    bundle = grown_bundle(
        folder / "a.wandb.zip", {f"e/{project}/{name}": 0 for project in "pq" for name in IDS}
    )
    add_bundles(open_store(folder / "set", create=True), [bundle], keep=True)
    return (folder / "set" / "catalog-00000001.parquet").read_bytes()


def written(data: bytes, rows: list[int], **options: Any) -> bytes:
    """Return the catalog of these rows, written in another way."""
    table, out = pq.read_table(BytesIO(data)), BytesIO()
    plain = table.take(pa.array(rows, pa.int64())).replace_schema_metadata()
    known = {"compression": "zstd", "use_dictionary": [*REPEATED], "write_page_checksum": True}
    with pq.ParquetWriter(out, plain.schema, **{**known, **options}) as writer:
        writer.write_table(plain)
        writer.add_key_value_metadata({METADATA: table.schema.metadata[METADATA]})
    return out.getvalue()


@given(
    rows=st.sets(st.integers(0, 2 * len(IDS) - 1), min_size=1),
    form=st.sampled_from(sorted(FORMS)),
    asked=st.sampled_from((*IDS, "", "c", "\0", "\ud800")),
    project=st.sampled_from(["", "p/", "q/", "r/"]),
)
@example(rows={0, 1, 9}, form="not compressed", asked="a", project="")
def test_the_runs_with_an_id_are_those_that_a_scan_of_all_rows_finds(
    honest: bytes, rows: set[int], form: str, asked: str, project: str
) -> None:
    """Whether other ids contain it or not, and also when it is looked up again."""
    data = written(honest, sorted(rows), **FORMS[form])
    catalog = Catalog(pa.BufferReader(data), path="catalog", version=1)
    expected = [
        row
        for row, path in enumerate(catalog.paths())
        if path.run_id == asked and project in ("", f"{path.project}/")
    ]
    assert catalog.find_short(project + asked) == expected
    assert catalog.find_short(project + asked) == expected


@pytest.mark.parametrize("form", ["as the writer does", "not compressed"])
def test_a_changed_byte_of_an_id_is_damage(honest: bytes, form: str) -> None:
    """No run is reported as missing because its id was changed."""
    data = written(honest, [0, 9], **FORMS[form], write_statistics=False)
    group = pq.read_metadata(BytesIO(data)).row_group(0)
    column = next(
        group.column(number)
        for number in range(group.num_columns)
        if group.column(number).path_in_schema == "run_id"
    )
    end = column.data_page_offset + column.total_compressed_size - 1
    changed = data[:end] + bytes([data[end] ^ 1]) + data[end + 1 :]
    catalog = Catalog(pa.BufferReader(changed), path="catalog", version=1)
    with pytest.raises(BundleDamagedError) as caught:
        catalog.find_short("a")
    assert caught.value.message.startswith("'catalog' is damaged: ")
    assert "CRC checksum verification failed" in caught.value.message
