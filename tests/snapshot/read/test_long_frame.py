"""`Bundle.long_frame`: one row per cell that was logged, of all runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from bundlekit import bundle_run, make_bundle
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.errors import MetricNotFoundError
from pull_logs.rows.canonical import same
from pull_logs.snapshot import open_bundle

CELLS: st.SearchStrategy[Any] = (
    st.integers(-3, 3)
    | st.floats(allow_nan=True)
    | st.sampled_from([2**60 + 1, True, "text", [1, None], {"a": 1}])
)
HISTORIES = st.dictionaries(
    st.integers(0, 9), st.dictionaries(st.sampled_from(["loss", "acc", "a.b"]), CELLS, min_size=1), max_size=4
)


def bundle_of(folder: str | Path, histories: Sequence[Mapping[int, Mapping[str, Any]]]) -> Path:
    runs = [
        bundle_run(f"acme/nano/r{number}", [{"_step": step, **rows[step]} for step in sorted(rows)])
        for number, rows in enumerate(histories)
    ]
    return make_bundle(Path(folder) / "b.wandb.zip", runs)


@given(st.lists(HISTORIES, min_size=1, max_size=3), st.none() | st.just(["loss"]))
def test_it_has_every_cell_of_every_row(
    histories: list[dict[int, dict[str, Any]]], columns: list[str] | None
) -> None:
    with TemporaryDirectory() as folder, open_bundle(bundle_of(folder, histories)) as bundle:
        cells = [
            (str(run.path), row["_step"], name, value)
            for run in bundle.runs()
            for row in run.scan_history()
            for name, value in row.items()
            if name != "_step" and (columns is None or name in columns)
        ]
        if columns and not cells:
            with pytest.raises(MetricNotFoundError):
                bundle.long_frame(columns)
            return
        frame = bundle.long_frame(columns)
    assert list(frame.columns) == ["run", "step", "metric", "value"]
    expected = sorted(cells, key=lambda cell: (cell[0], cell[2], cell[1]))
    found = list(frame.itertuples(index=False, name=None))
    assert [cell[:3] for cell in found] == [cell[:3] for cell in expected]
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for *_, value in expected)
    exact = numbers and all(isinstance(value, float) or int(float(value)) == value for *_, value in expected)
    assert bool(frame["value"].dtype == np.float64) is exact
    for (*_, left), (*_, right) in zip(found, expected, strict=True):
        assert same(left, right) or (float(left) == right) or (math.isnan(left) and math.isnan(right))


def test_a_logged_nan_is_a_row_and_a_cell_that_was_not_logged_is_none(tmp_path: Path) -> None:
    with open_bundle(bundle_of(tmp_path, [{0: {"loss": math.nan, "acc": 1}, 1: {"loss": 2}}])) as bundle:
        frame = bundle.long_frame()
    assert [(row.step, row.metric) for row in frame.itertuples()] == [(0, "acc"), (0, "loss"), (1, "loss")]
    assert frame["value"].isna().tolist() == [False, True, False]
    assert frame.groupby("run", observed=True)["value"].max().tolist() == [2.0]


def test_a_metric_that_no_run_has_names_the_nearest(tmp_path: Path) -> None:
    path = bundle_of(tmp_path, [{0: {"loss": 1}}])
    with open_bundle(path) as bundle, pytest.raises(MetricNotFoundError) as caught:
        bundle.long_frame(["los"])
    assert str(caught.value) == f"no run of {str(path)!r} has a metric 'los'; the nearest is 'loss'"
