"""`pull-logs import` says which values lost their files, and replay does not send anyone to a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT
from logwriting import record, row, run, write_run_folder

TABLE = {"_type": "table-file", "path": "media/table/pred_0.table.json"}
IMAGES = {"_type": "images/separated", "filenames": ["media/images/a.png"], "count": 1}
LEFT = "3 values of 2 keys: pred (2 table-file), samples (1 images/separated)"
MISSES = """
import json, wandb
api = wandb.Api()
run = api.run("local/proj/abc")
def miss(action):
    try:
        return action()
    except Exception as exc:
        return str(exc)
print(json.dumps([
    miss(lambda: run.file("media/table/pred_0.table.json").size),
    miss(lambda: api.run("local/proj/abd")),
    miss(lambda: list(api.runs("local/none"))),
    miss(lambda: list(api.projects("nobody"))),
    miss(lambda: api.sweep("local/proj/sweep")),
]))
"""


def pull_logs(*words: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pull_logs", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.fixture
def imported(tmp_path: Path) -> tuple[Path, str]:
    """A bundle of an offline run with a table and images, and what `import` printed on stderr."""
    records = [
        run("abc"),
        row(0, loss=0.5, pred=TABLE),
        row(1, loss=0.25, pred=TABLE, samples=IMAGES),
        record(exit={"exit_code": 0, "runtime": 7}),
    ]
    write_run_folder(tmp_path / "wandb", "offline-run-20260101_000000-abc", records)
    out = tmp_path / "local.wandb.zip"
    done = pull_logs("import", tmp_path / "wandb", "-o", out)
    assert done.returncode == 0, done.stderr
    return out, done.stderr


def test_an_import_says_which_values_point_to_files_and_how_many(imported: tuple[Path, str]) -> None:
    note = (
        f"pull-logs: note: local/proj/abc: the bundle lacks the files of {LEFT}; "
        "`pull-logs import --media` copies them from the folder of the run"
    )
    assert note in imported[1].splitlines()


def test_no_hint_of_a_replayed_import_names_a_server(imported: tuple[Path, str], tmp_path: Path) -> None:
    done = pull_logs("exec", "-b", imported[0], "--", sys.executable, "-c", MISSES, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    file, *others = json.loads(done.stdout)
    assert "fetch" not in done.stdout
    assert file.rstrip().endswith(
        "`pull-logs import RUN_DIR --files media/table/pred_0.table.json` copies files of the run folder; "
        f"the bundle lacks those of {LEFT}"
    )
    assert len(others) == 4
    for message in others:
        assert message.rstrip().endswith(
            "it holds runs that were imported and are on no server: "
            "`pull-logs import RUN_DIR -o more.wandb.zip` imports another, to be served with this bundle "
            "or merged into it"
        )


def test_a_missing_file_of_an_imported_run_is_not_to_be_fetched(imported: tuple[Path, str]) -> None:
    from pull_logs import open_bundle
    from pull_logs.errors import FileMissingError

    with open_bundle(imported[0]) as bundle, pytest.raises(FileMissingError) as found:
        bundle["local/proj/abc"].files["model.pt"]
    assert str(found.value) == (
        "run 'local/proj/abc' has no file 'model.pt'; "
        "`pull-logs import --files` copies files from `files/` of the run folder"
    )
