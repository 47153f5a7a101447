from __future__ import annotations

import numpy as np
import pytest
from fakeruns import FakeRun, subjects, training
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze import Picking, View, answer
from pull_logs.errors import UsageError

STEPS = st.lists(st.integers(-50, 50) | st.sampled_from([-(2**63), 2**63 - 1]), unique=True, max_size=30).map(
    sorted
)


def shown(view: View, run: FakeRun) -> list[int]:
    return [row[0] for row in answer(subjects(run), view)["history"]["A"]["rows"]]


@given(
    STEPS,
    st.none() | st.integers(-60, 60) | st.sampled_from([10**30, -(10**30)]),
    st.integers(0, 4),
    st.none() | st.integers(1, 40),
    st.none() | st.integers(1, 9),
)
def test_rows_are_those_that_a_reader_would_pick_one_after_the_other(
    steps: list[int], around: int | None, window: int, last: int | None, every: int | None
) -> None:
    places = list(range(len(steps)))
    if around is not None and steps:
        centre = min(places, key=lambda place: (abs(steps[place] - around), place))
        places = [place for place in places if abs(place - centre) <= window]
    places = places[-last:] if last else places
    places = places[:: every or 1]
    picking = Picking(around=around, window=window if around is not None else None, last=last, every=every)
    assert picking.rows(np.array(steps, np.int64)).tolist() == places


def test_around_a_step_are_the_rows_with_a_shown_metric_beside_it() -> None:
    view = View(select="acc", picking=Picking(around=300, window=1))
    assert shown(view, training(600)) == [296, 299, 302]
    assert shown(View(picking=Picking(around=5)), training(100)) == list(range(16))


def test_the_last_rows_and_every_nth_are_counted_after_where() -> None:
    assert shown(View(where="_step < 50", picking=Picking(last=3)), training(100)) == [47, 48, 49]
    assert shown(View(where="_step >= 50", picking=Picking(every=20)), training(100)) == [50, 70, 90]
    assert shown(View(picking=Picking(last=10, every=5)), training(100)) == [90, 95]


def test_statistics_schema_and_comparison_are_of_the_picked_rows() -> None:
    run = training(100)
    view = View(schema=True, stats=True, select="loss", picking=Picking(last=4))
    found = answer(subjects(run), view)
    assert found["stats"]["A"]["train/loss"]["count"] == 4
    assert [entry["count"] for entry in found["schema"]["A"]] == [4, 4]
    compared = answer(
        subjects(run, training(run_id="r2")), View(select="loss", picking=Picking(around=0, window=0))
    )
    assert compared["comparison"][0]["last"] == {"A": 2.5, "B": 2.5}


def test_a_picked_history_says_how_many_rows_were_picked_and_is_no_sample() -> None:
    history = dict(answer(subjects(training(100)), View(picking=Picking(last=5)))["history"]["A"])
    counts = ("rows_total", "rows_matched", "rows_picked", "rows_shown", "hidden", "sampling")
    assert [history[name] for name in counts] == [100, 100, 5, 5, 0, "none"]
    sampled = answer(subjects(training(100)), View(picking=Picking(last=50), max_rows=5))["history"]["A"]
    assert sampled["sampling"] == "extremes 5/50"


@pytest.mark.parametrize(
    ("picking", "message"),
    [
        (Picking(last=0), "--last 0 is too small; give at least 1"),
        (Picking(every=0), "--every 0 is too small; give at least 1"),
        (Picking(around=1, window=-1), "--window -1 is too small; give at least 0"),
        (Picking(window=3), "--window 3 needs a step; name it with --around STEP"),
    ],
)
def test_what_picks_nothing_is_refused(picking: Picking, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        answer(subjects(training()), View(picking=picking))
    assert str(caught.value) == message
