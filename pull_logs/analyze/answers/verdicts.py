"""Tests between groups, and what they mean in plain words.

The best group (the first, where no metric ranks them) is tested against each other group, with p values that
are adjusted over all pairs of groups, because the data chose the best one (see `significance`). A verdict is

    better       the adjusted p is below alpha: the first group is better (`different`, if no end is better)
    equivalent   with a margin: TOST shows that the difference is within it, whether it is zero or not
    undecided    neither; how many more seeds would decide is said
    not tested   a group has fewer than two finite values
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from pull_logs.analyze.group_results import VerdictResult
from pull_logs.analyze.inference import (
    ALPHA,
    Difference,
    Margin,
    Sample,
    SeedPlan,
    compare_samples,
    hedges_g,
    holm,
    plan_seeds,
    plan_text,
    probability_above,
)
from pull_logs.analyze.statistics import Direction, mean
from pull_logs.rows.canonical import canon_number, spell
from pull_logs.suggestions import counted, joined

MOST_TESTED = 200
"""Groups of which all pairs are tested; more take too long, and so many tests find nothing."""

BETTER, DIFFERENT, EQUIVALENT, UNDECIDED, UNTESTED = (
    "better",
    "different",
    "equivalent",
    "undecided",
    "not tested",
)
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class NamedSample:
    """The values of one group.

    Attributes:
        label: The label of the group: G1, G2, ...
        name: What sentences call it.
        sample: Its finite values.
    """

    label: str
    name: str
    sample: Sample

    @property
    def size(self) -> int:
        """How many values it has."""
        return len(self.sample.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class TestPlan:
    """How groups are tested.

    Attributes:
        alpha: The share of false alarms over the tests of a metric.
        margin: The largest difference that does not matter; None if every difference does.
        direction: The better end of the metric; None if it has none.
    """

    alpha: float = ALPHA
    margin: Margin | None = None
    direction: Direction | None = None

    __test__ = False  # not a class of tests


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricTests:
    """The tests of one metric between all pairs of groups.

    Attributes:
        metric: The metric.
        plan: How they are tested.
        reference: The group that the others are tested against.
        testable: How many groups have at least two finite values.
        samples: The groups in their order.
        tests: The tests by the labels of the two groups.
        adjusted: Their p values, adjusted over all of them.
        equivalences: The p values of TOST with the reference by the labels of the two groups, adjusted over
            all pairs; empty without a margin.
    """

    metric: str
    plan: TestPlan
    reference: NamedSample
    testable: int
    samples: Sequence[NamedSample]
    tests: Mapping[tuple[str, str], Difference]
    adjusted: Mapping[tuple[str, str], float]
    equivalences: Mapping[tuple[str, str], float]

    @classmethod
    def run(cls, metric: str, samples: Sequence[NamedSample], plan: TestPlan) -> MetricTests:
        """Test all pairs of groups, of which there is at least one."""
        testable = [group for group in samples if group.size > 1]
        tests: dict[tuple[str, str], Difference] = {}
        if len(testable) <= MOST_TESTED:
            for first, second in combinations(testable, 2):
                found = compare_samples(first.sample, second.sample)
                if found is not None:
                    tests[first.label, second.label] = found
        reference = testable[0] if testable else samples[0]
        equivalences: list[float] = []
        if plan.margin is not None:
            margin = plan.margin.of(mean(reference.sample.values)) if testable else 0.0
            equivalences = holm([found.p_within(margin) for found in tests.values()])
        return cls(
            metric=metric,
            plan=plan,
            reference=reference,
            testable=len(testable),
            samples=samples,
            tests=tests,
            adjusted=dict(zip(tests, holm([found.p for found in tests.values()]), strict=True)),
            equivalences=dict(zip(tests, equivalences, strict=False)),
        )

    def verdicts(self, labels: Collection[str] | None = None) -> list[VerdictResult]:
        """Return a verdict for each group other than the reference.

        Args:
            labels: Only for these groups.
        """
        return [
            self._verdict(group)
            for group in self.samples
            if group is not self.reference and (labels is None or group.label in labels)
        ]

    def lead(self, shown: Collection[str]) -> str:
        """Return in words whether the best group is better than the others, and what would decide.

        Args:
            shown: The labels of the groups that are shown; others are named with what they have in common.
        """
        verdicts = self.verdicts()
        names = {group.label: group.label if group.label in shown else group.name for group in self.samples}
        counts = Counter(verdict["verdict"] for verdict in verdicts)
        tested = len(verdicts) - counts[UNTESTED]
        untested = f"; {counts[UNTESTED]} not tested (n < 2)" if counts[UNTESTED] else ""
        if not tested:
            return f"nothing to test it against{untested}"
        phrases = {
            BETTER: "better than {}, beyond seed noise",
            EQUIVALENT: f"equivalent to {{}} within {self.plan.margin and self.plan.margin.text}",
            UNDECIDED: "not decided against {}",
        }
        parts = [
            phrase.format(_those(verdicts, kind, tested, names))
            for kind, phrase in phrases.items()
            if counts[kind]
        ]
        undecided = [verdict for verdict in verdicts if verdict["verdict"] == UNDECIDED]
        advice = f"; against {names[undecided[0]['second']]}: {undecided[0]['next']}" if undecided else ""
        return f"it is {' and '.join(parts)}{untested}{advice}"

    def _verdict(self, other: NamedSample) -> VerdictResult:
        pair = (self.reference.label, other.label)
        found = self.tests.get(pair)
        if found is None:
            return self._untested(other)
        margin = self.plan.margin.of(mean(self.reference.sample.values)) if self.plan.margin else None
        equivalence = self.equivalences.get(pair)
        verdict = self._decide(pair)
        plan = plan_seeds(found, self._planned_alpha(pair), margin=margin) if verdict == UNDECIDED else None
        above = probability_above(*found.values)
        return {
            "metric": self.metric,
            "first": pair[0],
            "second": pair[1],
            "n": list(found.n),
            "test": found.test,
            "difference": _number(found.difference),
            "ci_low": _number(found.ci_low),
            "ci_high": _number(found.ci_high),
            "effect": _number(hedges_g(*found.values)),
            "prob_better": 1 - above if self.plan.direction == "min" else above,
            "t": _number(found.t),
            "df": _number(found.df),
            "p": _number(found.p),
            "p_holm": _number(self.adjusted[pair]),
            "margin": _number(margin),
            "p_equivalent": _number(equivalence),
            "family": len(self.tests),
            "verdict": verdict,
            "more_seeds": None if plan is None else list(plan.more),
            "next": self._next(verdict, plan, pair, found),
            "sentence": self._sentence(verdict, other, found, plan),
        }

    def _decide(self, pair: tuple[str, str]) -> str:
        """Return the verdict; a difference that is certainly within the margin does not matter."""
        equivalence = self.equivalences.get(pair)
        if equivalence is not None and equivalence < self.plan.alpha:
            return EQUIVALENT
        if self.adjusted[pair] < self.plan.alpha:
            return BETTER if self.plan.direction else DIFFERENT
        return UNDECIDED

    def _planned_alpha(self, pair: tuple[str, str]) -> float:
        """Return the level that Holm's method leaves to a test: alpha over the tests that rank after it."""
        before = sum(found.p < self.tests[pair].p for found in self.tests.values())
        return self.plan.alpha / (len(self.tests) - before)

    def _next(self, verdict: str, plan: SeedPlan | None, pair: tuple[str, str], found: Difference) -> str:
        """Return what to do about a verdict that does not decide; empty for one that does."""
        if verdict != UNDECIDED:
            return ""
        if plan is None:
            return f"more seeds will not decide; try {'a wider' if self.plan.margin else 'a'} --margin"
        end = "would show equivalence" if plan.decision == "equivalence" else "would show such a difference"
        runs = plan_text(plan.more, pair)
        if found.paired:
            runs = f"{counted(plan.more[0], 'more seed')}, run in both groups,"
        return f"about {runs} {end} (80% power)"

    def _sentence(self, verdict: str, other: NamedSample, found: Difference, plan: SeedPlan | None) -> str:
        pair = (self.reference.label, other.label)
        names = self.reference.name, other.name
        interval = f"[{short(found.ci_low)}, {short(found.ci_high)}]"
        n = f"paired by seed, n={found.n[0]}" if found.paired else f"Welch t, n={found.n[0]} and {found.n[1]}"
        over = f" after Holm over {len(self.tests)}" if len(self.tests) > 1 else ""
        test = f"{n}, p={short(self.adjusted[pair])}{over}"
        if verdict == BETTER:
            size = f"by {short(abs(found.difference))}, difference {short(found.difference)} {interval}"
            return f"{self.metric}: {names[0]} is better than {names[1]} {size}: beyond seed noise ({test})"
        size = f"difference {short(found.difference)} {interval}"
        if verdict == DIFFERENT:
            return f"{self.metric}: {names[0]} and {names[1]} differ, {size}: beyond seed noise ({test})"
        if verdict == EQUIVALENT and self.plan.margin is not None:
            within = f"within the margin of {self._margin_text()}"
            p = f"{n}, TOST p={short(self.equivalences[pair])}{over}"
            return f"{self.metric}: {names[0]} and {names[1]} are equivalent, {size}: {within} ({p})"
        advice = self._next(verdict, plan, pair, found)
        return (
            f"{self.metric}: {names[0]} or {names[1]} is undecided, {size}: "
            f"it may be seed noise ({test}); {advice}"
        )

    def _margin_text(self) -> str:
        margin = self.plan.margin
        if margin is None:
            return "none"
        amount = short(margin.of(mean(self.reference.sample.values)))
        return f"{margin.text} ({amount})" if margin.relative else margin.text

    def _untested(self, other: NamedSample) -> VerdictResult:
        empty: dict[str, Any] = dict.fromkeys(
            ("test", "difference", "ci_low", "ci_high", "effect", "prob_better", "t", "df", "p", "p_holm")
        )
        few = [group for group in (self.reference, other) if group.size < 2]
        result: VerdictResult = {
            **empty,  # type: ignore[typeddict-item]
            "metric": self.metric,
            "first": self.reference.label,
            "second": other.label,
            "n": [self.reference.size, other.size],
            "margin": None,
            "p_equivalent": None,
            "family": len(self.tests),
            "verdict": UNTESTED,
            "more_seeds": [max(2 - group.size, 0) for group in (self.reference, other)] if few else None,
            "next": " and ".join(
                f"{group.label} needs {counted(2 - group.size, 'more finite run')}" for group in few
            ),
            "sentence": self._refusal(other),
        }
        return result

    def _refusal(self, other: NamedSample) -> str:
        """Return in words why a group is not tested."""
        for group in (self.reference, other):
            if group.size < 2:
                return (
                    f"{self.metric}: {group.name} has {counted(group.size, 'run')} with a finite value: "
                    "not tested, since a test takes at least two"
                )
        if self.testable > MOST_TESTED:
            return (
                f"{self.metric}: not tested, since there are more than {MOST_TESTED} groups; "
                "--filter takes fewer"
            )
        return f"{self.metric}: {self.reference.name} and {other.name} are not tested: their numbers overflow"


def short(number: float | None) -> str:
    """Return a number for a sentence, with four digits."""
    return "none" if number is None else f"{number:.4g}"


def _number(value: float | None) -> int | float | str | None:
    number: int | float | str | None = None if value is None else spell(canon_number(value))
    return number


def _those(verdicts: Sequence[VerdictResult], kind: str, tested: int, names: Mapping[str, str]) -> str:
    """Return in words which groups have a verdict: their names, or how many there are."""
    labels = [names[verdict["second"]] for verdict in verdicts if verdict["verdict"] == kind]
    if len(labels) == tested:
        return "the one tested group" if tested == 1 else f"all {tested} tested groups"
    return joined(labels) if len(labels) <= _MOST_NAMED else f"{len(labels)} of {tested} tested groups"
