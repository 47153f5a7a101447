"""The configs of sweeps: requested once each, stored as values, and kept by every operation on a bundle."""

from __future__ import annotations

import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulling import pull_from
from scripted_wandb import FakeRun, ScriptedWandb, asking, once, rows_of
from wandb.util import load_yaml

from pull_logs.errors import DataError
from pull_logs.fetch.discovery.sweep_configs import read_sweep_config
from pull_logs.replay.data.json_text import sweep_text
from pull_logs.rows.canonical import canon_record, same
from pull_logs.rows.yaml_values import MOST_TEXT
from pull_logs.snapshot import diff_bundles, export_runs, merge_bundles, open_bundle, subset_bundle
from pull_logs.snapshot.format.run_record import SCHEMA
from pull_logs.snapshot.operations.exported_runs import Format
from pull_logs.snapshot.privacy.audit import audit_bundle

pytestmark = pytest.mark.anyio

CONFIG = """
method: random
metric: {name: loss, goal: maximize}
parameters:
  lr: {min: 0.00001, max: 1e-1}
  started: {value: 2026-01-02}
"""
READ: dict[str, Any] = {
    "method": "random",
    "metric": {"name": "loss", "goal": "maximize"},
    # YAML 1.1 has no number without a point; the SDK reads it so too.
    "parameters": {"lr": {"min": 0.00001, "max": "1e-1"}, "started": {"value": "2026-01-02"}},
}
ROWS = rows_of(range(3))

texts = st.text(st.characters(codec="utf-8"), max_size=6)
leaves = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | texts
configs = st.dictionaries(
    texts,
    st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
    ),
    max_size=4,
)


def swept(*sweeps: str | None, **configs: str) -> ScriptedWandb:
    server = ScriptedWandb(
        *(FakeRun.exported(f"r{number}", ROWS, sweep=sweep) for number, sweep in enumerate(sweeps))
    )
    server.sweeps = configs
    return server


def configs_in(out: Path) -> dict[str, Any]:
    with open_bundle(out) as bundle:
        return {run.path.run_id: run.sweep_config for run in bundle.runs()}


@given(configs)
def test_a_config_that_is_served_is_read_as_it_was(config: dict[str, Any]) -> None:
    assert same(read_sweep_config(sweep_text(canon_record(config))), canon_record(config))


async def test_each_sweep_is_requested_once(tmp_path: Path) -> None:
    server = swept("s1", "s1", None, "s2", "s1", s1=CONFIG)
    report = await pull_from(server, tmp_path / "b.zip")
    assert configs_in(tmp_path / "b.zip") == {"r0": READ, "r1": READ, "r2": None, "r3": None, "r4": READ}
    assert (server.count("GetSweep"), report.incomplete, report.notes) == (2, (), ())


async def test_without_a_config_the_bundle_is_as_it_was(tmp_path: Path) -> None:
    await pull_from(swept("s1"), tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as bundle:
        assert pq.read_schema(bundle.open("runs.parquet")).names == SCHEMA.names


async def test_an_older_server_is_asked_as_the_sdk_asks_it(tmp_path: Path) -> None:
    server = swept("s1", s1=CONFIG)
    server.faults.append(once(httpx.Response(400, json={"errors": ["no"]}), when=asking("GetSweep")))
    await pull_from(server, tmp_path / "b.zip")
    assert (server.count("GetSweep"), server.count("GetSweepLegacy")) == (1, 1)
    assert configs_in(tmp_path / "b.zip") == {"r0": READ}


async def test_a_config_that_cannot_be_downloaded_is_reported_and_nothing_else_is_lost(
    tmp_path: Path,
) -> None:
    out = tmp_path / "b.zip"
    server = swept("s1", "s1", "s2", s1=CONFIG, s2="[1, 2]")
    first = await pull_from(server, out)
    assert first.notes == (
        "the config of sweep acme/nano/s2 could not be downloaded: a sweep's config is not a YAML mapping",
    )
    server.faults.append(
        lambda request: httpx.Response(403, json={"error": "no"}) if b"GetSweep" in request.content else None
    )
    again = await pull_from(server, out, previous=out)
    assert again.notes[0] == (
        "the config of sweep acme/nano/s1 could not be downloaded: no permission at api.test: no"
    )
    assert [outcome.how for outcome in again.runs] == ["copied"] * 3
    assert configs_in(out) == {"r0": READ, "r1": READ, "r2": None}


async def test_a_bundle_from_before_gets_the_configs_and_no_rows_are_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "b.zip"
    server = swept("s1")
    old = await pull_from(server, out)
    server.sweeps["s1"] = CONFIG
    downloads = server.count("GET r0-0")
    new = await pull_from(server, out, previous=out)
    assert (configs_in(out), server.count("GET r0-0")) == ({"r0": READ}, downloads)
    assert new.seal.content_id == old.seal.content_id
    assert new.seal.bundle_id != old.seal.bundle_id


async def test_operations_keep_it(tmp_path: Path) -> None:
    bare, full, out = tmp_path / "bare.zip", tmp_path / "full.zip", tmp_path / "out.zip"
    server = swept("s1", None)
    await pull_from(server, bare)
    server.sweeps["s1"] = CONFIG
    await pull_from(server, full)
    with open_bundle(bare) as before, open_bundle(full) as after:
        for order in ([before, after], [after, before]):
            merge_bundles(order, out)
            assert out.read_bytes() == full.read_bytes()
        subset_bundle([after["r0"]], out, force=True)
        assert configs_in(out) == {"r0": READ}
        subset_bundle(after.runs(), out, metrics="m0", force=True)
        assert configs_in(out) == {"r0": READ, "r1": None}
        (run,) = diff_bundles(before, after).changed
        assert [(edit.path, edit.change, edit.new) for edit in run.facts] == [
            (("sweep_config",), "added", READ)
        ]
        formats: tuple[Format, ...] = ("parquet", "csv", "ndjson")
        for to in formats:
            export_runs(after.runs(), tmp_path / to, to=to)
            assert "sweep_config" in (tmp_path / to / f"runs.{to}").read_text("latin-1")
            export_runs(before.runs(), tmp_path / to, to=to, force=True)
            assert "sweep_config" not in (tmp_path / to / f"runs.{to}").read_text("latin-1")


async def test_what_should_not_be_shared_is_found_in_it(tmp_path: Path) -> None:
    await pull_from(
        swept("s1", s1="command: [python, --api-key, sk-ant-0123456789abcdefghijABCD]"), tmp_path / "b.zip"
    )
    found = {finding.location: finding.kind for finding in audit_bundle(tmp_path / "b.zip").findings}
    assert found == {"sweep_config.command[2]": "api-key", "user": "user-name"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "a sweep's config is not YAML"),
        ("- 1", "a sweep's config is not a YAML mapping"),
        ("!!python/object/apply:os.system ['true']", "a sweep's config is not YAML"),
        ("a: &a [*a]", "a sweep's config has too many values, or they are nested too deeply"),
        (
            "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in pairwise("abcdefg")),
            "a sweep's config has too many values, or they are nested too deeply",
        ),
        (
            "x" * (MOST_TEXT + 1),
            f"a sweep's config has {MOST_TEXT + 1} characters, and {MOST_TEXT} are the most",
        ),
    ],
    ids=["torn", "list", "object", "endless", "bomb", "long"],
)
def test_a_text_that_is_no_config_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        read_sweep_config(text)
    assert str(caught.value) == sentence


def test_it_is_what_the_sdk_reads() -> None:
    seen = load_yaml(CONFIG)
    seen["parameters"]["started"]["value"] = seen["parameters"]["started"]["value"].isoformat()
    assert same(read_sweep_config(CONFIG), canon_record(seen))
