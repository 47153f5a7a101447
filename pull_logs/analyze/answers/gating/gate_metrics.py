"""The metrics of a gate: one test for each, and what it means in a sentence."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from pull_logs.analyze.answers.run_readings import RunReading
from pull_logs.analyze.answers.verdicts import short
from pull_logs.analyze.group_results import GateMetric
from pull_logs.analyze.inference import Margin, Regression, Sample, find_regression, holm, runs_to_find
from pull_logs.analyze.questions import Values, identity_in
from pull_logs.analyze.statistics import Goal
from pull_logs.errors import IncompleteError
from pull_logs.rows.canonical import canon_number, spell
from pull_logs.suggestions import counted

REGRESSION, NO_REGRESSION = "regression", "no regression"
TYPICAL = 2.0
"""The regression, in standard deviations, for which the number of runs is planned."""
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSide:
    """The runs of one side, read.

    Attributes:
        name: `new` or `base`.
        runs: The runs.
        values: The config and the fields of each.
    """

    name: str
    runs: Sequence[RunReading]
    values: Sequence[Values]

    def sample(self, metric: str, keys: Sequence[str]) -> Sample:
        """Return the finite values of a metric, with what pairs their runs."""
        found = [
            (number, pairing_identity(values, keys))
            for run, values in zip(self.runs, self.values, strict=True)
            if (number := run.number(metric)) is not None and math.isfinite(number)
        ]
        return Sample(tuple(number for number, _ in found), tuple(key for _, key in found))

    def nonfinite(self, metric: str) -> list[RunReading]:
        """Return the runs whose value is NaN or an infinity."""
        return [run for run in self.runs if not math.isfinite(run.number(metric) or 0.0)]


def pairing_identity(values: Values, keys: Sequence[str]) -> Hashable | None:
    """Return what pairs a run with one of the other side; None if it has none of the keys."""
    if not any(key in values for key in keys):
        return None
    return tuple(identity_in(values, key) for key in keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateTests:
    """The tests of a gate.

    Attributes:
        new: The new runs.
        base: The runs of the baseline.
        keys: The names that pair the runs of both sides.
        alpha: The share of false alarms over all metrics.
        margin: How much worse a mean may be.
    """

    new: GateSide
    base: GateSide
    keys: Sequence[str]
    alpha: float
    margin: Margin | None

    def results(self, goals: Sequence[Goal]) -> list[GateMetric]:
        """Test every metric, and adjust the p values of those that are tested over all of them.

        Raises:
            IncompleteError: A run lacks a metric, or a side has too few runs.
        """
        for goal in goals:
            self._refuse_missing(goal)
        diverged = {goal: self.new.nonfinite(goal.metric) for goal in goals}
        tests = {goal: self._test(goal) for goal in goals if not diverged[goal]}
        adjusted = dict(zip(tests, holm([test.p for test in tests.values()]), strict=True))
        return [
            self._tested(goal, tests[goal], adjusted[goal], len(tests))
            if goal in tests
            else self._diverged(goal, diverged[goal])
            for goal in goals
        ]

    def _refuse_missing(self, goal: Goal) -> None:
        missing = [
            f"{run.path} ({side.name})"
            for side in (self.new, self.base)
            for run in side.runs
            if run.number(goal.metric) is None
        ]
        if missing:
            raise IncompleteError(
                f"--metric {goal.metric!r} has no value in {several(missing)}",
                hint="--filter leaves runs out, --at reads another step",
            )
        broken = [f"{run.path}" for run in self.base.nonfinite(goal.metric)]
        if broken:
            raise IncompleteError(
                f"--metric {goal.metric!r} is not finite in the baseline: {several(broken)}",
                hint="leave these runs out of the baseline",
            )

    def _test(self, goal: Goal) -> Regression:
        new, base = (side.sample(goal.metric, self.keys) for side in (self.new, self.base))
        found = find_regression(new, base, goal.direction, alpha=self.alpha, margin=self.margin)
        if found is not None:
            return found
        sizes = len(new.values), len(base.values)
        if min(sizes) >= 2:
            raise IncompleteError(
                f"--metric {goal.metric!r}: the numbers are too large to be tested",
                hint="name another metric",
            )
        raise IncompleteError(
            "a gate takes at least 2 runs on each side, and there "
            f"{'is' if sizes[0] == 1 else 'are'} {counted(sizes[0], 'new run')} and "
            f"{counted(sizes[1], 'run')} in the baseline",
            hint=f"{runs_to_find(TYPICAL, self.alpha)} runs on each side find a regression of "
            f"{TYPICAL:g} standard deviations with a power of 80% at --alpha {self.alpha:g}",
        )

    def _tested(self, goal: Goal, test: Regression, p_holm: float, family: int) -> GateMetric:
        return {
            "metric": goal.metric,
            "direction": goal.direction,
            "verdict": REGRESSION if p_holm < self.alpha else NO_REGRESSION,
            "new": _number(test.new),
            "base": _number(test.base),
            "worse": _number(test.worse),
            "worse_share": _number(test.worse / abs(test.base)) if test.base else None,
            "effect": _number(test.effect),
            "margin": _number(test.margin) if self.margin else None,
            "test": test.found.test,
            "n": list(test.found.n),
            "t": _number(test.t),
            "df": _number(test.found.df),
            "p": _number(test.p),
            "p_holm": _number(p_holm),
            "at_most": _number(test.at_most),
            "detectable": _number(test.detectable),
            "power": test.power,
            "runs_needed": test.needed,
            "nonfinite": [],
            "sentence": self._sentence(goal, test, p_holm, family),
        }

    def _sentence(self, goal: Goal, test: Regression, p_holm: float, family: int) -> str:
        found = test.found
        n = f"paired, n={found.n[0]}" if found.paired else f"Welch t, n={found.n[0]} and {found.n[1]}"
        p = f"p={short(p_holm)}{f' after Holm over {family}' if family > 1 else ''}"
        means = f"new mean {short(test.new)}, base {short(test.base)}"
        bound = f"the margin of {self.margin.text}" if self.margin else "seed noise"
        if p_holm < self.alpha:
            effect = "" if test.effect is None else f", {short(test.effect)} standard deviations"
            return (
                f"{goal}: regression, {means}: worse by {short(test.worse)}{_share(test)}{effect}, "
                f"beyond {bound} ({p} < {self.alpha:g}; {n})"
            )
        change = "worse" if test.worse > 0 else "better"
        amount = "no change" if test.worse == 0 else f"{change} by {short(abs(test.worse))}{_share(test)}"
        power = f"; a regression of {short(test.detectable)} would be found with 80% power"
        return (
            f"{goal}: no regression, {means}: {amount}, not worse beyond {bound} ({p}; {n})"
            f"{power if found.error else ''}"
        )

    def _diverged(self, goal: Goal, runs: Sequence[RunReading]) -> GateMetric:
        """Return the entry of a metric that is not finite in new runs; it is not tested."""
        named = [f"{run.path} ({_number(run.number(goal.metric))})" for run in runs]
        empty: dict[str, Any] = dict.fromkeys(
            ("new", "base", "worse", "worse_share", "effect", "margin", "test", "t", "df", "p", "p_holm")
        )
        return {
            **empty,  # type: ignore[typeddict-item]
            "metric": goal.metric,
            "direction": goal.direction,
            "verdict": REGRESSION,
            "n": [len(side.sample(goal.metric, ()).values) for side in (self.new, self.base)],
            "at_most": None,
            "detectable": None,
            "power": None,
            "runs_needed": None,
            "nonfinite": [run.label for run in runs],
            "sentence": f"{goal}: regression, not finite in new runs: {several(named)}",
        }


def _share(test: Regression) -> str:
    return f" ({abs(test.worse / test.base):.2%})" if test.base else ""


def several(items: Sequence[str]) -> str:
    """Return the first items for a message, and how many more there are."""
    more = len(items) - _MOST_NAMED
    return ", ".join(items[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _number(value: float | None) -> int | float | str | None:
    number: int | float | str | None = None if value is None else spell(canon_number(value))
    return number
