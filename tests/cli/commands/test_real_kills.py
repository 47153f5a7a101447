"""Real kills, by SIGKILL at a change of the disk: `set add`, `set compact` and `archive` lose nothing.

`python -m pytest -m slow tests/cli/commands/test_real_kills.py` kills at every second change of each.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bundlekit import ROWS, bundle_run, make_bundle
from setkit import grown_bundle

from pull_logs.cli.main import main
from pull_logs.replay import serve_bundle
from pull_logs.snapshot import add_bundles, open_bundle_set, open_store
from pull_logs.snapshot.sets import verify_set

PROGRAM = """
import os, signal, sys
from pull_logs.cli.main import main

folder, last = sys.argv[1], int(sys.argv[2])
changes, done = {"os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir"}, 0

def hook(event, arguments):
    global done
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if (event in changes or writes) and os.path.abspath(str(arguments[0])).startswith(folder):
        done += 1
        if done == last:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
sys.exit(main(sys.argv[3:]))
"""

Model = Mapping[str, int]


@dataclass(frozen=True)
class Case:
    """A command on a set, and what the set has before and after it."""

    words: Sequence[str]
    before: Model
    after: Model


def held(folder: Path) -> Model:
    """The runs of the set and their rows, read from the members."""
    if not list(folder.glob("set/catalog-*.parquet")):
        return {}
    with open_bundle_set(folder / "set") as opened:
        return {path: len(list(opened[path].scan_history())) for path in opened}


def run_until(folder: Path, last: int, words: Sequence[str]) -> int:
    """Run a command in a process that kills itself at a change of the folder; return how it ended."""
    program = [sys.executable, "-c", PROGRAM, str(folder), str(last), *words]
    return subprocess.run(program, cwd=folder, capture_output=True, check=False).returncode


def added(folder: Path) -> Case:
    store = open_store(folder / "set", create=True)
    for name in "ab":
        add_bundles(store, [grown_bundle(folder / f"{name}.wandb.zip", {f"acme/nano/{name}": 2})])
    grown_bundle(folder / "new.wandb.zip", {"acme/nano/new": 3, "acme/nano/a": 4})
    before = {"acme/nano/a": 2, "acme/nano/b": 2}
    after = {**before, "acme/nano/new": 3, "acme/nano/a": 4}
    return Case(("set", "add", "set", "new.wandb.zip"), before, after)


def compacted(folder: Path) -> Case:
    case = added(folder)
    return Case(("set", "compact", "set", "--grace", "0"), case.before, case.before)


NIGHT = ("archive", "acme/nano", "lab/vision", "-q", "-o", "set")


def archived(folder: Path) -> Case:
    assert main((*NIGHT[:-1], str(folder / "set"))) == 0
    before = {"acme/nano/a": 3, "acme/nano/b": 3, "lab/vision/c": 3}
    return Case(NIGHT, before, {**before, "acme/nano/a": 4, "acme/nano/d": 3})


def wandb(path: Path, *, grown: bool) -> Path:
    """W&B on the first night, or on the second: a run went on, one is gone, and one is new."""
    runs: dict[str, Any] = {"acme/nano/a": ROWS, "acme/nano/b": ROWS, "lab/vision/c": ROWS}
    if grown:
        del runs["acme/nano/b"]
        runs |= {"acme/nano/a": (*ROWS, {"_step": 9, "loss": 0.1}), "acme/nano/d": ROWS}
    return make_bundle(
        path,
        [
            bundle_run(
                run, rows, heartbeat_at=f"2026-11-2{len(rows)}T08:00:00Z", created_at="2026-11-19T10:00:00Z"
            )
            for run, rows in runs.items()
        ],
    )


@contextmanager
def serving(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with serve_bundle(bundle) as server, monkeypatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        yield


def kill(template: Path, case: Case, last: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Kill the command at a change, look at the set, and run it again; return whether it was killed."""
    folder = shutil.copytree(template, template.with_name(f"killed{last}"))
    code = run_until(folder, last, case.words)
    if code != -signal.SIGKILL:
        assert code == 0
        assert held(folder) == case.after
        return False
    found = held(folder)
    changed = {path for path in case.before.keys() | found.keys() if case.before.get(path) != found.get(path)}
    assert all(found.get(path) == case.after.get(path) for path in changed), last
    monkeypatch.chdir(folder)
    words = case.words if found == case.before or case.words[1] != "add" else ("set", "info", "set")
    assert main(words) == 0
    assert held(folder) == case.after
    assert verify_set(folder / "set").damages == ()
    assert not (folder / "set" / ".archive").exists()
    shutil.rmtree(folder)
    return True


@pytest.mark.parametrize("moment", [25, 70])
def test_a_killed_night_goes_on(moment: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The set has each project as it was or as it has to be, and the same command completes it."""
    template = tmp_path / "template"
    template.mkdir()
    with serving(wandb(tmp_path / "one.zip", grown=False), monkeypatch):
        case = archived(template)
    with serving(wandb(tmp_path / "two.zip", grown=True), monkeypatch):
        assert kill(template, case, moment, monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("prepare", [added, compacted, archived])
def test_each_second_change_of_a_command_may_be_its_last(
    prepare: Callable[[Path], Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is half published, and the same command completes it."""
    template = tmp_path / "template"
    template.mkdir()
    with serving(wandb(tmp_path / "one.zip", grown=False), monkeypatch):
        case = prepare(template)
    moments = 0
    with serving(wandb(tmp_path / "two.zip", grown=True), monkeypatch):
        while kill(template, case, 1 + 2 * moments, monkeypatch):
            moments += 1
    assert moments > 5
