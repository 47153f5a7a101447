"""Runs that do not change are sealed again, with their index, without reading a row of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from bundlekit import SYSTEM_ROWS, bundle_run, make_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rowkit import canonical, nasty_rows

from pull_logs.snapshot import Bundle, merge_bundles, open_bundle, subset_bundle, verify_bundle, write_bundle
from pull_logs.snapshot.read.parquet_member import ParquetMember
from pull_logs.snapshot.write import Spool


@contextmanager
def no_rows_read() -> Iterator[None]:
    """Fail wherever a history or system metrics are opened to be decoded."""
    with patch.object(ParquetMember, "_opened", side_effect=AssertionError("a history is decoded")):
        yield


def _copied(bundle: Bundle, out: Path) -> None:
    write_bundle(out, bundle.runs(), force=True)


def _subset(bundle: Bundle, out: Path) -> None:
    subset_bundle(bundle.runs(), out, force=True)


def _refreshed(bundle: Bundle, out: Path) -> None:
    with Spool.open(out, plan={}) as spool:
        for run in bundle.runs():
            spool.adopt(run)
        spool.seal()


@pytest.mark.parametrize("again", [_copied, _subset, _refreshed])
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=st.lists(nasty_rows, min_size=1, max_size=3))
def test_runs_that_stay_as_they_are_give_the_same_bytes_unread(
    tmp_path: Path, again: Callable[[Bundle, Path], None], runs: Sequence[list[dict[str, Any]]]
) -> None:
    path, out = tmp_path / "a.wandb.zip", tmp_path / "b.wandb.zip"
    make_bundle(path, _made(runs))
    with open_bundle(path) as bundle, no_rows_read():
        again(bundle, out)
    assert out.read_bytes() == path.read_bytes()


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=st.lists(nasty_rows, min_size=2, max_size=4))
def test_a_merge_of_different_runs_reads_none_of_their_rows(
    tmp_path: Path, runs: Sequence[list[dict[str, Any]]]
) -> None:
    made = _made(runs)
    expected = make_bundle(tmp_path / "all.wandb.zip", made)
    parts = [make_bundle(tmp_path / f"{half}.wandb.zip", made[half::2]) for half in (0, 1)]
    with ExitStack() as stack:
        bundles = [stack.enter_context(open_bundle(part)) for part in parts]
        with no_rows_read():
            merge_bundles(bundles, tmp_path / "merged.wandb.zip", force=True)
    assert (tmp_path / "merged.wandb.zip").read_bytes() == expected.read_bytes()
    assert verify_bundle(tmp_path / "merged.wandb.zip").damages == ()


def _made(runs: Sequence[list[dict[str, Any]]]) -> list[Any]:
    return [
        bundle_run(f"acme/nano/{number}", canonical(rows), system=SYSTEM_ROWS[:number])
        for number, rows in enumerate(runs)
    ]
