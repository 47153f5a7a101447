"""The cache as a folder: its size, its removal, and processes that use it meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulling import named
from scripted_wandb import SETTINGS, FakeRun, ScriptedWandb, rows_of

from pull_logs.errors import UsageError
from pull_logs.fetch import CacheSize, cache_size, open_cached, prune_cache, using_cache

DAY = 86_400


def stored(folder: Path, name: str, *, days: float = 0, size: int = 10) -> Path:
    """A file of a cache that was written this many days ago."""
    file = folder / "runs" / "account" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * size)
    now = file.stat().st_mtime
    os.utime(file, (now, now - days * DAY))
    return file


AGES = st.dictionaries(st.integers(0, 20), st.sampled_from([0, 1, 3, 9, 30]), max_size=8)


@given(AGES, st.none() | st.sampled_from([0.5, 2, 10, 100]))
def test_exactly_what_is_older_is_removed(
    tmp_path_factory: pytest.TempPathFactory, ages: dict[int, int], older_than: float | None
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    files = {
        stored(folder, f"project={key % 3}/run={key}.wandb.zip", days=age): age for key, age in ages.items()
    }
    kept = {file for file, age in files.items() if older_than is not None and age <= older_than}
    gone = len(files) - len(kept)
    assert prune_cache(folder, older_than=older_than) == CacheSize(
        folder=folder, runs=gone, files=gone, bytes=10 * gone
    )
    assert {file for file in files if file.exists()} == kept
    assert cache_size(folder).files == len(kept)


def test_runs_and_what_downloads_left_are_counted_apart(tmp_path: Path) -> None:
    stored(tmp_path, "project=p/run=a.wandb.zip", size=2_000_000)
    stored(tmp_path, "new-abc/rows", size=500_000)
    assert str(cache_size(tmp_path)) == "1 run and 1 other file, 2.50 MB"
    assert str(cache_size(tmp_path / "none")) == "0 runs, 0.00 MB"
    assert prune_cache(tmp_path / "none") == CacheSize(folder=tmp_path / "none")


def test_a_cache_that_a_view_uses_is_not_pruned(tmp_path: Path) -> None:
    server = ScriptedWandb(FakeRun.exported("a", rows_of(range(5))))
    with ExitStack() as stack:
        (run,) = open_cached(
            named("a"), stack=stack, folder=tmp_path, transport=server.transport, settings=SETTINGS
        )
        with pytest.raises(UsageError) as caught:
            prune_cache(tmp_path)
        assert str(caught.value) == (
            f"the cache {str(tmp_path)!r} is in use by process {os.getpid()};"
            " wait for it to end, then prune again"
        )
        assert len(list(run.scan_history())) == 5
        assert cache_size(tmp_path).runs == 1
    assert prune_cache(tmp_path).runs == 1
    assert cache_size(tmp_path) == CacheSize(folder=tmp_path)


def test_two_views_may_use_it_and_the_last_one_frees_it(tmp_path: Path) -> None:
    stored(tmp_path, "run=a.wandb.zip")
    with using_cache(tmp_path):
        with using_cache(tmp_path):
            pass
        with pytest.raises(UsageError, match="is in use by process"):
            prune_cache(tmp_path)
    assert prune_cache(tmp_path).runs == 1


def test_a_process_that_was_killed_does_not_keep_it(tmp_path: Path) -> None:
    stored(tmp_path, "run=a.wandb.zip")
    program = (
        "import os, pathlib, sys; from pull_logs.fetch import using_cache\n"
        "with using_cache(pathlib.Path(sys.argv[1])): os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert done.returncode == 9
    assert len(list((tmp_path / "in-use").iterdir())) == 1
    assert prune_cache(tmp_path).runs == 1


def test_the_lock_of_a_process_that_was_killed_is_removed_by_the_next(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys; from pull_logs.fetch import using_cache\n"
        "with using_cache(pathlib.Path(sys.argv[1])): os._exit(9)"
    )
    with using_cache(tmp_path):
        subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
        assert len(list((tmp_path / "in-use").iterdir())) == 2
        with using_cache(tmp_path):
            assert len(list((tmp_path / "in-use").iterdir())) == 2
    assert not list((tmp_path / "in-use").iterdir())


def test_what_a_link_points_to_is_not_removed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "thesis.txt").write_text("mine")
    folder = tmp_path / "cache"
    stored(folder, "run=a.wandb.zip")
    (folder / "runs" / "link").symlink_to(outside)
    prune_cache(folder)
    assert (outside / "thesis.txt").read_text() == "mine"
