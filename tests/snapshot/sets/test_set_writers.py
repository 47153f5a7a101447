"""Several writers of one set: no run is lost."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from setkit import grown_bundle, held

from pull_logs.errors import FileMissingError, MachineLimitError
from pull_logs.runs import RunPath
from pull_logs.snapshot import BundleSet, add_bundles, drop_runs, open_bundle_set, open_store
from pull_logs.snapshot.sets import catalog_writer, compact_set
from pull_logs.snapshot.sets.catalog_writer import ATTEMPTS, Changes, commit
from pull_logs.snapshot.sets.compaction import clean_up

WRITERS, EACH = 4, 3


def bundles_of(folder: Path) -> list[list[Path]]:
    return [
        [
            grown_bundle(
                folder / f"w{writer}b{number}.wandb.zip",
                {f"acme/p{writer}/r{number}": 2, "acme/all/x": number},
            )
            for number in range(EACH)
        ]
        for writer in range(WRITERS)
    ]


EXPECTED = {f"acme/p{writer}/r{number}": 2 for writer in range(WRITERS) for number in range(EACH)} | {
    "acme/all/x": EACH - 1
}


def test_threads_that_add_at_the_same_time_lose_no_run(tmp_path: Path) -> None:
    """Each thread adds bundles one by one, all with a run in common."""
    given = bundles_of(tmp_path)

    def work(files: list[Path]) -> None:
        for file in files:
            add_bundles(open_store(tmp_path / "set", create=True), [file])

    (tmp_path / "set").mkdir()
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(work, given))
    with open_bundle_set(tmp_path / "set") as opened:
        assert held(opened) == EXPECTED


PROGRAM = """
import sys
from pathlib import Path
from pull_logs.snapshot import add_bundles, open_store
for file in sys.argv[2:]:
    add_bundles(open_store(sys.argv[1]), [Path(file)])
"""


def test_processes_that_add_at_the_same_time_lose_no_run(tmp_path: Path) -> None:
    """The same with processes."""
    given = bundles_of(tmp_path)
    (tmp_path / "set").mkdir()
    started = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path / "set"), *map(str, files)])
        for files in given[:2]
    ]
    assert [process.wait() for process in started] == [0, 0]
    with open_bundle_set(tmp_path / "set") as opened:
        assert held(opened) == {
            path: rows for path, rows in EXPECTED.items() if path[5:7] not in ("p2", "p3")
        }


def test_a_writer_that_is_overtaken_applies_its_change_again(tmp_path: Path) -> None:
    """Another writer adds and drops runs between reading and publishing."""
    store = open_store(tmp_path / "set", create=True)
    add_bundles(store, [grown_bundle(tmp_path / "a.wandb.zip", {"acme/nano/a": 1, "acme/nano/gone": 1})])
    with open_bundle_set(tmp_path / "set") as opened:
        entry = opened.entry("a")
    seen: list[int] = []

    def change(current: BundleSet | None) -> Changes:
        assert current is not None
        seen.append(current.version)
        if len(seen) == 1:
            drop_runs(open_store(tmp_path / "set"), ["gone"])
        return {path: None for path in [entry.path] if str(path) in current}

    assert commit(store, change, pause=lambda _seconds: None) == 3
    assert seen == [1, 2]
    with open_bundle_set(tmp_path / "set") as opened:
        assert held(opened) == {}


def test_a_writer_that_is_always_overtaken_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of attempts is bounded, and the pauses grow."""
    store = open_store(tmp_path / "set", create=True)
    monkeypatch.setattr(type(store), "publish", lambda *_arguments: False)
    pauses: list[float] = []
    with pytest.raises(MachineLimitError) as caught:
        commit(store, lambda _current: {}, pause=pauses.append)
    assert str(caught.value) == (
        f"{str(tmp_path / 'set')!r} could not be changed: other writers were faster {ATTEMPTS} times; run the"
        " same command again when fewer programs write to the set"
    )
    assert len(pauses) == ATTEMPTS
    assert max(pauses) <= catalog_writer._LONGEST_PAUSE
    assert pauses[-1] > pauses[0]


def test_a_version_that_is_listed_and_cannot_be_opened_ends_a_removal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members are removed only if every version that may need them was read."""
    store = open_store(tmp_path / "set", create=True)
    add_bundles(store, [grown_bundle(tmp_path / "a.wandb.zip", {"acme/nano/a": 2})])
    versions = store.versions()
    monkeypatch.setattr(type(store), "versions", lambda _: {**versions, 7: versions[1]})
    with pytest.raises(FileMissingError) as caught:
        clean_up(store)
    assert str(caught.value) == (
        f"{str(tmp_path / 'set' / 'catalog-00000007.parquet')!r} is listed and cannot be opened"
    )


def test_a_name_that_is_free_again_is_not_taken_for_the_next_version(tmp_path: Path) -> None:
    """A writer sleeps so long that old versions were removed: it publishes its change on the latest one."""
    store = open_store(tmp_path / "set", create=True)
    add_bundles(store, [grown_bundle(tmp_path / "a.wandb.zip", {"acme/nano/a": 1, "acme/nano/b": 1})])
    slept: list[bool] = []

    def change(current: BundleSet | None) -> Changes:
        assert current is not None
        if not slept:
            slept.append(True)
            for number in range(3):
                more = grown_bundle(tmp_path / f"m{number}.wandb.zip", {f"acme/nano/m{number}": 1})
                add_bundles(open_store(tmp_path / "set"), [more])
            for version in (1, 2):
                (tmp_path / "set" / f"catalog-{version:08}.parquet").unlink()
        return {run.path: None for run in current.runs() if run.path.run_id == "a"}

    assert commit(store, change, pause=lambda _seconds: None) == 5
    with open_bundle_set(tmp_path / "set") as opened:
        assert sorted(held(opened)) == ["acme/nano/b", "acme/nano/m0", "acme/nano/m1", "acme/nano/m2"]


@pytest.mark.parametrize("work", ["add", "drop", "compact"])
def test_a_writer_whose_answer_was_lost_recognises_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    """The request is sent again and finds the version that it made: the report says what was done."""
    store = open_store(tmp_path / "set", create=True)
    for name in "ab":
        add_bundles(store, [grown_bundle(tmp_path / f"{name}.wandb.zip", {f"acme/nano/{name}": 1})])
    publish = store.publish

    def send_again(version: int, file: Path) -> bool:
        return publish(version, Path(shutil.copy(file, tmp_path / "sent"))) and publish(version, file)

    monkeypatch.setattr(store, "publish", send_again)
    if work == "add":
        report = add_bundles(store, [grown_bundle(tmp_path / "c.wandb.zip", {"acme/nano/c": 1})])
        assert (report.version, list(map(str, report.added)), report.unchanged) == (3, ["acme/nano/c"], 0)
    elif work == "drop":
        assert drop_runs(store, ["a"]) == (3, (RunPath("acme", "nano", "a"),))
    else:
        compacted = compact_set(store)
        assert (compacted.version, len(compacted.members), compacted.runs) == (3, 1, 2)
    assert list(store.versions()) == [1, 2, 3]


def test_a_bundle_in_the_folder_with_the_name_of_a_removed_one_gets_a_name_of_its_own(tmp_path: Path) -> None:
    """It is not taken for another member that has its name with a number."""
    store = open_store(tmp_path / "set", create=True)
    for name, run in (("a", "first"), ("a-2", "second")):
        add_bundles(store, [grown_bundle(tmp_path / "set" / f"{name}.wandb.zip", {f"acme/nano/{run}": 1})])
    drop_runs(store, ["first"])
    assert clean_up(store, grace=0)[0] == ("a.wandb.zip",)
    add_bundles(store, [grown_bundle(tmp_path / "set" / "a.wandb.zip", {"acme/nano/third": 3})])
    with open_bundle_set(tmp_path / "set") as opened:
        assert held(opened) == {"acme/nano/second": 1, "acme/nano/third": 3}
        row = opened.entry("third").location
    assert row.member == f"a-{row.bundle_id.removeprefix('sha256:')[:12]}.wandb.zip"
