"""Law: a bundle is safe next to the runs that it has, and never after one cell or step of them changed."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proofkit import pulled, verdict_of
from scripted_wandb import FakeRun, Row, ScriptedWandb

from pull_logs.snapshot import open_bundle

VALUES = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.text(max_size=5),
    st.sampled_from(["NaN", "Infinity", "-Infinity"]),
    st.dictionaries(st.text("abc", min_size=1, max_size=2), st.integers(0, 3), max_size=2),
)


ROWS = st.lists(
    st.dictionaries(st.sampled_from(["a", "b", "c/d", "e.f"]), VALUES, min_size=1), min_size=1, max_size=6
)


def check_law(rows: list[Row], data: st.DataObject) -> None:
    """A run is safe after a pull, and never after a cell or a step changed."""
    live = [{"_step": 3 * number, **row} for number, row in enumerate(rows)]
    run = FakeRun.logging("a", json.loads(json.dumps(live)), state="finished")
    server = ScriptedWandb(run)
    with tempfile.TemporaryDirectory() as folder:
        bundle = pulled(server, Path(folder) / "b.wandb.zip")
        with open_bundle(bundle) as opened:
            held = list(opened["a"].scan_history())
        assert verdict_of(server, bundle).reasons == ()
        at = data.draw(st.integers(0, len(live) - 1))
        key = data.draw(st.sampled_from([*live[at], "new"]))
        if key == "_step":
            run.live[at]["_step"] += data.draw(st.sampled_from([-1, 1]))
            run.last_step = run.live[-1]["_step"] if at == len(live) - 1 else run.last_step
        else:
            run.live[at][key] = data.draw(VALUES.filter(lambda value: differs(held[at].get(key), value)))
        found = verdict_of(server, bundle)
        assert found.verdict == "not safe"


@given(rows=ROWS, data=st.data())
@settings(max_examples=6)
def test_law_a_changed_cell_or_row_is_never_safe_and_an_equal_run_always_is(
    rows: list[Row], data: st.DataObject
) -> None:
    check_law(rows, data)


@pytest.mark.slow
@pytest.mark.timeout(900)
@given(rows=ROWS, data=st.data())
@settings(max_examples=300)
def test_law_for_many_more_changes(rows: list[Row], data: st.DataObject) -> None:
    check_law(rows, data)


def differs(held: Any, value: Any) -> bool:
    """Whether a value is another one than the canonical one that the bundle has."""
    from pull_logs.rows.canonical import canon_value, same

    return not same(held, canon_value(json.loads(json.dumps(value)))) and not (
        held is None and canon_value(value) is None
    )


def test_the_proof_counts_nan_as_itself() -> None:
    assert not differs(math.nan, math.nan)
    assert not differs(math.nan, "NaN")
    assert differs(1, True)
