"""The row law through every way in: a live page, an export, a local log, a bundle made of a bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logwriting import item, record, run, write_run_folder
from pulling import pull_from
from rowkit import KEYS, calm_rows, canonical, nasty_rows, same_rows
from scripted_wandb import FakeRun, Row, ScriptedWandb

from pull_logs.rows.merge import Lane
from pull_logs.snapshot import open_bundle, write_bundle
from pull_logs.snapshot.write.run_sources import BundleRun
from pull_logs.sources import import_runs

Rows = list[Row]
FEW = settings(max_examples=12, deadline=None)


def from_zero(rows: Sequence[Mapping[str, Any]]) -> Rows:
    """The rows as W&B logs them: at steps from zero, ascending, each at a moment of its own.

    The moments matter: two lines that are equal in everything are one line that was read twice.
    """
    places = {step: place for place, step in enumerate(sorted({int(row["_step"]) for row in rows}))}
    moved = [
        {**row, "_step": places[int(row["_step"])], "_timestamp": float(moment)}
        for moment, row in enumerate(rows)
    ]
    return sorted(moved, key=lambda row: int(row["_step"]))


logged = (nasty_rows | calm_rows).map(from_zero)
wide: Rows = [{"_step": 0, **{f"metric/{place}": place / 7 for place in range(5_000)}}]


def rows_of(bundle: Path) -> Rows:
    with open_bundle(bundle) as opened:
        (found,) = opened.runs()
        return list(found.scan_history())


def check(bundle: Path, expected: Rows) -> None:
    """A bundle has these rows; and so has a bundle made of its batches, to the byte."""
    assert same_rows(rows_of(bundle), expected)
    again = bundle.with_name("again.wandb.zip")
    with open_bundle(bundle) as opened:
        (found,) = opened.runs()
        made = BundleRun(
            info=found.info, coverage=found.coverage, batches=found.batches, system=found.system_table()
        )
        write_bundle(again, [made], force=True)
    assert again.read_bytes() == bundle.read_bytes()


def pulled(server: ScriptedWandb, expected: Rows) -> None:
    async def story(out: Path) -> None:
        report = await pull_from(server, out)
        assert report.incomplete == ()

    with TemporaryDirectory() as folder:
        out = Path(folder) / "a.wandb.zip"
        anyio.run(story, out)
        check(out, expected)


def live(rows: Rows) -> None:
    pulled(ScriptedWandb(FakeRun.logging("a", rows)), canonical(rows))


@FEW
@given(logged)
def test_live_pages(rows: Rows) -> None:
    live(rows)


shard_cells: Mapping[str, st.SearchStrategy[Any]] = {
    "number": st.floats(),
    "half": st.floats(width=16),
    "integer": st.integers(-(2**63), 2**63 - 1),
    "flag": st.booleans(),
    "text": st.text(max_size=4) | st.sampled_from(["NaN", "Infinity", ""]),
    "list": st.lists(st.floats() | st.none(), max_size=3),
    "pic": st.fixed_dictionaries({"_type": st.just("image-file"), "size": st.integers(0, 9) | st.none()}),
}
"""What a column of an export may hold: of one type, null where a row lacks it."""

shard_keys = st.lists(
    st.tuples(
        st.sampled_from([key for key in KEYS if key.isprintable()]), st.sampled_from(sorted(shard_cells))
    ),
    max_size=5,
    unique_by=lambda pair: pair[0],
)


@st.composite
def exports(draw: st.DrawFn) -> Rows:
    kinds = dict(draw(shard_keys))
    return [
        {"_step": step, **{key: draw(st.none() | shard_cells[kind]) for key, kind in kinds.items()}}
        for step in range(draw(st.integers(0, 8)))
    ]


@FEW
@given(exports(), st.integers(1, 3))
def test_exports(rows: Rows, shards: int) -> None:
    pulled(ScriptedWandb(FakeRun.exported("a", rows, shards=shards)), canonical(rows, Lane.SHARD))


def row_record(row: Row) -> bytes:
    items = [item(key, json.dumps(value)) for key, value in row.items() if key != "_step"]
    return record(history={"step": {"num": row["_step"]}, "item": [*items, item("_step", str(row["_step"]))]})


def imported(rows: Rows) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        records = [run("abc"), *map(row_record, rows)]
        made = write_run_folder(folder, "offline-run-20260101_000000-abc", records)
        out = folder / "a.wandb.zip"
        import_runs([made], out=out)
        check(out, canonical(rows))


def encodable(row: Row) -> bool:
    return all(key.isascii() or key.encode(errors="replace").decode() == key for key in row)


@FEW
@given(logged.map(lambda rows: [row for row in rows if encodable(row)]))
def test_local_logs(rows: Rows) -> None:
    imported(rows)


@pytest.mark.parametrize("rows", [[], wide, [{"_step": 0}]], ids=["none", "5000-columns", "one"])
@pytest.mark.parametrize("way", [live, imported])
def test_no_row_one_row_and_five_thousand_columns(way: Any, rows: Rows) -> None:
    way(rows)
