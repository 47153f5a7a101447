"""A catalog from a stranger: an error of ours or the right answer, and memory that is bounded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bundlekit import bundle_run, make_bundle
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pull_logs.cli.main import main
from pull_logs.errors import BundleDamagedError, PullLogsError
from pull_logs.runs import RunPath
from pull_logs.snapshot import add_bundles, open_bundle_set, open_store
from pull_logs.snapshot.sets import catalog as catalog_module
from pull_logs.snapshot.sets.catalog import Catalog, is_set_member
from pull_logs.snapshot.sets.catalog_schema import METADATA, REPEATED

RUNS = [bundle_run(f"acme/nano/r{number}", config={"lr": number / 2, "opt": "adam"}) for number in range(4)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of one member."""
    folder = tmp_path_factory.mktemp("hostile") / "set"
    add_bundles(
        open_store(folder, create=True), [make_bundle(folder.with_name("a.wandb.zip"), RUNS)], keep=True
    )
    return folder


@pytest.fixture(scope="module")
def honest(folder: Path) -> bytes:
    """The catalog of that set."""
    return (folder / "catalog-00000001.parquet").read_bytes()


def everything(data: bytes) -> object:
    """Read all that a catalog has."""
    catalog = Catalog(pa.BufferReader(data), path="catalog", version=1)
    tables = [catalog.table(group).to_pylist() for group in range(catalog.groups)]
    columns = [catalog.column(name).to_pylist() for name in catalog.typed]
    found = catalog.find(RunPath("acme", "nano", "r1")), catalog.find_short("r2"), catalog.identity()
    return repr((tables, columns, found, list(catalog.entries()), catalog.members(), catalog.member_ids()))


@given(
    flips=st.lists(st.tuples(st.integers(0), st.integers(1, 255)), min_size=1, max_size=3),
    cut=st.integers(-3, 3),
)
@example(flips=[(1_218_600_637_631, 128)], cut=0)  # in the statistics: no UTF-8
@settings(deadline=None, max_examples=100)
def test_changed_bytes_are_an_error_of_ours_or_an_answer(
    honest: bytes, flips: list[tuple[int, int]], cut: int
) -> None:
    """Wherever they are; what the checksums of pages do not have, `verify` compares."""
    data = bytearray(honest)
    for offset, change in flips:
        data[offset % len(data)] ^= change
    changed = bytes(data[: len(data) + cut]) if cut < 0 else bytes(data) + b"\0" * cut
    try:
        everything(changed)
    except PullLogsError:
        return


def rewritten(
    data: bytes,
    change: Callable[[dict[str, list[Any]]], object] = lambda _: None,
    *,
    metadata: Mapping[str, Any] | None = None,
    **options: Any,
) -> bytes:
    """Write a catalog again with other cells, another metadata or in another way."""
    table = pq.read_table(BytesIO(data))
    columns = table.to_pydict()
    change(columns)
    arrays = [pa.array(columns[field.name], field.type) for field in table.schema]
    out = BytesIO()
    known = {"compression": "zstd", "use_dictionary": [*REPEATED], "write_page_checksum": True}
    with pq.ParquetWriter(out, table.schema.remove_metadata(), **{**known, **options}) as writer:
        if arrays[0]:
            writer.write_table(pa.Table.from_arrays(arrays, schema=table.schema.remove_metadata()))
        text = pq.read_metadata(BytesIO(data)).metadata[METADATA]
        found = json.loads(text) | (metadata or {})
        writer.add_key_value_metadata({METADATA: json.dumps(found).encode()})
    return out.getvalue()


def test_a_catalog_that_is_written_again_is_read(honest: bytes) -> None:
    """So that what the other tests change is what is refused."""
    assert everything(rewritten(honest)) == everything(honest)


@pytest.mark.parametrize(
    "name",
    [
        *("../other.wandb.zip", "a/../../b.wandb.zip", "/etc/x.wandb.zip", "./a.wandb.zip", "a//b.wandb.zip"),
        *("https://example.org/a.wandb.zip", "s3://lab/a.wandb.zip", "", "a.zip", "a\0.wandb.zip", "/"),
    ],
)
def test_a_member_outside_the_set_is_refused_before_it_is_opened(
    folder: Path, honest: bytes, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In every command that opens a member, and by those that write too."""
    data = rewritten(honest, lambda columns: columns.update(member=[name] * 4))
    target = tmp_path / "set"
    target.mkdir()
    (target / "catalog-00000001.parquet").write_bytes(data)
    member = next(folder.glob("*.wandb.zip"))
    (tmp_path / "other.wandb.zip").write_bytes(member.read_bytes())
    for words in (["-b"], ["verify"], ["set", "list"], ["set", "compact"], ["info"]):
        assert main([*words, str(target)]) == 6, words
        assert f"{name!r} is not the name of a member" in capsys.readouterr().err
    with pytest.raises(BundleDamagedError), open_bundle_set(target) as opened:
        opened["r1"].history()


@given(st.text(max_size=20), st.lists(st.sampled_from(["..", ".", "", "a", "C:", "b.c", "~"]), max_size=4))
def test_a_name_of_a_member_never_leaves_the_folder(end: str, parts: list[str]) -> None:
    """Whatever it is made of."""
    root = Path("/set")
    name = "/".join([*parts, f"{end}.wandb.zip"])
    if is_set_member(name):
        resolved = Path(*(part for part in (root / name).parts if part != "."))
        assert resolved.is_relative_to(root)
        assert ".." not in resolved.parts
        assert resolved != root


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(history_offset=[-1] * 4), "a history has a negative position or size"),
        (lambda c: c.update(history_bytes=[-(2**63)] * 4), "a history has a negative position or size"),
        (lambda c: c.update(run_id=["r1"] * 4), "it is not in path order"),
        (lambda c: c["run_id"].reverse(), "it is not in path order"),
    ],
)
def test_cells_that_no_catalog_has_are_refused(
    honest: bytes, change: Callable[[dict[str, list[Any]]], object], message: str
) -> None:
    """Negative ranges, duplicates, and runs in another order."""
    with pytest.raises(BundleDamagedError) as caught:
        everything(rewritten(honest, change))
    assert caught.value.message == f"'catalog' is damaged: {message}"


@pytest.mark.parametrize(
    "keys", [[], "x", *({"config.lr": count} for count in (3, [1], [-1, 0, 0, 0], [[], 0, 0, 0]))]
)
def test_counts_that_no_catalog_has_are_refused(honest: bytes, keys: Any) -> None:
    """The counts choose the columns, so that they have to be counts."""
    with pytest.raises(BundleDamagedError):
        everything(rewritten(honest, metadata={"keys": keys}))


@pytest.mark.parametrize("found", [b"[]", b"3", b"{", b"[" * 100_000, b'"pull-logs/catalog"'])
def test_metadata_that_is_no_object_is_an_error_of_ours(honest: bytes, found: bytes) -> None:
    """Nesting without an end included."""
    table = pq.read_table(BytesIO(honest))
    out = BytesIO()
    pq.write_table(table.replace_schema_metadata({METADATA: found}), out)
    with pytest.raises(PullLogsError):
        everything(out.getvalue())


def test_ranges_beyond_the_member_are_found_by_a_check(
    folder: Path, honest: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run is read through the index of its member; so the answer is right, and `verify` names the run."""
    target = tmp_path / "set"
    target.mkdir()
    (target / "catalog-00000001.parquet").write_bytes(
        rewritten(honest, lambda columns: columns.update(history_offset=[2**62] * 4))
    )
    member = next(folder.glob("*.wandb.zip"))
    (target / member.name).write_bytes(member.read_bytes())
    with open_bundle_set(target) as opened, open_bundle_set(folder) as right:
        assert repr(list(opened["r1"].scan_history())) == repr(list(right["r1"].scan_history()))
    assert main(["verify", str(target)]) == 6
    assert "the catalog has other facts about this run than the member" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update({"config.lr": [9.0] * 4}), "its column 'config.lr' does not have the values"),
        (lambda c: c.update({"config.opt": [None] * 4}), "its column 'config.opt' does not have the values"),
    ],
)
def test_a_check_compares_the_columns_of_keys_with_the_configs(
    folder: Path, tmp_path: Path, change: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Filters trust them."""
    target = Path(shutil.copytree(folder, tmp_path / "set"))
    catalog = target / "catalog-00000001.parquet"
    catalog.write_bytes(rewritten(catalog.read_bytes(), change))
    assert main(["verify", str(target)]) == 6
    assert message in capsys.readouterr().out


def test_a_check_compares_the_counts_of_keys_with_the_configs(
    folder: Path, honest: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A filter reads no JSON if the counts say that a column is complete."""
    target = Path(shutil.copytree(folder, tmp_path / "set"))
    keys = json.loads(pq.read_metadata(BytesIO(honest)).metadata[METADATA])["keys"]
    keys["config.lr"][0] += 3
    (target / "catalog-00000001.parquet").write_bytes(rewritten(honest, metadata={"keys": keys}))
    assert main(["verify", str(target)]) == 6
    assert "its counts of keys are not those of the runs" in capsys.readouterr().out


BOMB = "x" * 3_000_000


@pytest.mark.parametrize("name", ["name", "config_json", "summary_json", "run_id", "config.opt"])
def test_a_text_that_a_dictionary_repeats_is_refused_before_it_expands(
    honest: bytes, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few kilobytes would take gigabytes in 8,192 rows."""
    monkeypatch.setattr(catalog_module, "_MAX_CHUNK", 5_000_000)
    monkeypatch.setattr(catalog_module, "_MAX_GROUP", 5_000_000)
    data = rewritten(honest, lambda columns: columns.update({name: [BOMB] * 4}), use_dictionary=True)
    assert len(data) < 20_000
    before = pa.total_allocated_bytes()
    with pytest.raises(BundleDamagedError) as caught:
        everything(data)
    assert "is encoded with a dictionary" in caught.value.message or "bytes of text" in caught.value.message
    assert pa.total_allocated_bytes() - before < 30_000_000


def test_a_page_that_unpacks_to_gigabytes_is_refused_by_its_header(
    honest: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the footer says about the column."""
    monkeypatch.setattr(catalog_module, "_MAX_CHUNK", 5_000_000)
    data = rewritten(honest, lambda columns: columns.update(notes=[BOMB] * 4))
    assert len(data) < 20_000
    with pytest.raises(BundleDamagedError) as caught:
        everything(data)
    assert "'notes' has more than 5000000 bytes in a row group" in caught.value.message


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_an_encoding_that_expands_is_refused(honest: bytes, encoding: str) -> None:
    """Texts that share their beginnings can be many times as long as a page."""
    data = rewritten(
        honest,
        lambda columns: columns.update(notes=[BOMB] * 4),
        use_dictionary=[*REPEATED],
        column_encoding={"notes": encoding},
    )
    with pytest.raises(BundleDamagedError) as caught:
        everything(data)
    assert "is not one that this format has" in caught.value.message
