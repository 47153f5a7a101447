"""Definitions of metrics: from the records of a log to W&B's list of them, and to `compare --x defined`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logwriting import record, row, run, write_run_folder

from pull_logs.cli.main import main
from pull_logs.snapshot import open_bundle
from pull_logs.sources.wandb_folders.log_messages import record_class
from pull_logs.sources.wandb_folders.metric_records import MetricDefinitions

NAMES = st.sampled_from(["a", "b", "c", "d"])
RECORDS = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES},
        optional={
            "step_metric": NAMES,
            "goal": st.integers(1, 2),
            "_control": st.fixed_dictionaries({"overwrite": st.booleans()}),
            "options": st.fixed_dictionaries({"hidden": st.booleans(), "step_sync": st.booleans()}),
            "summary": st.fixed_dictionaries({name: st.booleans() for name in ("min", "max", "none")}),
        },
    ),
    max_size=8,
)


def encoded(*records: dict[str, Any]) -> list[dict[str, Any]]:
    definitions = MetricDefinitions()
    for fields in records:
        definitions.take(record_class("MetricRecord")(**fields))
    return definitions.encoded()


@given(RECORDS)
def test_every_metric_is_listed_once_and_goes_by_the_last_step_metric_it_was_given(
    records: list[dict[str, Any]],
) -> None:
    steps: dict[str, str | None] = {}
    for fields in records:
        kept = None if fields.get("_control", {}).get("overwrite") else steps.get(fields["name"])
        steps[fields["name"]] = fields.get("step_metric", kept)
    found = encoded(*records)
    names = [entry["1"] for entry in found]
    assert sorted(names) == sorted({*steps, *(step for step in steps.values() if step)})
    told = {entry["1"]: names[entry["5"] - 1] if "5" in entry else None for entry in found}
    assert told == {name: steps.get(name) for name in names}
    assert all((3 in entry["6"]) == (entry["1"] in steps) for entry in found)


def test_definitions_add_up_unless_one_overwrites() -> None:
    first = {"name": "x", "summary": {"max": True, "none": True}, "options": {"hidden": True}, "goal": 2}
    more = {"name": "x", "summary": {"min": True}, "step_metric": "epoch"}
    assert encoded(first, more) == [
        {"1": "x", "5": 2, "6": [2, 3], "7": [1, 2], "8": 2},
        {"1": "epoch", "6": [], "7": []},
    ]
    assert encoded(first, more, {"name": "x", "_control": {"overwrite": True}}) == [
        {"1": "x", "6": [3], "7": []}
    ]
    assert encoded({"step_metric": "epoch"}) == []


def test_metrics_that_go_by_each_other_have_an_end() -> None:
    assert encoded({"name": "x", "step_metric": "y"}, {"name": "y", "step_metric": "x"}) == [
        {"1": "x", "5": 2, "6": [3], "7": []},
        {"1": "y", "5": 1, "6": [3], "7": []},
    ]
    assert encoded({"name": "x", "step_metric": "x"}) == [{"1": "x", "5": 1, "6": [3], "7": []}]


def test_a_local_run_is_compared_over_the_axis_that_it_defined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row(step, **{"epoch": step // 2, "val/acc": step / 10, "loss": 9 - step}) for step in range(8)]
    glob = record(metric={"glob_name": "val/*", "step_metric": "epoch"})
    write_run_folder(tmp_path / "wandb", "offline-run-20260101_000000-one", [run("one"), glob, *rows])
    bundle = tmp_path / "one.wandb.zip"
    assert main(["import", str(tmp_path / "wandb"), "-o", str(bundle)]) == 0
    capsys.readouterr()
    assert main(["compare", "-b", str(bundle), "--x", "defined", "--at", "2", "--json"]) == 0
    found = {entry["name"]: entry["value"] for entry in json.loads(capsys.readouterr().out)["comparison"]}
    assert (found["val/acc"], found["loss"]) == ({"one": 0.5}, {"one": 7})


def test_a_segment_that_defines_nothing_leaves_the_definitions(tmp_path: Path) -> None:
    defined = record(metric={"name": "x", "step_metric": "epoch"})
    own: dict[str, Any] = {"config": {"update": [{"key": "_wandb", "value_json": '{"t": 1}'}]}}
    write_run_folder(
        tmp_path / "wandb", "offline-run-20260101_000000-one", [run("one"), defined, row(0, x=1)]
    )
    write_run_folder(tmp_path / "wandb", "offline-run-20260101_000100-one", [run("one", **own), row(1, x=2)])
    assert main(["import", str(tmp_path / "wandb"), "-o", str(tmp_path / "one.wandb.zip")]) == 0
    with open_bundle(tmp_path / "one.wandb.zip") as bundle:
        internal = bundle["one"].info.config_internal
    assert internal == {
        "_wandb": {"m": [{"1": "x", "5": 2, "6": [3], "7": []}, {"1": "epoch", "6": [], "7": []}], "t": 1}
    }
