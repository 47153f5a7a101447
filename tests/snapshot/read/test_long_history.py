"""Of a long history, the row groups before the requested steps are not decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bundlekit import bundle_run, make_bundle
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.snapshot import open_bundle
from pull_logs.snapshot.format import ROW_GROUP
from pull_logs.snapshot.read.run import Run

ROWS = 2 * ROW_GROUP + 10


def bundle_of_long_run(folder: Path) -> Path:
    """Return a bundle of one run of three row groups, with every second step; it is written once."""
    path = folder / "long.wandb.zip"
    if not path.exists():
        make_bundle(
            path, [bundle_run("acme/nano/one", [{"_step": 2 * n, "loss": n % 7} for n in range(ROWS)])]
        )
    return path


def decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, list[str]]]:
    """Return a list that gets the first row and the columns of each batch that a run gives."""
    found: list[tuple[int, list[str]]] = []
    read = Run.batches_at

    def batches_at(run: Run, columns: Any = None, *, rows: range | None = None) -> Any:
        for start, batch in read(run, columns, rows=rows):
            found.append((start, batch.column_names))
            yield start, batch

    monkeypatch.setattr(Run, "batches_at", batches_at)
    return found


@given(st.integers(-5, 2 * ROWS + 5), st.integers(1, 9))
def test_rows_start_at_the_requested_step(
    tmp_path_factory: pytest.TempPathFactory, first: int, count: int
) -> None:
    with open_bundle(bundle_of_long_run(tmp_path_factory.getbasetemp())) as bundle:
        found = list(bundle["one"].scan_history(min_step=first, max_step=first + count))
    wanted = [step for step in range(first, first + count) if 0 <= step < 2 * ROWS and not step % 2]
    assert found == [{"_step": step, "loss": step // 2 % 7} for step in wanted]


def test_only_steps_are_decoded_of_the_row_groups_before(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_bundle(bundle_of_long_run(tmp_path_factory.getbasetemp())) as bundle:
        found = decoded(monkeypatch)
        rows = list(bundle["one"].scan_history(min_step=2 * ROWS - 4))
    assert len(rows) == 2
    assert [start for start, names in found if names == ["_step"]] == [0, ROW_GROUP, 2 * ROW_GROUP]
    assert [start for start, names in found if names == ["_step", "loss"]] == [2 * ROW_GROUP]
