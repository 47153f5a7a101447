"""How much each setting matters for a metric, looked at one by one.

A setting is a config key that differs. Its *effect* is the share of the variance of the ranks of the metric
that its values explain, adjusted for their number, so that a key with many values does not win by that. Where
no value occurs twice, it is the same share for the line through the ranks. Numbers have a rank correlation
beside it, which says in which direction, and misses an optimum in the middle.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pull_logs.analyze.inference import holm
from pull_logs.analyze.questions import CONFIG, Values, all_names, differing_names, identity_in
from pull_logs.analyze.relations.ranks import Association, by_values, rank_correlation
from pull_logs.analyze.statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEffect:
    """The effect of one key on a metric.

    Attributes:
        key: The key, with `config.`.
        n: The runs that have a finite value of the metric.
        values: How many values the key has in these runs; being absent is one.
        by: What the effect is computed from: `values`, or `ranks` where no value occurs twice.
        effect: The adjusted share of the variance of ranks, at most 1; about 0 without an effect.
        p: The p value of the hypothesis that the key has no effect.
        p_holm: The same, adjusted over all keys; keys that vary together count once.
        correlation: The rank correlation with the metric, of keys that are numbers.
        n_numbers: The runs that the rank correlation is over.
        medians: For each value a run that has it, and the median of the metric over the runs that have it;
            empty where no value occurs twice.
    """

    key: str
    n: int
    values: int
    by: Literal["values", "ranks"]
    effect: float
    p: float
    p_holm: float
    correlation: Association | None
    n_numbers: int
    medians: Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEffects:
    """The effects of all keys that differ.

    Attributes:
        effects: The effects, the strongest first.
        together: Sets of keys that vary together in these runs, whose effects cannot be separated.
        lost: The keys whose effect cannot be computed, because they have another value in every run.
    """

    effects: Sequence[KeyEffect]
    together: Sequence[Sequence[str]]
    lost: Sequence[str]


def key_effects(runs: Sequence[Values], numbers: Sequence[float]) -> KeyEffects:
    """Return the effects of all keys that differ.

    Args:
        runs: The values of each run that has a finite number of the metric.
        numbers: The metric.
    """
    names = [name for name in all_names(runs) if name.startswith(CONFIG)]
    tests = [_test(name, runs, numbers) for name in differing_names(runs, names)]
    found = [test for test in tests if test.association is not None]
    together: dict[tuple[int, ...], list[str]] = {}
    for test in tests:
        together.setdefault(test.partition, []).append(test.key)
    effects = [
        KeyEffect(
            key=test.key,
            n=len(runs),
            values=len(set(test.partition)),
            by=test.by,
            effect=association.strength,
            p=association.p,
            p_holm=p,
            correlation=test.correlation,
            n_numbers=test.n_numbers,
            medians=_medians(test.partition, numbers) if test.by == "values" else (),
        )
        for test, p in zip(found, _adjusted(found), strict=True)
        if (association := test.association) is not None
    ]
    return KeyEffects(
        effects=sorted(effects, key=lambda item: (-item.effect, item.p, item.key)),
        together=[keys for keys in together.values() if len(keys) > 1],
        lost=[test.key for test in tests if test.association is None],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Test:
    """One key, looked at.

    Attributes:
        key: The key.
        partition: Which runs share a value, whatever the values are.
        association: Its effect; None if it cannot be computed.
        by: What the effect is computed from.
        correlation: Its rank correlation.
        n_numbers: The runs that this is over.
    """

    key: str
    partition: tuple[int, ...]
    association: Association | None
    by: Literal["values", "ranks"]
    correlation: Association | None
    n_numbers: int


def _test(name: str, runs: Sequence[Values], numbers: Sequence[float]) -> _Test:
    seen: dict[Hashable, int] = {}
    partition = tuple(seen.setdefault(identity_in(run, name), len(seen)) for run in runs)
    x, y = _numbers(runs, name, numbers)
    correlation = rank_correlation(x, y)
    association, by = _association(partition, numbers, correlation, complete=len(x) == len(runs))
    return _Test(
        key=name,
        partition=partition,
        association=association,
        by=by,
        correlation=correlation,
        n_numbers=len(x),
    )


def _adjusted(tests: Sequence[_Test]) -> list[float]:
    """Return p values adjusted by Holm's method; keys that vary together and have the same p are one test."""
    keys = [(test.partition, test.association.p if test.association else 1.0) for test in tests]
    distinct = list(dict.fromkeys(keys))
    by_key = dict(zip(distinct, holm([p for _, p in distinct]), strict=True))
    return [by_key[key] for key in keys]


def _association(
    values: Sequence[Hashable],
    numbers: Sequence[float],
    correlation: Association | None,
    *,
    complete: bool,
) -> tuple[Association | None, Literal["values", "ranks"]]:
    found = by_values(values, numbers)
    if found is not None or correlation is None or not complete:
        return found, "values"
    n = len(numbers)
    share = 1 - (1 - correlation.strength**2) * (n - 1) / (n - 2)
    return Association(strength=share, p=correlation.p), "ranks"


def _numbers(runs: Sequence[Values], name: str, numbers: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the numbers of a key and of the metric, of the runs whose key is a finite number."""
    pairs = []
    for run, number in zip(runs, numbers, strict=True):
        value = run.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                converted = float(value)
            except OverflowError:
                continue
            if np.isfinite(converted):
                pairs.append((converted, number))
    return [x for x, _ in pairs], [y for _, y in pairs]


def _medians(partition: Sequence[int], numbers: Sequence[float]) -> list[tuple[int, float]]:
    """Return for each value a run that has it, and the median of the metric over the runs that have it."""
    members: dict[int, list[int]] = {}
    for index, value in enumerate(partition):
        members.setdefault(value, []).append(index)
    return [(indices[0], median([numbers[index] for index in indices])) for indices in members.values()]
