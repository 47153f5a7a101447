"""The sections of a comparison about effects of settings, fits and the Pareto front."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pull_logs.analyze.inference import ALPHA
from pull_logs.analyze.questions import CONFIG, Subject, Values, values_of
from pull_logs.analyze.relation_results import (
    EffectResult,
    EffectSections,
    FitResult,
    FitSections,
    OutlierResult,
    ParetoSections,
)
from pull_logs.analyze.statistics import Goal
from pull_logs.rows.canonical import canon_number, spell
from pull_logs.suggestions import counted, joined

if TYPE_CHECKING:
    from pull_logs.analyze.relations.effects import KeyEffect, KeyEffects
    from pull_logs.analyze.relations.least_squares import Line
    from pull_logs.analyze.relations.request import Fit

_MOST_NAMED = 10
_LONGEST_VALUE = 60


class RunNumbers(Protocol):
    """A run whose numbers were read; `pull_logs.analyze.answers.run_readings.RunReading` satisfies it."""

    @property
    def label(self) -> str:
        """The label of the run."""

    @property
    def subject(self) -> Subject:
        """The run."""

    def number(self, metric: str) -> float | None:
        """Return the number of a metric or a column, if the run has one."""


@dataclass(frozen=True, slots=True)
class RelationsAnswer:
    """What a comparison says about relations.

    Attributes:
        effects: How much each setting matters for a metric.
        fits: Lines through values of runs.
        pareto: The runs that no other improves on.
        notes: What a reader must know of them.
    """

    effects: EffectSections
    fits: FitSections
    pareto: ParetoSections
    notes: tuple[str, ...]


def relate(
    runs: Sequence[RunNumbers], *, effect: Goal | None, fits: Sequence[Fit], pareto: Sequence[Goal]
) -> RelationsAnswer:
    """Relate the values of runs.

    Args:
        runs: The runs, with the columns that these options name.
        effect: The metric on which effects are looked for, if any.
        fits: The lines to fit.
        pareto: The criteria of the Pareto front.
    """
    fitted = _fits(runs, fits) if fits else FitSections()
    front = _pareto(runs, pareto) if pareto else ParetoSections()
    if effect is None:
        return RelationsAnswer(EffectSections(), fitted, front, ())
    from pull_logs.analyze.relations.effects import key_effects

    used = [(run, number) for run in runs if (number := finite_number(run, effect.metric)) is not None]
    values = [values_of(run.subject.run) for run, _ in used]
    found = key_effects(values, [number for _, number in used])
    sections = _effects(effect, found, values, left_out=len(runs) - len(used))
    return RelationsAnswer(sections, fitted, front, tuple(_effect_notes(effect, found)))


def finite_number(run: RunNumbers, name: str) -> float | None:
    """Return the finite number that a run has of a metric or a column; None without one."""
    number = run.number(name)
    return number if number is not None and math.isfinite(number) else None


def _effects(goal: Goal, found: KeyEffects, values: Sequence[Values], *, left_out: int) -> EffectSections:
    least = goal.direction == "min"
    return {
        "effect": {
            "metric": goal.metric,
            "direction": goal.direction,
            "runs": len(values),
            "left_out": left_out,
            "keys": len(found.effects),
            "sentence": _effect_sentence(goal, found.effects, values),
        },
        "effects": [_effect(item, values, least=least) for item in found.effects],
    }


def _ordered(item: KeyEffect, *, least: bool) -> list[tuple[int, float]]:
    """Return a run of each value with the median of the metric, the best first."""
    return sorted(item.medians, key=lambda pair: (pair[1] if least else -pair[1], pair[0]))


def _effect(item: KeyEffect, values: Sequence[Values], *, least: bool) -> EffectResult:
    ordered = _ordered(item, least=least)
    rho = item.correlation
    return {
        "key": item.key,
        "values": item.values,
        "by": item.by,
        "effect": _number(item.effect),
        "p": _number(item.p),
        "p_holm": _number(item.p_holm),
        "rho": None if rho is None else _number(rho.strength),
        "rho_low": None if rho is None else _number(rho.low),
        "rho_high": None if rho is None else _number(rho.high),
        "rho_n": item.n_numbers if rho is not None else None,
        "best": spell(values[ordered[0][0]].get(item.key)) if ordered else None,
        "best_median": _number(ordered[0][1]) if ordered else None,
        "worst": spell(values[ordered[-1][0]].get(item.key)) if ordered else None,
        "worst_median": _number(ordered[-1][1]) if ordered else None,
    }


def _effect_sentence(goal: Goal, effects: Sequence[KeyEffect], values: Sequence[Values]) -> str:
    metric, n = f"{goal.metric} ({goal.direction})", len(values)
    if not effects:
        return f"no config key differs so that its effect on {metric} can be computed over n={n} runs"
    first = effects[0]
    p = f"(p={first.p_holm:.4g} after Holm over {len(effects)})"
    if first.p_holm >= ALPHA:
        return (
            f"no config key has an effect on {metric} that is larger than chance over n={n} runs: "
            f"the strongest is {first.key} {p}"
        )
    share = f"it explains {100 * first.effect:.0f} % of the variance of its ranks over n={n} runs {p}"
    ordered = _ordered(first, least=goal.direction == "min")
    if not ordered:
        return f"{first.key} matters most for {metric}: {share}"
    index, median = ordered[0]
    value = json.dumps(spell(values[index].get(first.key)), ensure_ascii=False)[:_LONGEST_VALUE]
    return f"{first.key} matters most for {metric}: {share}; best is {value}, median {median:.4g}"


def _effect_notes(goal: Goal, found: KeyEffects) -> list[str]:
    notes = []
    if len(found.effects) > 1:
        two = " ".join(f"--group-by {shlex.quote(item.key)}" for item in found.effects[:2])
        notes.append(
            f"each key is looked at alone: interactions are left out; {two} --best "
            f"{shlex.quote(f'{goal.metric}:{goal.direction}')} looks at two together"
        )
    notes += [
        "these keys vary together, so that their effects cannot be separated: "
        f"{joined(_short(keys), most=_MOST_NAMED)}"
        for keys in found.together
    ]
    if found.lost:
        notes.append(
            "no effect can be computed of keys with another value in every run: "
            f"{joined(_short(found.lost), most=_MOST_NAMED)}"
        )
    return notes


def _short(keys: Sequence[str]) -> list[str]:
    return [key.removeprefix(CONFIG) for key in keys]


def _fits(runs: Sequence[RunNumbers], fits: Sequence[Fit]) -> FitSections:
    from pull_logs.analyze.relations.least_squares import fit_line, outliers

    found: list[FitResult] = []
    far: list[OutlierResult] = []
    for number, fit in enumerate(fits, 1):
        points = [
            (run, x, y)
            for run in runs
            if (x := finite_number(run, fit.x)) is not None and (y := finite_number(run, fit.y)) is not None
        ]
        xs, ys = [x for _, x, _ in points], [y for _, _, y in points]
        line = fit_line(xs, ys)
        left_out = len(runs) - len(points)
        found.append(_fit(f"F{number}", fit, line, n=len(points), left_out=left_out))
        if line is not None:
            far += [
                {
                    "fit": f"F{number}",
                    "run": points[item.index][0].label,
                    "path": str(points[item.index][0].subject.run.path),
                    "x": _number(xs[item.index]),
                    "y": _number(ys[item.index]),
                    "predicted": _number(line.at(xs[item.index])),
                    "residual": _number(item.residual),
                    "studentized": _number(item.studentized),
                    "p_bonferroni": _number(item.p),
                }
                for item in outliers(xs, ys, line)
            ]
    return {"fits": found, "fit_outliers": far}


def _fit(label: str, fit: Fit, line: Line | None, *, n: int, left_out: int) -> FitResult:
    return {
        "fit": label,
        "y": fit.y,
        "x": fit.x,
        "n": n,
        "left_out": left_out,
        "slope": None if line is None else _number(line.slope),
        "slope_low": None if line is None else _number(line.slope_low),
        "slope_high": None if line is None else _number(line.slope_high),
        "intercept": None if line is None else _number(line.intercept),
        "intercept_low": None if line is None else _number(line.intercept_low),
        "intercept_high": None if line is None else _number(line.intercept_high),
        "p": None if line is None else _number(line.p),
        "r2": None if line is None else _number(line.r2),
        "residual_std": None if line is None else _number(line.residual_std),
        "sentence": _fit_sentence(fit, line, n=n),
    }


def _fit_sentence(fit: Fit, line: Line | None, *, n: int) -> str:
    if line is None:
        why = "fewer than two runs have both" if n < 2 else f"{fit.x} is the same in all runs"
        return f"no line: {why}"
    interval = (
        "no interval for two runs"
        if line.slope_low is None or line.slope_high is None
        else f"95% from {line.slope_low:.4g} to {line.slope_high:.4g}"
    )
    r2 = "" if line.r2 is None else f", R2 {line.r2:.4g}"
    found = f"{fit.y} = {line.intercept:.4g} {'-' if line.slope < 0 else '+'} {abs(line.slope):.4g} * {fit.x}"
    logs = _logs(fit)
    power = f"; a power law: {logs[0]} ~ {logs[1]} ** {line.slope:.4g}" if logs else ""
    return f"{found} (slope {interval}{r2}, n={n}){power}"


def _logs(fit: Fit) -> tuple[str, str] | None:
    """Return what is under the logarithms, if both sides are logarithms of the same base."""
    for function in ("log(", "log10("):
        if all(side.startswith(function) and side.endswith(")") for side in (fit.y, fit.x)):
            return fit.y[len(function) : -1], fit.x[len(function) : -1]
    return None


def _pareto(runs: Sequence[RunNumbers], criteria: Sequence[Goal]) -> ParetoSections:
    from pull_logs.analyze.relations.pareto import pareto_front

    usable: list[tuple[RunNumbers, tuple[float, ...]]] = []
    for run in runs:
        numbers = [finite_number(run, goal.metric) for goal in criteria]
        point = tuple(
            number if goal.direction == "min" else -number
            for goal, number in zip(criteria, numbers, strict=True)
            if number is not None
        )
        if len(point) == len(criteria):
            usable.append((run, point))
    front = [usable[index][0] for index in pareto_front([point for _, point in usable])]
    return {
        "pareto_front": {
            "criteria": ", ".join(map(str, criteria)),
            "runs": len(usable),
            "front": len(front),
            "dominated": len(usable) - len(front),
            "left_out": len(runs) - len(usable),
            "sentence": (
                f"{counted(len(front), 'run')} of {len(usable)} cannot be improved on in all of "
                f"{', '.join(map(str, criteria))} by another run"
            ),
        },
        "pareto": [
            {
                "run": run.label,
                "path": str(run.subject.run.path),
                "values": {goal.metric: _number(run.number(goal.metric)) for goal in criteria},
            }
            for run in front
        ],
    }


def _number(value: float | None) -> Any:
    return None if value is None else spell(canon_number(value))
