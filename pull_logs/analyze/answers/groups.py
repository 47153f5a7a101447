"""Groups of runs: their statistics, the tests between them, and what of it holds, in plain words.

A group's statistics are over the finite values of its runs; how many runs lack
the metric, or end in NaN or an infinity, stands beside them. The tests hold the
best group (the first, where no metric ranks them) against each other one, with
p values adjusted over all pairs (`significance`).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from pull_logs.analyze.questions import CONFIG, Grouping, Reading, Values
from pull_logs.analyze.statistics import (
    ALPHA,
    LARGER,
    UNTESTED,
    WITHIN,
    Difference,
    Direction,
    IntervalKind,
    Sample,
    SampleStatistics,
    compare_samples,
    describe_sample,
    holm,
    ranked,
)
from pull_logs.rows.canonical import canon_number, spell
from pull_logs.suggestions import joined

MOST_TESTED = 200
"""Groups between which all pairs are tested; more take too long, and so large a family finds nothing."""
_METRICS_TESTED = 10
_NAME_LENGTH = 80
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Group:
    """Some of the runs.

    Attributes:
        label: G1, G2, ...
        places: The places of its runs.
        by: The values that make it, for strict JSON.
    """

    label: str
    places: tuple[int, ...]
    by: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its label and its values, in one phrase."""
        values = " ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in self.by.items())
        short = values if len(values) <= _NAME_LENGTH else values[: _NAME_LENGTH - 1] + "…"
        return f"{self.label} ({short or 'all runs'})"


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of a comparison, the best first where a metric ranks them.

    Attributes:
        labels: The labels of all runs.
        values: What is known of them.
        metrics: What was read of them.
        grouping: How they are grouped.
        groups: The groups.
        names: The metrics to tell.
        criterion: The metric that ranks the groups, and which end of it is good.
        interval: Which interval to give.
        tested: Whether to test at all.
    """

    labels: Sequence[str]
    values: Sequence[Values]
    metrics: Sequence[Mapping[str, Reading]]
    grouping: Grouping
    groups: Sequence[Group]
    names: Sequence[str]
    criterion: tuple[str, Direction] | None
    interval: IntervalKind
    tested: bool

    @classmethod
    def make(
        cls,
        labels: Sequence[str],
        values: Sequence[Values],
        metrics: Sequence[Mapping[str, Reading]],
        *,
        grouping: Grouping,
        names: Sequence[str],
        criterion: tuple[str, Direction] | None,
        interval: IntervalKind,
        tested: bool,
    ) -> Groups:
        """Group runs, and rank the groups by the means of a metric."""
        members = grouping.groups(values)
        if criterion is not None:
            metric, direction = criterion
            means = {
                tuple(places): describe_sample(_finite(metrics, places, metric)).mean for places in members
            }
            members = ranked(members, lambda places: means[tuple(places)], direction)
        groups = [
            Group(f"G{number}", tuple(places), grouping.told(values[places[0]]))
            for number, places in enumerate(members, 1)
        ]
        return cls(labels, values, metrics, grouping, groups, names, criterion, interval, tested)

    def told(self, *, top: int | None) -> dict[str, Any]:
        """The sections about groups: all of them tested, the first `top` told."""
        shown = self.groups[:top]
        return {
            "groups": [
                {
                    "group": group.label,
                    "by": dict(group.by),
                    "n": len(group.places),
                    "runs": [self.labels[place] for place in group.places],
                    "states": dict(Counter(str(self.values[place]["state"]) for place in group.places)),
                }
                for group in shown
            ],
            "group_stats": [self._statistics(name, group) for name in self.names for group in shown],
            "verdicts": [
                verdict for name in self._tested_metrics() for verdict in self._verdicts(name, shown)
            ],
        }

    def shown_runs(self, places: Sequence[int], *, top: int | None) -> list[int]:
        """Those of the runs that are in the first `top` groups, in their order."""
        members = {place for group in self.groups[:top] for place in group.places}
        return [place for place in places if place in members]

    def notes(self) -> list[str]:
        """What a reader must know before trusting the groups."""
        notes = []
        members = [group.places for group in self.groups]
        if not self.grouping.seeds:
            notes.append(
                "no config key is called like a seed: tests between groups are not paired; --seed KEY"
            )
        if confounders := self.grouping.confounders(self.values, members):
            notes.append(
                f"runs of one group differ in more than their seed: {joined(confounders, most=_MOST_NAMED)}; "
                f"--group-by all-but:{','.join(self._seed_names()) or 'SEED'} takes them apart"
            )
        if len(members) == len(self.values) > 1 and (unique := self.grouping.unique_keys(self.values)):
            names = [name.removeprefix(CONFIG) for name in unique]
            notes.append(
                f"every group is a single run, since these keys differ in all runs: {joined(names, most=_MOST_NAMED)}; "
                f"--group-by all-but:{','.join([*self._seed_names(), *names[:_MOST_NAMED]])} looks past them"
            )
        states = Counter(str(values["state"]) for values in self.values if values.get("state") != "finished")
        if states:
            told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
            notes.append(
                f"runs that did not finish count as well: {told}; "
                "--filter 'state == \"finished\"' leaves them out"
            )
        if self.tested and self.criterion is None and len(self.names) > _METRICS_TESTED:
            notes.append(
                f"{len(self.names)} metrics are too many to test one by one; "
                "name the one that decides with --best METRIC:min or :max, or fewer with --select"
            )
        return notes

    def _seed_names(self) -> list[str]:
        return [name.removeprefix(CONFIG) for name in self.grouping.seeds]

    def answer(self) -> str | None:
        """The one sentence that says which group is best and whether that is real; None where nothing ranks."""
        if self.criterion is None:
            return None
        metric, direction = self.criterion
        best = self.groups[0]
        found = self._describe(metric, best)
        if found.n == 0:
            return f"no group has a finite {metric}"
        lost = len(best.places) - found.n
        told = (
            f"best {metric} ({direction}): {best.name}, mean {_short(found.mean)} over n={found.n}"
            f"{f' ({lost} of its {len(best.places)} runs left out: no finite value)' if lost else ''}"
        )
        if found.n < 2:
            return f"{told}; a single run says nothing about seed noise"
        if not self.tested:
            return f"{told}; its lead is not tested, since --sort only ranks: --best tests it"
        return f"{told}; {self._lead(metric)}"

    def _lead(self, metric: str) -> str:
        """Whether the best group's lead over the others is larger than seed noise."""
        verdicts = Counter(verdict["verdict"] for verdict in self._verdicts(metric, self.groups))
        larger, within = verdicts[LARGER], verdicts[WITHIN]
        untested = f"; {verdicts[UNTESTED]} not tested (n < 2)" if verdicts[UNTESTED] else ""
        if not larger + within:
            return f"nothing to test it against{untested}"
        if larger and within:
            return (
                f"its lead is {LARGER} against {larger} and {WITHIN} against {within} "
                f"of {larger + within} tested groups{untested}"
            )
        return f"its lead is {LARGER if larger else WITHIN} against {_all_of(larger + within)}{untested}"

    def _tested_metrics(self) -> Sequence[str]:
        if not self.tested or len(self.groups) < 2:
            return ()
        if self.criterion is not None:
            return (self.criterion[0],)
        return self.names if len(self.names) <= _METRICS_TESTED else ()

    def _describe(self, metric: str, group: Group) -> SampleStatistics:
        return describe_sample(_finite(self.metrics, group.places, metric), interval=self.interval)

    def _statistics(self, metric: str, group: Group) -> dict[str, Any]:
        found = self._describe(metric, group)
        numbers = [_number(self.metrics[place], metric) for place in group.places]
        missing = sum(number is None for number in numbers)
        statistics = {
            name: value if value is None else spell(canon_number(value))
            for name, value in asdict(found).items()
        }
        return {
            "metric": metric,
            "group": group.label,
            **statistics,
            "missing": missing,
            "nonfinite": len(numbers) - missing - found.n,
        }

    def _sample(self, metric: str, group: Group) -> Sample:
        found = [
            (number, self.grouping.seed_of(self.values[place]))
            for place in group.places
            if (number := _number(self.metrics[place], metric)) is not None and math.isfinite(number)
        ]
        return Sample(tuple(number for number, _ in found), tuple(seed for _, seed in found))

    def _family(self, metric: str) -> _Family:
        """The tests between all pairs of groups."""
        samples = {group.label: self._sample(metric, group) for group in self.groups}
        testable = [group for group in self.groups if len(samples[group.label].values) > 1]
        tests: dict[tuple[str, str], Difference] = {}
        if len(testable) <= MOST_TESTED:
            for first, second in combinations(testable, 2):
                found = compare_samples(samples[first.label], samples[second.label])
                if found is not None:
                    tests[first.label, second.label] = found
        adjusted = holm([found.p for found in tests.values()])
        return _Family(
            metric=metric,
            reference=testable[0] if testable else self.groups[0],
            testable=len(testable),
            samples=samples,
            tests=tests,
            adjusted=dict(zip(tests, adjusted, strict=True)),
        )

    def _verdicts(self, metric: str, shown: Sequence[Group]) -> list[dict[str, Any]]:
        """A verdict for each other group that is shown, held against the first that can be tested."""
        family = self._family(metric)
        return [family.verdict(group) for group in shown if group is not family.reference]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """The tests of one metric.

    Attributes:
        metric: The metric.
        reference: The group that the others are held against.
        testable: How many groups have at least two finite values.
        samples: The values of each group.
        tests: The tests by the labels of the two groups.
        adjusted: Their p values, adjusted over all of them.
    """

    metric: str
    reference: Group
    testable: int
    samples: Mapping[str, Sample]
    tests: Mapping[tuple[str, str], Difference]
    adjusted: Mapping[tuple[str, str], float]

    def verdict(self, other: Group) -> dict[str, Any]:
        """What holds between the reference and another group."""
        pair = (self.reference.label, other.label)
        found = self.tests.get(pair)
        entry: dict[str, Any] = {
            "metric": self.metric,
            "first": pair[0],
            "second": pair[1],
            "n": [len(self.samples[label].values) for label in pair],
            **dict.fromkeys(("test", "difference", "ci_low", "ci_high", "t", "df", "p", "p_holm")),
            "family": len(self.tests),
            "verdict": UNTESTED,
        }
        if found is None:
            return {**entry, "sentence": self._refusal(other)}
        p_holm = self.adjusted[pair]
        verdict = LARGER if p_holm < ALPHA else WITHIN
        n = f"n={found.n[0]}" if found.test == "paired t" else f"n={found.n[0]} and {found.n[1]}"
        told = {name: getattr(found, name) for name in ("difference", "ci_low", "ci_high", "t", "df", "p")}
        return {
            **entry,
            "n": list(found.n),
            "test": found.test,
            **{name: spell(canon_number(number)) for name, number in told.items()},
            "p_holm": spell(canon_number(p_holm)),
            "verdict": verdict,
            "sentence": (
                f"{self.metric}: {self.reference.name} minus {other.name} = {_short(found.difference)} "
                f"[{_short(found.ci_low)}, {_short(found.ci_high)}], {verdict} "
                f"({found.test}, {n}, p={_short(p_holm)} after Holm over {len(self.tests)})"
            ),
        }

    def _refusal(self, other: Group) -> str:
        for group in (self.reference, other):
            size = len(self.samples[group.label].values)
            if size < 2:
                return (
                    f"{self.metric}: {group.name} has {size} {'run' if size == 1 else 'runs'} with a finite "
                    "value: not tested, since a test takes at least two"
                )
        if self.testable > MOST_TESTED:
            return (
                f"{self.metric}: not tested, since there are more than {MOST_TESTED} groups; "
                "--filter takes fewer"
            )
        return f"{self.metric}: {self.reference.name} and {other.name} are not tested: their numbers overflow"


def _number(readings: Mapping[str, Reading], metric: str) -> float | None:
    reading = readings.get(metric)
    return None if reading is None else reading.number


def _finite(metrics: Sequence[Mapping[str, Reading]], places: Sequence[int], metric: str) -> list[float]:
    numbers = (_number(metrics[place], metric) for place in places)
    return [number for number in numbers if number is not None and math.isfinite(number)]


def _all_of(count: int) -> str:
    return "the one tested group" if count == 1 else f"all {count} tested groups"


def _short(number: float | None) -> str:
    return "none" if number is None else f"{number:.4g}"
