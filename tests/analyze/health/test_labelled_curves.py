"""How often the flags are right, over labelled curves of the kinds that training logs (docs/health.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from checkout import ROOT
from health_flags import Rate, measure
from labelled_curves import labelled_curves

from pull_logs.analyze.health import FLAGS, Flag

LEAST_FOUND = {"gradient_explosion": 0.95, "plateau": 0.95, "spike": 0.98, "slowdown": 0.98}
"""The least share of the curves with a flag that get it; of the flags that are not named here, 99%."""
MOST_FALSE = 0.005
"""The largest share of the curves without a flag that get it."""
ROW = re.compile(r"\| `(\w+)` \| (\d+) of (\d+) \| (\d+) \| (\d+) of (\d+) \|")
OFF = 3
"""How many curves may change sides where a machine computes the last digit differently."""


@pytest.fixture(scope="module")
def rates() -> Mapping[Flag, Rate]:
    return measure(labelled_curves(2000))[0]


def check(rates: Mapping[Flag, Rate]) -> None:
    for flag, rate in rates.items():
        assert rate.false <= MOST_FALSE * rate.other, flag
        assert rate.found >= LEAST_FOUND.get(flag, 0.99) * rate.true, flag
        assert rate.placed >= 0.95 * rate.true, flag


def test_faults_are_found_at_their_step_and_few_others_are(rates: Mapping[Flag, Rate]) -> None:
    assert {flag for flag, rate in rates.items() if rate.true > 40} == {*FLAGS} - {"crashed"}
    check(rates)


def test_the_page_shows_the_rates(rates: Mapping[Flag, Rate]) -> None:
    shown = {
        row[1]: [int(number) for number in row.groups()[1:]]
        for row in ROW.finditer((ROOT / "docs" / "health.md").read_text())
    }
    assert [*shown] == [flag for flag in FLAGS if flag != "crashed"]
    for flag, rate in rates.items():
        if flag != "crashed":
            measured = [rate.found, rate.true, rate.placed, rate.false, rate.other]
            assert all(abs(a - b) <= OFF for a, b in zip(shown[flag], measured, strict=True)), flag


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_the_rates_hold_for_other_curves(seed: int) -> None:
    check(measure(labelled_curves(10_000, seed))[0])
