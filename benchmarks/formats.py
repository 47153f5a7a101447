"""A bundle and other formats for the histories of many runs, each with a writer and a reader to pandas."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from histories import ENTITY, PROJECT, HistorySet, json_lines

from pull_logs.fetch.decoding import batch_of_page
from pull_logs.rows.batches import batch_from_arrow
from pull_logs.snapshot.read.bundle import open_bundle
from pull_logs.snapshot.write.run_sources import BundleRun
from pull_logs.snapshot.write.seal import write_bundle

OURS, NDJSON, PARQUET, PICKLE = "bundle", "NDJSON zstd-3", "Parquet", "pandas pickle"
NAME = "all.wandb.zip"

_LAST = 2**62

Columns: TypeAlias = "list[str] | None"
Read: TypeAlias = Callable[[int, Columns], pd.DataFrame]
"""Reads a run by its number into a frame: `_step` and the given columns, or all."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format for runs.

    Attributes:
        write: Writes runs given as Arrow tables to an empty folder.
        write_json: Writes runs given as JSON texts, one per row, to an empty folder.
        reader: Opens the folder.
    """

    write: Callable[[Path, HistorySet, Sequence[pa.Table]], None]
    write_json: Callable[[Path, HistorySet, Sequence[Sequence[str]]], None]
    reader: Callable[[Path], Read]


def size_of(folder: Path) -> int:
    """Return the bytes of the files in a folder."""
    return sum(file.stat().st_size for file in folder.iterdir())


def _seal(folder: Path, histories: HistorySet, batches: Iterable[Callable[[], Iterator[pa.Table]]]) -> None:
    runs = (
        BundleRun(info=histories.info(number), coverage=histories.coverage(), batches=give)
        for number, give in enumerate(batches)
    )
    write_bundle(folder / NAME, runs, force=True)


def _seal_tables(folder: Path, histories: HistorySet, tables: Sequence[pa.Table]) -> None:
    _seal(folder, histories, (partial(_from_table, table) for table in tables))


def _from_table(table: pa.Table) -> Iterator[pa.Table]:
    yield batch_from_arrow(table)


def _seal_json(folder: Path, histories: HistorySet, runs: Sequence[Sequence[str]]) -> None:
    _seal(folder, histories, (partial(_from_page, texts) for texts in runs))


def _from_page(texts: Sequence[str]) -> Iterator[pa.Table]:
    yield batch_of_page(texts, start=0, stop=_LAST)


def _read_bundle(folder: Path) -> Read:
    bundle = open_bundle(folder / NAME)
    return lambda number, columns: bundle[f"{ENTITY}/{PROJECT}/run{number:05d}"].history(columns)


def _each(
    write: Callable[[Path, pa.Table], object], ending: str
) -> Callable[[Path, HistorySet, Sequence[pa.Table]], None]:
    """Return a writer of one file per run, with as many threads as processors."""

    def write_all(folder: Path, _: HistorySet, tables: Sequence[pa.Table]) -> None:
        files = [folder / f"{number}{ending}" for number in range(len(tables))]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(write, files, tables))

    return write_all


def _each_json(
    write: Callable[[Path, Sequence[str]], object], ending: str
) -> Callable[[Path, HistorySet, Sequence[Sequence[str]]], None]:
    def write_all(folder: Path, _: HistorySet, runs: Sequence[Sequence[str]]) -> None:
        files = [folder / f"{number}{ending}" for number in range(len(runs))]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(write, files, runs))

    return write_all


def _pack(file: Path, lines: bytes) -> None:
    file.write_bytes(zstandard.ZstdCompressor(level=3).compress(lines))


def _table_of(texts: Sequence[str]) -> pa.Table:
    return pa.Table.from_pylist(orjson.loads(f"[{','.join(texts)}]"))


def _read_ndjson(folder: Path) -> Read:
    def read(number: int, columns: Columns) -> pd.DataFrame:
        lines = zstandard.ZstdDecompressor().decompress((folder / f"{number}.ndjson.zst").read_bytes())
        frame = pd.DataFrame(orjson.loads(b"[" + lines.rstrip().replace(b"\n", b",") + b"]"))
        return frame if columns is None else frame[["_step", *columns]]

    return read


def _write_parquet(file: Path, table: pa.Table) -> None:
    pq.write_table(table, file, compression="zstd", compression_level=3)


def _read_parquet(folder: Path) -> Read:
    return lambda number, columns: pd.read_parquet(
        folder / f"{number}.parquet", columns=None if columns is None else ["_step", *columns]
    )


def _read_pickle(folder: Path) -> Read:
    def read(number: int, columns: Columns) -> pd.DataFrame:
        frame: pd.DataFrame = pd.read_pickle(folder / f"{number}.pickle")
        return frame if columns is None else frame[["_step", *columns]]

    return read


FORMATS: Mapping[str, Format] = {
    OURS: Format(_seal_tables, _seal_json, _read_bundle),
    NDJSON: Format(
        _each(lambda file, table: _pack(file, json_lines(table)), ".ndjson.zst"),
        _each_json(lambda file, texts: _pack(file, "\n".join(texts).encode()), ".ndjson.zst"),
        _read_ndjson,
    ),
    PARQUET: Format(
        _each(_write_parquet, ".parquet"),
        _each_json(lambda file, texts: _write_parquet(file, _table_of(texts)), ".parquet"),
        _read_parquet,
    ),
    PICKLE: Format(
        _each(lambda file, table: table.to_pandas().to_pickle(file), ".pickle"),
        _each_json(lambda file, texts: _table_of(texts).to_pandas().to_pickle(file), ".pickle"),
        _read_pickle,
    ),
}
