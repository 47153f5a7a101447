"""The main job on the recorded runs: four ways to the same rows, and the same bytes every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from checkout import ROOT

from pull_logs import open_bundle, verify_bundle
from pull_logs.fetch import Selection, load_settings, pull_sync
from pull_logs.replay import serve_bundle
from pull_logs.rows.batches import batch_rows
from pull_logs.rows.canonical import canon_record, canon_row, same
from pull_logs.snapshot import Run
from pull_logs.sources import import_runs, read_run_dirs

RECORDED = ROOT / "fixtures" / "digits" / "wandb"
PROJECT = "acme/digits"

READ_WITH_THE_SDK = """
import json, sys, wandb
api = wandb.Api()
out = {}
for run in api.runs(sys.argv[1]):
    out["/".join(run.path)] = {
        "rows": list(run.scan_history()),
        "config": dict(run.config),
        "summary": run.summary._json_dict,
        "state": run.state,
        "name": run.name,
        "tags": run.tags,
    }
keyed = api.run(sys.argv[2])
out["keyed"] = list(keyed.scan_history(keys=["train/loss"]))
out["sampled"] = len(keyed.history(samples=50, pandas=False))
with open(sys.argv[3], "w") as sink:
    json.dump(out, sink)
"""


@dataclass(frozen=True, slots=True)
class Job:
    """What one round of the main job leaves behind."""

    imported: Path
    fetched: Path
    seen_by_sdk: dict[str, Any]


def read_with_the_sdk(environment: dict[str, str], first: str, out: Path) -> dict[str, Any]:
    subprocess.run(
        [sys.executable, "-c", READ_WITH_THE_SDK, PROJECT, first, str(out)],
        check=True,
        env={**os.environ, **environment, "WANDB_SILENT": "true"},
        timeout=110,
    )
    return json.loads(out.read_text())  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    place = tmp_path_factory.mktemp("job")
    imported, fetched = place / "imported.wandb.zip", place / "fetched.wandb.zip"
    import_runs([RECORDED], out=imported, entity=None, project=None)
    with open_bundle(imported) as bundle:
        first = bundle.run_paths[0]
    with serve_bundle(imported) as server:
        settings = load_settings(environ=server.environment())
        pull_sync(Selection(projects=(PROJECT,)), out=fetched, settings=settings)
        seen = read_with_the_sdk(server.environment(), first, place / "seen.json")
    return Job(imported, fetched, seen)


def paths() -> list[str]:
    with open_bundle(ROOT / "fixtures" / "digits.wandb.zip") as bundle:
        return list(bundle.run_paths)


def assert_same_rows(left: list[dict[str, Any]], right: list[dict[str, Any]]) -> None:
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert same(one, other), (one, other)


def rows(run: Run) -> list[dict[str, Any]]:
    return list(run.scan_history())


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """The rows of every recorded run, decoded from its log, by path."""
    found = read_run_dirs([RECORDED], scratch=tmp_path_factory.mktemp("scratch"))
    return {
        str(run.info.path): [row for batch in run.batches() for row in batch_rows(batch)]
        for run in found.runs
    }


@pytest.mark.parametrize("path", paths())
def test_log_import_fetch_and_sdk_give_the_same_rows(
    job: Job, logged: dict[str, list[dict[str, Any]]], path: str
) -> None:
    with open_bundle(job.imported) as imported, open_bundle(job.fetched) as fetched:
        truth = rows(imported[path])
        assert_same_rows(truth, logged[path])
        assert_same_rows(truth, rows(fetched[path]))
        assert_same_rows(truth, [canon_row(row) for row in job.seen_by_sdk[path]["rows"]])


def test_import_and_fetch_have_one_content_id(job: Job) -> None:
    with open_bundle(job.imported) as imported, open_bundle(job.fetched) as fetched:
        assert imported.content_id == fetched.content_id
        assert imported.bundle_id != fetched.bundle_id  # the host it was read from is another


def test_every_fetched_run_is_complete_by_what_the_server_promised(job: Job) -> None:
    with open_bundle(job.fetched) as fetched:
        for run in fetched.runs():
            assert run.complete, run.coverage
            assert run.coverage.promised_rows == run.rows
            assert run.coverage.promised_last_step == (-1 if run.last_step is None else run.last_step)


@pytest.mark.parametrize("path", paths())
def test_the_sdk_reads_config_summary_and_labels_as_the_bundle_holds_them(job: Job, path: str) -> None:
    seen = job.seen_by_sdk[path]
    with open_bundle(job.imported) as bundle:
        run = bundle[path]
        assert same(canon_record(seen["config"]), run.config)
        assert same(canon_record(seen["summary"]), canon_record(run.summary))
        assert (seen["state"], seen["name"], sorted(seen["tags"])) == (run.state, run.name, sorted(run.tags))


def test_the_sdk_reads_one_metric_where_it_is_present(job: Job) -> None:
    with open_bundle(job.imported) as bundle:
        run = bundle[bundle.run_paths[0]]
        expected = [row["train/loss"] for row in run.scan_history(keys=["train/loss"])]
    assert [row["train/loss"] for row in job.seen_by_sdk["keyed"]] == expected
    assert job.seen_by_sdk["sampled"] == 50


IMPORT_IN_ORDER = """
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from pull_logs.sources import read_run_dirs
from pull_logs.snapshot import write_bundle
with TemporaryDirectory() as scratch:
    runs = list(read_run_dirs([Path(sys.argv[1])], scratch=Path(scratch)).runs)
    if sys.argv[3] == "reversed":
        runs.reverse()
    write_bundle(Path(sys.argv[2]), runs, force=True)
"""


@pytest.mark.parametrize(("seed", "order"), [("0", "forward"), ("4242", "reversed")])
def test_the_same_input_gives_the_same_bytes(job: Job, tmp_path: Path, seed: str, order: str) -> None:
    again = tmp_path / "again.wandb.zip"
    subprocess.run(
        [sys.executable, "-c", IMPORT_IN_ORDER, str(RECORDED), str(again), order],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": seed, "TZ": "Asia/Kolkata", "LC_ALL": "C"},
        cwd=ROOT,
    )
    assert again.read_bytes() == job.imported.read_bytes()


def test_the_bundle_kept_with_the_fixtures_is_the_one_that_import_makes(job: Job) -> None:
    kept = (ROOT / "fixtures" / "digits.wandb.zip").read_bytes()
    assert kept == (ROOT / "pull_logs" / "data" / "digits.wandb.zip").read_bytes()
    with open_bundle(ROOT / "fixtures" / "digits.wandb.zip") as bundle, open_bundle(job.imported) as imported:
        assert bundle.content_id == imported.content_id


def verify_by_command(bundle: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pull_logs", "verify", str(bundle)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


def test_one_flipped_byte_anywhere_is_found(job: Job, tmp_path: Path) -> None:
    whole = job.imported.read_bytes()
    damaged = tmp_path / "damaged.wandb.zip"
    random = Random(20261123)
    places = [0, len(whole) - 1, *(random.randrange(len(whole)) for _ in range(150))]
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << random.randrange(8)
        damaged.write_bytes(changed)
        report = verify_bundle(damaged)
        assert report.damages, place
        assert report.damages[0].reason


def test_the_command_names_the_damaged_file_and_exits_6(job: Job, tmp_path: Path) -> None:
    whole = job.imported.read_bytes()
    damaged = tmp_path / "damaged.wandb.zip"
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    damaged.write_bytes(changed)
    done = verify_by_command(damaged)
    assert done.returncode == 6
    assert "history.parquet" in done.stdout or "system.parquet" in done.stdout
    assert str(damaged) in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_truncated_bundle_exits_6(job: Job, tmp_path: Path, share: float) -> None:
    whole = job.imported.read_bytes()
    cut = tmp_path / "cut.wandb.zip"
    cut.write_bytes(whole[: int(len(whole) * share)])
    done = verify_by_command(cut)
    assert done.returncode == 6
    assert str(cut) in done.stderr
