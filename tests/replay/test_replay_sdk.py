"""An unmodified `wandb.Api()` reads a bundle through the replay server as it would read W&B.

By default with the SDK that is installed; `pytest -m slow` with older releases
too, each in an environment of its own that is made once, in pytest's cache.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from environments import INSTALLED, python_with_sdk, sdk_releases
from replay_support import (
    CONSOLE,
    FILES,
    SWEEP_CONFIG,
    Row,
    histogram_rows,
    odd_rows,
    plain_rows,
    world,
    write_runs,
)

from pull_logs.replay.server import serve_bundle
from pull_logs.rows.batches import batch_from_arrow, batch_from_rows, batch_rows
from pull_logs.rows.canonical import canon_record, canon_row, same
from pull_logs.snapshot.format import ConsoleLine

OLDER = ("0.30.0", "0.29.0", "0.28.2", "0.28.0", "0.22.3", "0.19.11")
"""Releases that differ: with console logs, with wandb-core, with lazy runs over `requests`, and without."""

ROWS = {
    "acme/nano/plain01": plain_rows(2500),
    "acme/nano/hist01": histogram_rows(30),
    "acme/nano/odd01": odd_rows(40),
    "acme/nano/live01": plain_rows(1200, stride=3),
    "acme/nano/empty01": [],
}
IN_ORDER = ["plain01", "hist01", "odd01", "live01", "empty01"]
READ_ONLY = (
    "this server replays a bundle: it answers queries and changes nothing; "
    "log with WANDB_MODE=offline, or unset WANDB_BASE_URL to write to W&B itself"
)

FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, IN_ORDER),
    ({"state": "finished"}, ["plain01", "hist01"]),
    ({"state": {"$eq": "crashed"}}, ["odd01"]),
    ({"state": {"$ne": "finished"}}, ["odd01", "live01", "empty01"]),
    ({"state": {"$in": ["running", "failed"]}}, ["live01", "empty01"]),
    ({"state": {"$nin": ["running", "failed"]}}, ["plain01", "hist01", "odd01"]),
    ({"config.lr": {"$gt": 0.1}}, ["live01"]),
    ({"config.lr": {"$gte": 0.1}}, ["plain01", "live01"]),
    ({"config.lr.value": {"$lt": 0.01}}, ["odd01"]),
    ({"config.lr": {"$lte": 0.01, "$gt": 0.001}}, ["hist01"]),
    ({"config.opt.name": "adam"}, ["plain01"]),
    ({"config.lr": {"$exists": False}}, ["empty01"]),
    ({"summary_metrics.loss": {"$exists": True}}, ["plain01", "hist01", "live01"]),
    ({"summary_metrics.loss": {"$lt": 0.5}}, ["plain01", "live01"]),
    ({"display_name": {"$regex": "^(eager|zesty)-"}}, ["plain01", "hist01"]),
    ({"displayName": "zesty-owl-2"}, ["hist01"]),
    ({"tags": {"$in": ["prod"]}}, ["plain01"]),
    ({"group": "g1", "jobType": "train"}, ["plain01"]),
    ({"username": "ada", "host": "node7"}, ["plain01"]),
    ({"createdAt": {"$gt": "2026-11-23T10:00:02Z"}}, ["live01", "empty01"]),
    ({"duration": {"$gte": 7198}}, ["hist01", "odd01"]),
    ({"sweep": "sweep1"}, ["plain01", "hist01"]),
    ({"$and": [{"sweep": "sweep1"}, {"config.lr": 0.01}]}, ["hist01"]),
    ({"$or": [{"config.lr": 0.3}, {"display_name": {"$regex": "^zes"}}]}, ["hist01", "live01"]),
    ({"$nor": [{"state": "finished"}, {"state": "failed"}]}, ["odd01", "live01"]),
    ({"config.lr": {"$not": {"$gt": 0.01}}}, ["hist01", "odd01", "empty01"]),
]
ORDERS: list[tuple[str, list[str]]] = [
    ("+created_at", IN_ORDER),
    ("-created_at", IN_ORDER[::-1]),
    ("created_at", IN_ORDER),
    ("+config.lr.value", ["odd01", "hist01", "plain01", "live01", "empty01"]),
    ("-config.lr", ["live01", "plain01", "hist01", "odd01", "empty01"]),
    ("-summary_metrics.loss", ["hist01", "plain01", "live01", "empty01", "odd01"]),
    ("+summary_metrics.loss", ["live01", "plain01", "hist01", "empty01", "odd01"]),
]


@pytest.fixture(scope="module", params=sdk_releases(*OLDER))
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """What the SDK saw, in a process of its own: it starts a Go service and keeps state."""
    folder = tmp_path_factory.mktemp("replay")
    python = python_with_sdk(request.config, request.param)
    plan = {
        "paths": list(ROWS),
        "folder": str(folder / "out"),
        "filters": [wanted for wanted, _ in FILTERS],
        "orders": [order for order, _ in ORDERS],
    }
    outside = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    with serve_bundle(write_runs(folder, world())) as server:
        done = subprocess.run(
            [python, str(Path(__file__).with_name("sdk_driver.py"))],
            env={**outside, **server.environment()},
            cwd=folder,
            input=json.dumps(plan),
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        counts = server.requests.as_dict()
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "counts": counts, "server": server.url, "installed": request.param}


def older_than(seen: Mapping[str, Any], *release: int) -> bool:
    return tuple(map(int, seen["version"].split(".")[: len(release)])) < release


def as_the_sdk_gives(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Canonical rows, with integers beyond 64 bits rounded: the SDK decodes those as floats."""

    def rounded(value: Any) -> Any:
        return float(value) if isinstance(value, int) and abs(value) >= 2**63 else value

    return [canon_row({key: rounded(value) for key, value in row.items()}) for row in rows]


def same_rows(left: Iterable[Mapping[str, Any]], right: Iterable[Mapping[str, Any]]) -> bool:
    return same(as_the_sdk_gives(left), as_the_sdk_gives(right))


@pytest.mark.parametrize("path", ROWS)
@pytest.mark.parametrize("call", ["scan", "scan_small_pages"])
def test_a_scan_gives_every_row_of_the_bundle(seen: Mapping[str, Any], call: str, path: str) -> None:
    assert same_rows(seen["runs"][path][call], ROWS[path])


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
    if seen["version"].startswith("0.28."):
        # It confuses indices of top-level columns with indices of leaves
        # (docs/protocol.md, "Exported Parquet files"),
        # and gives other columns than were asked for: from W&B too.
        assert [set(row) for row in seen["columns"]] == [{"_step", "opt.lr", "nested"}] * 30
        return
    assert same_rows(seen["columns"], projected)


@pytest.mark.parametrize("path", ["acme/nano/plain01", "acme/nano/live01"])
def test_a_sampled_history_is_spread_evenly_and_keeps_both_ends(seen: Mapping[str, Any], path: str) -> None:
    run, rows = seen["runs"][path], ROWS[path]
    steps = [row["_step"] for row in run["history"]]
    assert len(steps) == 500
    assert (steps[0], steps[-1]) == (rows[0]["_step"], rows[-1]["_step"])
    assert len(run["history_few"]) == 7
    by_step = {row["_step"]: row["loss"] for row in rows}
    by_time = {row["_timestamp"]: row["loss"] for row in rows}
    assert [set(row) for row in run["history_keys"]] == [{"_step", "loss"}] * 11
    assert all(by_step[row["_step"]] == row["loss"] for row in run["history_keys"])
    assert [set(row) for row in run["history_x_axis"]] == [{"_timestamp", "loss"}] * 11
    assert all(by_time[row["_timestamp"]] == row["loss"] for row in run["history_x_axis"])


@pytest.mark.parametrize("path", ROWS)
def test_a_history_as_a_frame_has_the_rows_of_the_list(seen: Mapping[str, Any], path: str) -> None:
    run = seen["runs"][path]
    framed = [{key: row.get(key) for key in ("_step", "loss")} for row in run["history_frame"]]
    assert same_rows(framed, [{key: row.get(key) for key in ("_step", "loss")} for row in run["history_few"]])


def test_a_short_history_is_not_sampled(seen: Mapping[str, Any]) -> None:
    assert same_rows(seen["runs"]["acme/nano/hist01"]["history"], ROWS["acme/nano/hist01"])


@pytest.mark.parametrize("path", ROWS)
def test_the_facts_of_a_run_are_those_of_its_record(seen: Mapping[str, Any], path: str) -> None:
    given = {str(run.info.path): run for run in world()}[path]
    info, files = given.info, [source.record.name for source in given.files]
    run = seen["runs"][path]
    entity, project, run_id = path.split("/")
    told: dict[str, Any] = {
        "id": run_id,
        "path": [entity, project, run_id],
        "entity": entity,
        "project": project,
        "url": f"{seen['server']}/{entity}/{project}/runs/{run_id}",
        "name": info.name,
        "state": info.state,
        "tags": list(info.tags),
        "group": info.group,
        "job_type": info.job_type,
        "notes": info.notes,
        "commit": info.commit,
        "created_at": info.created_at,
        "heartbeat_at": info.heartbeat_at,
        "user": info.user,
        "sweep": info.sweep,
        "last_step": ROWS[path][-1]["_step"] if ROWS[path] else -1,
        "metadata": json.loads(FILES["wandb-metadata.json"][1]) if files else info.metadata or None,
        "files": sorted(files) or (["wandb-metadata.json"] if info.metadata else []),
    }
    assert {fact: run[fact] for fact in told} == told
    assert same(canon_record(run["config"]), canon_record(info.config))
    assert same(canon_record(run["rawconfig"]), canon_record({**info.config, **info.config_internal}))
    assert same(canon_record(run["summary_metrics"]), canon_record(info.summary))
    assert same(canon_record(run["summary"]), canon_record(info.summary))
    assert same(canon_record(run["system_metrics"]), canon_record(info.system_summary))


def test_system_metrics_are_a_stream_of_their_own(seen: Mapping[str, Any]) -> None:
    run = seen["runs"]["acme/nano/plain01"]
    assert [row["system.cpu"] for row in run["events"]] == [0, 2, 4.5, 6.5, 8.5, 11, 13, 15, 17.5, 19.5]
    assert seen["runs"]["acme/nano/hist01"]["events"] == []


def test_a_file_is_downloaded_whole(seen: Mapping[str, Any]) -> None:
    (file,) = seen["runs"]["acme/nano/plain01"]["downloads"]
    assert json.loads(file["content"]) == {"host": "node7", "gpu": None, "python": "3.11.7"}
    assert file["size"] == len(file["content"])


def test_the_files_of_a_run_are_those_that_it_logged(seen: Mapping[str, Any]) -> None:
    found = {file["name"]: file for file in seen["runs"]["acme/nano/hist01"]["downloads"]}
    assert found.keys() == FILES.keys()
    for name, (mediatype, data) in FILES.items():
        md5 = hashlib.md5(data, usedforsecurity=False).digest()
        told = (found[name]["content"].encode("latin-1"), found[name]["size"], found[name]["mimetype"])
        assert told == (data, len(data), mediatype)
        assert found[name]["md5"] == base64.b64encode(md5).decode()
        assert found[name]["url"].startswith(f"{seen['server']}/storage/")


def test_files_are_found_by_name_and_by_pattern(seen: Mapping[str, Any]) -> None:
    files = seen["files"]
    assert (files["length"], files["paged"]) == (4, sorted(FILES))
    assert files["names"] == ["empty.txt", "output.log"]
    assert files["one"] == 256 * 9
    # The file itself goes before what the run's record says of it.
    assert files["metadata"] == {"host": "box9", "os": "Linux"}
    if older_than(seen, 0, 20):
        assert "unexpected keyword argument 'pattern'" in files["pattern"]["error"]
    else:
        assert files["pattern"] == ["output.log"]


def test_a_run_without_rows_or_facts(seen: Mapping[str, Any]) -> None:
    run = seen["runs"]["acme/nano/empty01"]
    assert (run["user"], run["metadata"], run["files"], run["config"]) == (None, None, [], {})
    assert run["scan"] == run["history"] == run["events"] == run["history_keys"] == []


@pytest.mark.parametrize("index", range(len(FILTERS)), ids=[json.dumps(wanted) for wanted, _ in FILTERS])
def test_a_filter(seen: Mapping[str, Any], index: int) -> None:
    assert seen["listings"]["filters"][index] == FILTERS[index][1]


@pytest.mark.parametrize("index", range(len(ORDERS)), ids=[order for order, _ in ORDERS])
def test_an_order(seen: Mapping[str, Any], index: int) -> None:
    assert seen["listings"]["orders"][index] == ORDERS[index][1]


def test_listings(seen: Mapping[str, Any]) -> None:
    listings = seen["listings"]
    assert listings["all"] == listings["paged"] == IN_ORDER
    assert (listings["length"], listings["second"], listings["slice"]) == (5, "hist01", ["hist01", "odd01"])
    assert listings["lazy"] == [0.25, 0.5, None, 0.125, None]
    if older_than(seen, 0, 20):
        assert "unexpected keyword argument 'lazy'" in listings["eager"]["error"]
    else:
        assert listings["eager"] == [0.1, 0.01, 0.001, 0.3, None]


def test_projects_and_sweeps(seen: Mapping[str, Any]) -> None:
    listings = seen["listings"]
    assert listings["projects"] == ["nano", "other"]
    assert listings["project"] == ["nano", f"{seen['server']}/acme/nano/workspace"]
    assert listings["sweeps"] == ["sweep1"]
    assert listings["sweep"] == ["sweep1", "FINISHED", "acme", "nano"]
    assert listings["sweep_runs"] == ["plain01", "hist01"]
    assert listings["sweeps_along"] == ["sweep1", "sweep1", None, None, None]
    assert (listings["best_run"], listings["worst_run"]) == ("plain01", "hist01")


def test_the_config_of_a_sweep(seen: Mapping[str, Any]) -> None:
    listings = seen["listings"]
    config, name, order = listings["sweep_config"]
    assert same(canon_record(config), canon_record(SWEEP_CONFIG))
    assert listings["sweep_of_a_run"] == config
    assert (name, order) == ("lr hunt", "+summary_metrics.loss")
    assert listings["best_run_by_config"] == "plain01"
    assert listings["sweep_expected"] == 20
    if older_than(seen, 0, 23):
        assert "has no attribute 'method'" in listings["sweep_method"]["error"]
    else:
        assert listings["sweep_method"] == "bayes"


def test_histories_of_a_whole_project(seen: Mapping[str, Any]) -> None:
    listings = seen["listings"]
    ends = {run: (rows[0]["_step"], rows[-1]["_step"]) for run, rows in ROWS.items() if rows}
    for call in ("histories", "histories_keys", "histories_frame"):
        steps: dict[str, list[int]] = {}
        for row in listings[call]:
            steps.setdefault(f"acme/nano/{row['run_id']}", []).append(row["_step"])
        assert {run: len(found) for run, found in steps.items()} == dict.fromkeys(ends, 3)
        assert {run: (found[0], found[-1]) for run, found in steps.items()} == ends


def test_who_is_signed_in_and_how_runs_may_be_named(seen: Mapping[str, Any]) -> None:
    account = seen["account"]
    assert account["default_entity"] == "acme"
    assert account["viewer"] == ["replay", "acme", ["acme", "beta"]]
    path = ["acme", "nano", "plain01"]
    assert account["without_entity"] == account["by_id"] == account["by_url"] == path


NO = "the bundle 'runs.wandb.zip' has no"
ADDING = "-o more.wandb.zip` downloads it, to be served with this bundle or merged into it"


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("run", (f"{NO} run 'acme/nano/plain1', the nearest are 'plain01', 'live01'; "
                f"`pull-logs fetch -r acme/nano/plain1 {ADDING}")),
        ("display_name", (f"{NO} run 'acme/nano/eager-fox-1', but 'acme/nano/plain01' has that display name: "
                         f"request it by its id; `pull-logs fetch -r acme/nano/eager-fox-1 {ADDING}")),
        ("project", (f"{NO} project 'acme/nan', the nearest are 'acme/nano', 'beta/nano', 'acme/other'; "
                    f"`pull-logs fetch -p acme/nan {ADDING}")),
        ("entity", (f"{NO} run of entity 'acne', the nearest is 'acme'; "
                   f"`pull-logs fetch -p acne/PROJECT {ADDING}")),
        ("sweep", (f"{NO} run of sweep 'acme/nano/sweep9', the nearest is 'sweep1'; "
                  f"`pull-logs fetch --sweep acme/nano/sweep9 {ADDING}")),
        ("file", (f"{NO} file 'model.pt' of run 'acme/nano/plain01', it has 'wandb-metadata.json'; "
                 "`pull-logs fetch -r acme/nano/plain01 --files model.pt -o more.wandb.zip` downloads it, "
                 "to be merged into this bundle")),
        ("artifacts", (f"{NO} artifacts; `pull-logs fetch -r acme/nano/plain01 --artifacts all -o "
                       "more.wandb.zip` downloads those of the run, to be merged into this bundle")),
        ("team", ("on type 'Entity': this server replays a bundle, which holds runs with their config, "
                  "summary, history, system metrics, console logs, metadata, files and artifacts; for "
                  "anything else use W&B itself, or replace this call in the test")),
        ("filter", "runs have no field 'colour'; write config.<key>, summary_metrics.<key>, displayName"),
        ("operator", "'$near' is not an operator of W&B's filters"),
    ],
)  # fmt: skip
def test_a_miss_is_a_sentence_in_the_exception(seen: Mapping[str, Any], asked: str, sentence: str) -> None:
    # Releases before wandb-core show the error as a dict, with its quotes escaped.
    assert sentence in seen["misses"][asked]["error"].replace("\\'", "'")


def test_a_metric_that_was_never_logged_has_no_rows_as_in_wandb(seen: Mapping[str, Any]) -> None:
    assert seen["misses"]["metric"] == []


@pytest.mark.parametrize(
    "write", ["update", "summary", "delete", "delete_file", "create_project", "create_run", "init"]
)
def test_what_would_change_something_is_refused_with_a_sentence(seen: Mapping[str, Any], write: str) -> None:
    assert READ_ONLY in seen["writes"][write]["error"]


def test_the_downloaded_export_is_the_whole_run(seen: Mapping[str, Any]) -> None:
    if older_than(seen, 0, 24):
        assert "has no attribute 'download_history_exports'" in seen["exports"]["error"]
        return
    (path,) = seen["exports"]
    assert Path(path).name == "acme_nano_plain01_0.runhistory.parquet"
    rows = list(batch_rows(batch_from_arrow(pq.read_table(path))))
    assert same(rows, list(batch_rows(batch_from_rows(ROWS["acme/nano/plain01"]))))


def test_exported_runs_are_not_paged(seen: Mapping[str, Any]) -> None:
    """Pages are for the two runs that are served live, and exports for the two that are not."""
    if seen["installed"] != INSTALLED:
        pytest.skip("the requests are known for the installed release only")
    counts = seen["counts"]
    live_pages = 4 + 1  # 3,598 steps of live01 in thousands, and 40 of odd01
    small_pages = 6 + 1
    windows = 2
    assert counts["SampledHistoryPage"] == live_pages
    assert counts["HistoryPage"] == live_pages + small_pages + windows


def as_the_sdk_shows(line: ConsoleLine) -> list[Any]:
    """A line with its time as the SDK parses it; it has none for what is not a time."""
    stamp = None if line.timestamp == "yesterday" else f"{line.timestamp}+00:00"
    return [line.number, stamp, line.level, line.label, line.text]


def test_console_logs_are_those_of_the_bundle(seen: Mapping[str, Any]) -> None:
    found, lines = seen["console"], list(map(as_the_sdk_shows, CONSOLE))
    if older_than(seen, 0, 29):
        assert "has no attribute 'console_logs'" in found["all"]["error"]
        return
    assert found["all"] == found["paged"] == found["more_than_all"] == lines
    assert found["last"] == lines[-3:]
    assert found["silent"] == found["elsewhere"] == []
    counts = seen["counts"]
    assert counts["RunConsoleLogTail"] == 2
    assert counts["RunConsoleLogPage"] == 2 + -(-len(lines) // 7) + 2
