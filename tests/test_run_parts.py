"""The parts of a run: what a source shows of them, how they are kept, and how answers show them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs import merge_bundles, open_bundle
from pull_logs.cli.sections.legend import parts_facts
from pull_logs.errors import BundleDamagedError, DataError
from pull_logs.runs import Coverage, RunInfo, RunParts, RunPath, RunPoint
from pull_logs.snapshot import BundleRun, write_bundle
from pull_logs.snapshot.format.runs_table import RunRow, encode_runs, load_runs_table

FORK = {"branch_point": {"run_id": "parent", "step": 7}}
REWIND = {"branch_point": {"run_id": "r1", "step": 7}}
RESUMED = {"t": {"3": [2, 5, 16]}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@pytest.mark.parametrize(
    ("wandb", "parts"),
    [
        (FORK, RunParts(None, (RunPoint("forked", 7, "parent"),))),
        (REWIND, RunParts(None, (RunPoint("rewound", 7),))),
        (RESUMED, RunParts(None, (RunPoint("resumed"),))),
        ({**FORK, **RESUMED}, RunParts(None, (RunPoint("forked", 7, "parent"), RunPoint("resumed")))),
        ({"t": {"3": [2, 16]}}, None),
        ({"branch_point": {"run_id": "parent", "step": 1.5}}, None),
        ({"branch_point": {"run_id": "", "step": 1}}, None),
        ({}, None),
    ],
)
def test_the_internal_config_shows_forks_rewinds_and_that_a_run_was_resumed(
    wandb: dict[str, Any], parts: RunParts | None
) -> None:
    assert RunParts.from_config({"_wandb": wandb}, "r1") == parts


@given(JSON, JSON, JSON)
def test_no_config_of_a_stranger_breaks_it(wandb: Any, branch: Any, telemetry: Any) -> None:
    RunParts.from_config({"_wandb": wandb}, "r1")
    RunParts.from_config({"_wandb": {"branch_point": branch, "t": {"3": telemetry}}}, "r1")


@given(st.dictionaries(st.sampled_from(["count", "points", "x"]), JSON | st.lists(JSON, max_size=2)))
def test_an_object_gives_parts_that_give_it_back_or_is_refused(value: dict[str, Any]) -> None:
    try:
        parts = RunParts.from_object(value)
    except DataError:
        return
    assert RunParts.from_object(parts.as_object()) == parts


@pytest.mark.parametrize(
    "value",
    [{}, {"count": "2", "points": []}, {"count": True, "points": []}, {"count": 1, "points": [{}]}],
    ids=str,
)
def test_a_table_with_parts_that_are_none_is_damaged(
    value: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    info = RunInfo(path=RunPath("a", "b", "c"), name="n", state="finished", parts=RunParts(2))
    row = RunRow(info=info, coverage=Coverage(), rows=0, first_step=None, last_step=None)
    with monkeypatch.context() as patch:
        patch.setattr(RunParts, "as_object", lambda _: value)
        data = encode_runs([row], optional={"parts"})
    table = load_runs_table(data, rows=1, path="x.zip")
    for read in (table.parts, table.row):
        with pytest.raises(BundleDamagedError, match="are not a count and a list of points"):
            read(0)


def test_parts_are_kept_and_a_bundle_without_any_has_no_column(tmp_path: Path) -> None:
    parts = RunParts(3, (RunPoint("resumed", 320), RunPoint("forked", 5, "other")))
    plain, parted, merged = (tmp_path / f"{name}.wandb.zip" for name in ("plain", "parted", "merged"))
    for file, given_parts in ((plain, None), (parted, parts)):
        info = RunInfo(path=RunPath("a", "b", "c"), name="n", state="finished", parts=given_parts)
        write_bundle(file, [BundleRun(info=info, coverage=Coverage(), batches=list)])
    with open_bundle(plain) as before, open_bundle(parted) as after:
        assert (before["c"].parts, after["c"].parts, after["c"].info.parts) == (None, parts, parts)
        assert before.content_id == after.content_id
        assert before.bundle_id != after.bundle_id
    for first, second in ((plain, parted), (parted, plain)):
        with open_bundle(first) as one, open_bundle(second) as other:
            merge_bundles([one, other], merged, force=True)
        with open_bundle(merged) as both:
            assert both["c"].parts == parts


def test_a_legend_shows_the_first_points_of_each_kind() -> None:
    points = [RunPoint("resumed", step) for step in (5, 9, 12, 20, 31, 40, 50)]
    many = RunParts(9, (RunPoint("rewound", 3), *points, RunPoint("forked", 2, "p")))
    assert parts_facts(many.as_object()) == {
        "parts": 9,
        "resumed_at": "5,9,12,20,31,and 2 more",
        "restarted_at": None,
        "rewound_to": "3",
        "forked_from": "p@2",
    }
    assert parts_facts(RunParts(None, (RunPoint("resumed"),)).as_object())["resumed_at"] == "?"
    assert parts_facts(None) == {"parts": None}
