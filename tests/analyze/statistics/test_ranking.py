from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze.statistics.metric_names import Direction
from pull_logs.analyze.statistics.ranking import Criterion, ranked
from pull_logs.errors import UsageError


@pytest.mark.parametrize(
    ("text", "metric", "direction"),
    [
        ("val/acc:max", "val/acc", "max"),
        ("val/loss:min", "val/loss", "min"),
        ("a:b:max", "a:b", "max"),
        ("a:b", "a:b", None),
        (":max", ":max", None),
        ("loss", "loss", None),
    ],
)
def test_the_end_stands_behind_the_last_colon(text: str, metric: str, direction: Direction | None) -> None:
    assert Criterion.parse(text) == Criterion(metric, direction)


def test_what_the_user_says_counts_before_what_was_defined_before_what_the_name_suggests() -> None:
    assert Criterion("loss", "max").settle(["min"], option="--best").direction == "max"
    assert Criterion("loss").settle(["max", "max"], option="--best").direction == "max"
    assert Criterion("loss").settle(["max", "min"], option="--best").direction == "min"


def test_a_name_that_suggests_nothing_is_asked_about() -> None:
    with pytest.raises(UsageError) as caught:
        Criterion("grad/norm").settle([], option="--sort")
    assert str(caught.value) == (
        "--sort 'grad/norm' does not say which end is better; "
        "write: --sort 'grad/norm:min' or --sort 'grad/norm:max'"
    )


@given(st.lists(st.none() | st.floats(allow_nan=True)), st.sampled_from(["min", "max"]))
def test_the_best_is_first_and_what_is_no_finite_number_last(
    numbers: list[float | None], direction: Direction
) -> None:
    places = list(range(len(numbers)))
    order = ranked(places, lambda place: numbers[place], direction)
    assert sorted(order) == places
    finite = [number for place in order if (number := numbers[place]) is not None and math.isfinite(number)]
    assert finite == sorted(finite, reverse=direction == "max")
    lost = [place for place in order if (number := numbers[place]) is None or not math.isfinite(number)]
    assert lost == order[len(finite) :] == sorted(lost)
