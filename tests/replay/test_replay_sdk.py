"""An unmodified `wandb.Api()` reads a bundle through the replay server as it would read W&B."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from replay_support import Row, histogram_rows, odd_rows, plain_rows, world, write_runs

from pull_logs.replay.server import serve_bundle
from pull_logs.snapshot.canon import canon_record, canon_row, same
from pull_logs.snapshot.columns import batch_from_arrow, batch_from_rows, batch_rows

ROWS = {
    "acme/nano/plain01": plain_rows(2500),
    "acme/nano/hist01": histogram_rows(30),
    "acme/nano/odd01": odd_rows(40),
    "acme/nano/live01": plain_rows(1200, stride=3),
    "acme/nano/empty01": [],
}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """What the SDK saw, in a process of its own: it starts a Go service and keeps state."""
    folder = tmp_path_factory.mktemp("replay")
    driver = Path(__file__).with_name("sdk_driver.py")
    outside = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    with serve_bundle(write_runs(folder, world())) as server:
        done = subprocess.run(
            [sys.executable, str(driver), json.dumps(list(ROWS)), str(folder / "exports")],
            env={**outside, **server.environment()},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        counts = server.requests.as_dict()
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "counts": counts}


def as_the_sdk_gives(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Canonical rows, with integers beyond 64 bits rounded: the SDK decodes those as floats."""

    def rounded(value: Any) -> Any:
        return float(value) if isinstance(value, int) and abs(value) >= 2**63 else value

    return [canon_row({key: rounded(value) for key, value in row.items()}) for row in rows]


def same_rows(left: Iterable[Mapping[str, Any]], right: Iterable[Mapping[str, Any]]) -> bool:
    return same([canon_row(row) for row in left], as_the_sdk_gives(right))


@pytest.mark.parametrize("path", ROWS)
def test_a_scan_gives_every_row_of_the_bundle(seen: Mapping[str, Any], path: str) -> None:
    assert same_rows(seen["runs"][path]["scan"], ROWS[path])


@pytest.mark.parametrize("path", ROWS)
def test_a_scan_of_some_steps(seen: Mapping[str, Any], path: str) -> None:
    inside = [row for row in ROWS[path] if 5 <= row["_step"] < 9]
    assert same_rows(seen["runs"][path]["scan_window"], inside)


@pytest.mark.parametrize("path", [path for path, rows in ROWS.items() if rows])
def test_a_scan_of_some_keys(seen: Mapping[str, Any], path: str) -> None:
    projected = [{key: row[key] for key in ("_step", "loss")} for row in ROWS[path]]
    assert same_rows(seen["runs"][path]["scan_keys"], projected)


def test_a_projection_of_histograms_and_dotted_keys(seen: Mapping[str, Any]) -> None:
    rows = ROWS["acme/nano/hist01"]
    projected = [{key: row[key] for key in ("_step", "weights", "opt.lr")} for row in rows]
    assert same_rows(seen["columns"], projected)


@pytest.mark.parametrize("path", ["acme/nano/plain01", "acme/nano/live01"])
def test_a_sampled_history_is_spread_evenly_and_keeps_both_ends(seen: Mapping[str, Any], path: str) -> None:
    run, rows = seen["runs"][path], ROWS[path]
    steps = [row["_step"] for row in run["history"]]
    assert len(steps) == 500
    assert (steps[0], steps[-1]) == (rows[0]["_step"], rows[-1]["_step"])
    assert len(run["history_few"]) == 7
    assert [set(row) for row in run["history_keys"]] == [{"_step", "loss"}] * 11


def test_a_short_history_is_not_sampled(seen: Mapping[str, Any]) -> None:
    assert same_rows(seen["runs"]["acme/nano/hist01"]["history"], ROWS["acme/nano/hist01"])


def test_the_facts_of_a_run(seen: Mapping[str, Any]) -> None:
    run = seen["runs"]["acme/nano/plain01"]
    facts = (
        "id",
        "name",
        "state",
        "tags",
        "group",
        "job_type",
        "notes",
        "commit",
        "created_at",
        "user",
        "sweep",
    )
    assert [run[fact] for fact in facts] == [
        "plain01",
        "eager-fox-1",
        "finished",
        ["prod", "v2"],
        "g1",
        "train",
        "a note",
        "abc123",
        "2026-11-23T10:00:00Z",
        "ada",
        "sweep1",
    ]
    assert run["config"] == {"lr": 0.1, "opt": {"name": "adam"}, "a.b": [1, None], "none": None}
    assert run["rawconfig"]["_wandb"] == {"cli_version": "0.31.0"}
    assert run["summary"] == {"loss": 0.25, "bad": "NaN", "val": {"acc": 0.5}, "_wandb": {"runtime": 312}}
    assert run["summary_loss"] == 0.25
    assert run["system_metrics"] == {"system.cpu": 12.5}
    assert run["metadata"] == {"host": "node7", "gpu": None, "python": "3.11.7"}
    assert run["files"] == ["wandb-metadata.json"]
    assert (run["last_step"], run["line_count"]) == (2499, 2500)
    assert [row["system.cpu"] for row in run["events"]] == [0, 2, 4.5, 6.5, 8.5, 11, 13, 15, 17.5, 19.5]


def test_a_run_without_rows_or_facts(seen: Mapping[str, Any]) -> None:
    run = seen["runs"]["acme/nano/empty01"]
    assert (run["last_step"], run["line_count"], run["state"]) == (-1, 0, "failed")
    assert (run["user"], run["metadata"], run["files"], run["config"]) == (None, None, [], {})
    assert run["scan"] == run["history"] == run["events"] == []


def test_listings(seen: Mapping[str, Any]) -> None:
    listings = seen["listings"]
    in_order = ["plain01", "hist01", "odd01", "live01", "empty01"]
    assert listings["all"] == listings["paged"] == in_order
    assert listings["length"] == 5
    assert listings["newest"] == in_order[::-1]
    assert listings["by_config"] == ["odd01", "hist01", "plain01", "live01", "empty01"]
    assert listings["by_summary"] == ["hist01", "plain01", "live01", "empty01", "odd01"]
    assert listings["finished"] == ["plain01", "hist01"]
    assert listings["mongo"] == ["hist01", "live01"]
    assert listings["eager"] == [0.1, 0.01, 0.001, 0.3, None]
    assert listings["lazy"] == [0.25, 0.5, None, 0.125, None]
    assert listings["sweep_runs"] == ["plain01", "hist01"]
    assert (listings["projects"], listings["project"]) == (["nano", "other"], "nano")


def test_who_is_signed_in(seen: Mapping[str, Any]) -> None:
    listings = seen["listings"]
    assert (listings["default_entity"], listings["viewer"]) == ("acme", "replay")
    assert listings["without_entity"] == ["acme", "nano", "plain01"]


def test_what_is_not_there_is_missing_as_in_wandb(seen: Mapping[str, Any]) -> None:
    listings = seen["listings"]
    assert listings["missing_run"]["error"] == (
        "CommError: Could not find run <Run acme/nano/gone (not found)>"
    )
    assert listings["missing_project"]["error"] == "ValueError: Could not find project gone"


def test_what_cannot_be_done_is_said_to_the_user(seen: Mapping[str, Any]) -> None:
    listings = seen["listings"]
    assert (
        "this server replays a bundle: it answers queries and changes nothing"
        in listings["read_only"]["error"]
    )
    assert "'$xor' is not an operator of W&B's filters" in listings["bad_filter"]["error"]


def test_the_downloaded_export_is_the_whole_run(seen: Mapping[str, Any]) -> None:
    (path,) = seen["exports"]
    assert Path(path).name == "acme_nano_plain01_0.runhistory.parquet"
    rows = list(batch_rows(batch_from_arrow(pq.read_table(path))))
    assert same(rows, list(batch_rows(batch_from_rows(ROWS["acme/nano/plain01"]))))


def test_exported_runs_are_not_paged(seen: Mapping[str, Any]) -> None:
    """Pages are for the two runs that are served live, and exports for the two that are not."""
    counts = seen["counts"]
    assert counts["Viewer"] == 1
    live_pages = 4 + 1  # 3,598 steps of live01 in thousands, and 40 of odd01
    windows = 2
    assert counts["HistoryPage"] == counts["SampledHistoryPage"] + windows == live_pages + windows


def test_a_config_is_the_same_after_canon(seen: Mapping[str, Any]) -> None:
    info = {str(run.info.path): run.info for run in world()}
    for path, run in seen["runs"].items():
        assert same(canon_record(run["config"]), canon_record(info[path].config))
        assert same(canon_record(run["summary"]), canon_record(info[path].summary))
