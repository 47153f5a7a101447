"""A run that any supported release of the SDK records offline is imported, served and fetched as it was.

`pytest -m slow` runs it, in environments that are made once, in pytest's cache.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sdkruns
from environments import INSTALLED, python_with_sdk, sdk_releases

from pull_logs.cli.main import main
from pull_logs.fetch import PullOptions, PullReport, Selection, Settings, pull_sync
from pull_logs.replay import serve_bundle
from pull_logs.rows.canonical import canon_record, canon_row, same
from pull_logs.snapshot import open_bundle

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

OLDER = ("0.30.0", "0.29.0", "0.28.2", "0.28.0")
"""Releases that the project supports, down to the oldest."""

READING = """
import json, sys
import wandb
run = wandb.Api().run("team/proj/kinds")
print(json.dumps({
    "version": wandb.__version__, "rows": list(run.scan_history()), "config": run.config,
    "summary": dict(run.summary_metrics),
    "facts": [run.name, run.state, run.tags, run.group, run.job_type, run.notes],
}))
"""


@dataclass(frozen=True)
class Recorded:
    """A run that a release recorded: its bundle, what the release read of that, and the fetched bundle."""

    bundle: Path
    seen: dict[str, Any]
    fetched: Path
    report: PullReport


def run_python(python: Path, folder: Path, *words: str, **environment: str) -> str:
    outside = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    own = {"HOME": str(folder), "WANDB_ERROR_REPORTING": "false", "WANDB_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run(
        [python, *words],
        env=outside | own | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=sdk_releases(*OLDER))
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("release")
    python = python_with_sdk(request.config, request.param)
    run_python(python, folder, sdkruns.__file__, "kinds", str(folder))
    bundle, fetched = folder / "a.wandb.zip", folder / "b.wandb.zip"
    assert main(["import", str(folder / "wandb"), "-o", str(bundle)]) == 0
    with serve_bundle(bundle) as server:
        seen = json.loads(run_python(python, folder, "-c", READING, **server.environment()))
        report = pull_sync(
            Selection(projects=("team/proj",)),
            out=fetched,
            settings=Settings(base_url=server.url, api_key=server.api_key),
            options=PullOptions(system=True),
        )
    assert request.param in (INSTALLED, seen["version"])
    return Recorded(bundle, seen, fetched, report)


def test_the_import_has_what_was_logged(recorded: Recorded) -> None:
    with open_bundle(recorded.bundle) as bundle:
        run = bundle["kinds"]
        rows = [
            {key: value for key, value in row.items() if key not in ("_timestamp", "_runtime")}
            for row in run.scan_history()
        ]
        info = run.info
    assert same(rows[:5], [canon_row({**sdkruns.kinds_row(step), "_step": step}) for step in range(5)])
    assert rows[5:] == [
        {"_step": 7, "hist": {"_type": "histogram", "values": [2, 3], "bins": [1, 3, 5]}},
        {"_step": 9, "part": 1, "rest": 2},
    ]
    assert same(dict(info.config), canon_record({**sdkruns.CONFIG, "late": 1}))
    assert (info.summary["val/acc"], info.summary["kept"]) == ({"max": 0.4}, {"q": 1})
    assert (info.summary["_step"], info.summary["rest"], "gone" in info.summary) == (9, 2, False)
    facts = (info.name, info.state, info.tags, info.group, info.job_type, info.notes)
    assert facts == ("a name", "finished", ("b", "a"), "g", "t", "n")


def test_the_release_reads_from_the_bundle_what_it_recorded(recorded: Recorded) -> None:
    seen = recorded.seen
    with open_bundle(recorded.bundle) as bundle:
        run = bundle["kinds"]
        assert same([canon_row(row) for row in seen["rows"]], list(run.scan_history()))
        assert same(canon_record(seen["config"]), dict(run.info.config))
        assert same(canon_record(seen["summary"]), dict(run.info.summary))
    assert seen["facts"] == ["a name", "finished", ["b", "a"], "g", "t", "n"]


def test_what_is_fetched_is_what_was_imported(recorded: Recorded) -> None:
    assert recorded.report.incomplete == ()
    with open_bundle(recorded.bundle) as one, open_bundle(recorded.fetched) as other:
        run, copy = one["kinds"], other["kinds"]
        assert (run.rows_hash, run.system_rows_hash) == (copy.rows_hash, copy.system_rows_hash)
        assert same(dict(run.info.config), dict(copy.info.config))
        assert same(dict(run.info.config_internal), dict(copy.info.config_internal))
        assert same(dict(run.info.summary), dict(copy.info.summary))
