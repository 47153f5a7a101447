"""Two writers of a set, of which one does all that it does between two steps of the other.

A step is a use of the folder or of the object storage. Whatever the two are and wherever they meet, the set
is afterwards what it is if one comes after the other.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from setkit import grown_bundle
from writerkit import (
    PAIRS,
    Work,
    add,
    add_again,
    check,
    compact,
    compact_and_add,
    compact_twice,
    drop,
    expected,
    fill,
    meet,
)

from pull_logs.snapshot import open_bundle_set, open_store

pytest_plugins = ["setfixtures"]


def meet_often(first: Work, second: Work, template: Path, root: Path, every: int) -> None:
    """Let two works meet at each of some steps, and compare the set."""
    shutil.copytree(template / "set", root)
    at = 0
    while meet(first, second, root, template / "given", at):
        check(root, expected(first, second))
        shutil.rmtree(root)
        shutil.copytree(template / "set", root)
        at += every
    assert at > 4


@pytest.mark.parametrize(
    ("first", "second"),
    [(add, compact_twice), (compact, add_again), (compact, compact_twice)],
    ids=lambda work: work.__name__,
)
def test_writers_of_a_folder_meet(template: Path, tmp_path: Path, first: Work, second: Work) -> None:
    """No run is lost, and the catalog names members that exist (every seventh step)."""
    meet_often(first, second, template, tmp_path / "set", 7)


@pytest.mark.parametrize("step", ["mark", "remove", "remove_version"])
def test_a_compaction_that_slept_removes_no_member_that_was_added_meanwhile(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Another one removed the same member, and the bundle was added again: it has another name."""
    root, given, met = tmp_path / "set", template / "given", list[object]()
    shutil.copytree(template / "set", root)
    store = open_store(root)
    wake = getattr(store, step)

    def sleep(*arguments: object) -> object:
        if not met:
            met.append(compact_and_add(open_store(root), given))
        return wake(*arguments)

    monkeypatch.setattr(store, step, sleep)
    compact(store, given)
    check(root, expected(compact_and_add))
    with open_bundle_set(root) as opened:
        assert opened.entry("d").location.member.endswith("-2.wandb.zip")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("first", "second"), PAIRS, ids=lambda work: work.__name__)
def test_writers_of_a_folder_meet_at_each_step(
    template: Path, tmp_path: Path, first: Work, second: Work
) -> None:
    """The same with all pairs: `pytest -m slow tests/snapshot/sets`."""
    meet_often(first, second, template, tmp_path / "set", 1)


PROGRAM = """
import sys
from pathlib import Path
from pull_logs.snapshot import add_bundles, drop_runs, open_store
from pull_logs.snapshot.sets import compact_set
store = open_store(sys.argv[1])
for word in sys.argv[2:]:
    if word == "compact":
        compact_set(store, grace=0)
    elif word.endswith(".zip"):
        add_bundles(store, [Path(word)])
    else:
        drop_runs(store, [word])
"""


def test_processes_that_add_drop_and_compact_at_the_same_time_lose_no_run(tmp_path: Path) -> None:
    """One adds bundles and drops their runs, the other one adds them again, the third one compacts."""
    (tmp_path / "given").mkdir()
    fill(tmp_path / "set", tmp_path / "given")
    more = [
        str(grown_bundle(tmp_path / f"m{number}.wandb.zip", {f"acme/more/r{number}": 2}))
        for number in range(5)
    ]
    given = [str(tmp_path / "given" / f"{name}.wandb.zip") for name in ("dropped", "new")]
    works = [[*more, "r0", "r3"], [given[0], "d", "b", given[1]], ["compact"] * 8]
    started = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path / "set"), *work]) for work in works
    ]
    assert [process.wait() for process in started] == [0, 0, 0]
    check(
        tmp_path / "set",
        expected(add, drop) | {f"acme/more/r{number}": 2 for number in range(5) if number % 3},
    )
    assert not any(Path(file).exists() for file in (*more, *given))
