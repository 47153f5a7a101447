"""A bundle is readable without this library: by the page of its format, and by DuckDB, polars and pandas."""

from __future__ import annotations

import ast
import re
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet
import pytest
from bundlekit import unzipped
from checkout import RECORDED, ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from independent_identities import content_id, rows_hash
from independent_reader import Reader
from rowkit import canonical, nasty_rows, same_rows, texts, values

from pull_logs.rows.batches import batch_from_rows, system_batch_from_rows
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot.format.manifest import (
    MAX_COUNT,
    MAX_FORMAT,
    MAX_MANIFEST,
    parse_manifest,
    render_format,
    render_manifest,
)
from pull_logs.snapshot.format.names import _MEMBER
from pull_logs.snapshot.format.run_record import SCHEMA
from pull_logs.snapshot.format.zip_directory import MAX_DIRECTORY, MAX_MEMBERS
from pull_logs.snapshot.read.bundle import Bundle, open_bundle
from pull_logs.snapshot.write.run_sources import BundleRun
from pull_logs.snapshot.write.seal import write_bundle

PAGE = (ROOT / "docs" / "bundle-format.md").read_text()

# Characters that are valid in a path, and those that file systems, URLs and our escaping treat specially.
PARTS = [
    "a",
    "A",
    "a.b",
    "dot.",
    "..",
    "CON",
    "\u00e9",
    "e\u0301",
    "t~1",
    "a b",
    "x" * 161,
    "\u00e9" * 90,
    "%41",
]


def check_same(path: Path) -> None:
    """Check that the reader of the page and ours return the same."""
    theirs = Reader(path)
    with open_bundle(path) as ours:
        assert tuple(theirs.folders) == ours.run_paths
        assert (theirs.bundle_id, content_id(theirs)) == (ours.bundle_id, ours.content_id)
        for run in ours.runs():
            name = str(run.path)
            assert rows_hash(theirs, name) == run.rows_hash
            assert same_rows(theirs.rows(name), all_rows(ours, name))
            assert same_rows(theirs.rows(name, "system.parquet"), run.system_rows())


def all_rows(bundle: Bundle, path: str) -> Sequence[dict[str, Any]]:
    return list(bundle[path].scan_history(min_step=-(2**63)))


def test_the_reader_of_the_page_gives_the_recorded_rows_and_both_identities() -> None:
    check_same(RECORDED)


def test_the_reader_of_the_page_is_short_and_knows_nothing_of_us() -> None:
    text = (ROOT / "tests" / "snapshot" / "independent_reader.py").read_text()
    assert not re.search(r"^(import|from) pull_logs", text, re.MULTILINE)
    assert len([line for line in text.splitlines() if line]) <= 60


records = st.dictionaries(texts, values, max_size=4)
paths = st.builds(RunPath, *[st.sampled_from(PARTS)] * 3)


@st.composite
def nasty_runs(draw: st.DrawFn, path: RunPath) -> BundleRun:
    batch = batch_from_rows(canonical(draw(nasty_rows)))
    system = system_batch_from_rows(draw(st.lists(records, max_size=3)))
    facts: dict[str, Any] = {
        "tags": tuple(draw(st.lists(texts, max_size=3))),
        "notes": draw(st.none() | texts),
        "group": draw(st.none() | texts),
        "config": draw(records),
        "summary": draw(records),
    }
    return BundleRun(
        info=RunInfo(path=path, name=draw(texts), state="finished", **facts),
        coverage=Coverage(received_rows=batch.num_rows),
        batches=lambda: [batch],
        system=system,
    )


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(paths, max_size=3, unique=True).flatmap(lambda found: st.tuples(*map(nasty_runs, found))))
def test_the_reader_of_the_page_gives_the_rows_of_any_bundle(
    tmp_path: Path, runs: Sequence[BundleRun]
) -> None:
    path = tmp_path / "a.wandb.zip"
    write_bundle(path, runs, force=True)
    check_same(path)


def test_the_page_says_what_the_code_does() -> None:
    assert render_format(1).decode() in PAGE
    assert f"{len(render_format(1))} bytes, exactly these" in PAGE
    assert f"{MAX_MEMBERS:,} members" in PAGE
    assert f"directory of {MAX_DIRECTORY >> 20} MiB" in PAGE
    assert f"at most {MAX_MANIFEST >> 20} MiB (`FORMAT` and the digest {MAX_FORMAT >> 10} KiB" in PAGE
    assert MAX_COUNT == 2**48
    for name in SCHEMA.names:
        assert f"`{name}`" in PAGE


def test_the_manifest_on_the_page_is_one_that_the_code_writes() -> None:
    found = re.search(r"```\n(\{\n\"contentId\".*?\n\}\n)```", PAGE, re.DOTALL)
    assert found
    written = re.sub("sha256:(?:<64 hex>|\\.\\.\\.)", "sha256:" + "0" * 64, found[1]).encode()
    manifest = parse_manifest(written, path="page")
    assert render_manifest(manifest) == written
    line = b'"redacted":{"api-key":2},\n'
    assert line.removesuffix(b"2},\n").decode() in PAGE
    again = render_manifest(replace(manifest, redacted={"api-key": 2}))
    assert again == written.replace(b'"resources":[', line + b'"resources":[')


FILES = "runs/entity=a/project=b/run=c/files"
FILE_NAMES = [
    f"{FILES}/{name}"
    for name in ("a", "..", ".", "a.", "%2E", "x" * 161, "x" * 162, "a~0", "~00ff00ff", "a/b", "a.zst")
] + [
    f"{FILES}/{'x' * 161}~00ff00ff.zst",
    f"{FILES}/{'x' * 161}~00ff00ff.zst.zst",
    f"contents/{'a' * 64}",
    f"contents/{'a' * 64}.zst",
    f"contents/{'a' * 64}.zs",
    "runs/entity=a/project=b/run=c/artifacts.ndjson.zst",
    "runs/entity=a/project=b/run=c/history.parquet.zst",
]


def test_the_names_that_the_page_allows_are_those_that_the_code_allows() -> None:
    found = re.search(r"```\n(FORMAT\|.*)\nwith S = (.*)\nand F = (.*)\n```", PAGE)
    assert found
    pattern = found[1].replace("=S", f"=({found[2]})")
    documented = re.compile(re.sub(r"/F(?=[|/()])", lambda _: f"/({found[3]})", pattern))
    with open_bundle(RECORDED) as bundle:
        names = [*bundle.manifest.resources, "FORMAT", "datapackage.json", "datapackage-digest.json"]
    names.append("runs/entity=e/project=p/run=r/files/media%2Fa.b_c-d.png~00ff00ff")
    names += [
        f"runs/entity=e/project=p/run=r/tables/val%2Fseen/{place}.parquet"
        for place in ("summary", "12", "-3", "12.4", "1x", "")
    ]
    changed = [
        name.replace(old, new)
        for name in names
        for old in "rk.=/s%~"
        for new in ("..", "%2F", "%2f", "~", "")
    ]
    for name in [
        *names,
        *changed,
        "runs/entity=a/project=b~00ff00ff/run=%2E/system.parquet",
        "FORMAT\n",
        "",
        *FILE_NAMES,
    ]:
        assert bool(documented.fullmatch(name)) is bool(_MEMBER.fullmatch(name)), name


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.split("\n## 10.")[1], re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("reading")
    unzipped(RECORDED, base / "sweep")
    (base / "sweep.wandb.zip").write_bytes(RECORDED.read_bytes())
    return base


@pytest.fixture(scope="module")
def recorded() -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each recorded run by its id, as this library reads them."""
    with open_bundle(RECORDED) as bundle:
        return {run.path.run_id: list(run.scan_history()) for run in bundle.runs()}


@pytest.fixture(scope="module")
def losses(recorded: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Return the least `train/loss` of each run that is a number."""
    found = {
        run: [row["train/loss"] for row in rows if row.get("train/loss") == row.get("train/loss", 0.0)]
        for run, rows in recorded.items()
    }
    return {run: min(own) for run, own in found.items()}


def run_python(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(folder)
    names = {
        "duckdb": duckdb,
        "pandas": pd,
        "polars": pl,
        "pyarrow": pyarrow,
        "zipfile": zipfile,
        "Path": Path,
    }
    *before, last = ast.parse(code).body
    assert isinstance(last, (ast.Assign, ast.Expr))
    exec(compile(ast.Module(before, []), "page", "exec"), names)
    return eval(compile(ast.Expression(last.value), "page", "eval"), names)


def test_duckdb_reads_the_histories_of_a_folder(
    folder: Path,
    losses: dict[str, float],
    recorded: dict[str, list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    least, facts, rates, best = (duckdb.sql(query).fetchall() for query in snippets("sql"))
    assert dict(least) == losses
    assert [value for _, value, _ in best] == sorted(losses.values())[:3]
    with open_bundle(RECORDED) as bundle:
        expected = sorted((run.name, run.config["optimizer"]["name"], run.rows) for run in bundle.runs())
    assert facts == expected
    assert rates == [
        (run, row["_step"], row["opt"]["lr"] if "opt" in row else None)
        for run, rows in sorted(recorded.items())
        for row in rows
    ]


def test_duckdb_reads_a_history_in_the_zip(
    folder: Path, losses: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = (text for text in snippets("python") if "duckdb" in text)
    assert run_python(code, folder, monkeypatch) == [(losses["cnn1e2s0"],)]


def test_polars_reads_the_histories_of_a_folder_and_one_in_the_zip(
    folder: Path,
    losses: dict[str, float],
    recorded: dict[str, list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    every, one = (text for text in snippets("python") if "polars" in text)
    least = run_python(every, folder, monkeypatch)
    assert dict(least.rows()) == losses
    found = run_python(one, folder, monkeypatch)
    assert found.rows() == [(row["_step"], row["train/loss"]) for row in recorded["cnn1e2s0"]]


def test_pandas_reads_the_histories_of_a_folder_and_one_in_the_zip(
    folder: Path, recorded: dict[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    every, one = (text for text in snippets("python") if "pandas" in text)
    frame = run_python(every, folder, monkeypatch)
    assert frame.loc["cnn1e1s0"]["_step"].tolist() == [row["_step"] for row in recorded["cnn1e1s0"]]
    assert set(frame.index.get_level_values("run")) == set(recorded)
    found = run_python(one, folder, monkeypatch)
    assert found["train/loss"].tolist() == [row["train/loss"] for row in recorded["cnn1e2s0"]]
