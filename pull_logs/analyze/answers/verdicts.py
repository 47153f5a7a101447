"""Tests between groups of runs, and what they mean in plain words.

The best group (the first, where no metric ranks them) is tested against each other group, with p values that
are adjusted over all pairs of groups, because the data chose the best one (see `significance`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from pull_logs.analyze.results import VerdictResult
from pull_logs.analyze.statistics import (
    ALPHA,
    LARGER,
    UNTESTED,
    WITHIN,
    Difference,
    Sample,
    compare_samples,
    holm,
)
from pull_logs.rows.canonical import canon_number, spell
from pull_logs.suggestions import counted

MOST_TESTED = 200
"""Groups of which all pairs are tested; more take too long, and so many tests find nothing."""


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
class MetricTests:
    """The tests of one metric between all pairs of groups.

    Attributes:
        metric: The metric.
        reference: The group that the others are tested against.
        testable: How many groups have at least two finite values.
        samples: The groups in their order.
        tests: The tests by the labels of the two groups.
        adjusted: Their p values, adjusted over all of them.
    """

    metric: str
    reference: NamedSample
    testable: int
    samples: Sequence[NamedSample]
    tests: Mapping[tuple[str, str], Difference]
    adjusted: Mapping[tuple[str, str], float]

    @classmethod
    def run(cls, metric: str, samples: Sequence[NamedSample]) -> MetricTests:
        """Test all pairs of groups, of which there is at least one."""
        testable = [group for group in samples if group.size > 1]
        tests: dict[tuple[str, str], Difference] = {}
        if len(testable) <= MOST_TESTED:
            for first, second in combinations(testable, 2):
                found = compare_samples(first.sample, second.sample)
                if found is not None:
                    tests[first.label, second.label] = found
        adjusted = holm([found.p for found in tests.values()])
        return cls(
            metric=metric,
            reference=testable[0] if testable else samples[0],
            testable=len(testable),
            samples=samples,
            tests=tests,
            adjusted=dict(zip(tests, adjusted, strict=True)),
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

    def lead(self) -> str:
        """Return in words whether the lead of the best group over the others is larger than seed noise."""
        verdicts = Counter(verdict["verdict"] for verdict in self.verdicts())
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

    def _verdict(self, other: NamedSample) -> VerdictResult:
        pair = (self.reference.label, other.label)
        found = self.tests.get(pair)
        if found is None:
            return self._untested(other)
        p_holm = self.adjusted[pair]
        verdict = LARGER if p_holm < ALPHA else WITHIN
        n = f"n={found.n[0]}" if found.test == "paired t" else f"n={found.n[0]} and {found.n[1]}"
        return {
            "metric": self.metric,
            "first": pair[0],
            "second": pair[1],
            "n": list(found.n),
            "test": found.test,
            "difference": _number(found.difference),
            "ci_low": _number(found.ci_low),
            "ci_high": _number(found.ci_high),
            "t": _number(found.t),
            "df": _number(found.df),
            "p": _number(found.p),
            "p_holm": _number(p_holm),
            "family": len(self.tests),
            "verdict": verdict,
            "sentence": (
                f"{self.metric}: {self.reference.name} minus {other.name} = {short(found.difference)} "
                f"[{short(found.ci_low)}, {short(found.ci_high)}], {verdict} "
                f"({found.test}, {n}, p={short(p_holm)} after Holm over {len(self.tests)})"
            ),
        }

    def _untested(self, other: NamedSample) -> VerdictResult:
        return {
            "metric": self.metric,
            "first": self.reference.label,
            "second": other.label,
            "n": [self.reference.size, other.size],
            "test": None,
            "difference": None,
            "ci_low": None,
            "ci_high": None,
            "t": None,
            "df": None,
            "p": None,
            "p_holm": None,
            "family": len(self.tests),
            "verdict": UNTESTED,
            "sentence": self._refusal(other),
        }

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


def _number(value: float) -> int | float | str:
    number: int | float | str = spell(canon_number(value))
    return number


def _all_of(count: int) -> str:
    return "the one tested group" if count == 1 else f"all {count} tested groups"
