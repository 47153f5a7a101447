"""The sections `[EFFECTS]`, `[FIT]`, `[FIT_OUTLIERS]` and `[PARETO]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pull_logs.cli.render import Column, Nouns, Section, columns, known_exact, name_cell

_EFFECTS = (
    "key",
    "values",
    "effect",
    "p_holm",
    "rho",
    "rho_low",
    "rho_high",
    "best",
    "best_median",
    "worst",
    "worst_median",
)
_FIT = (
    "fit",
    "n",
    "left_out",
    "slope",
    "slope_low",
    "slope_high",
    "intercept",
    "intercept_low",
    "intercept_high",
    "p",
    "r2",
    "residual_std",
)
_OUTLIERS = ("fit", "run", "x", "y", "predicted", "residual", "studentized", "p_bonferroni")


def relation_sections(answer: Mapping[str, Any]) -> list[Section]:
    """Return the sections about effects, fits and the Pareto front that an answer has."""
    sections: list[Section] = []
    if "effects" in answer:
        sections.append(_effects(answer["effect"], answer["effects"]))
    if "fits" in answer:
        sections.append(_fits(answer["fits"]))
    if answer.get("fit_outliers"):
        sections.append(_outliers(answer["fit_outliers"]))
    if "pareto" in answer:
        sections.append(_pareto(answer["pareto_front"], answer["pareto"]))
    return sections


def _effects(effect: Mapping[str, Any], entries: list[Mapping[str, Any]]) -> Section:
    facts = {name: effect[name] for name in ("metric", "direction", "runs", "keys")}
    return Section(
        name="EFFECTS",
        facts={**facts, "left_out": effect["left_out"] or None},
        columns=columns(*_EFFECTS, key=name_cell, best=_value, worst=_value),
        rows=[
            [entry[name] if name not in ("best", "worst") else (entry[name], entry["best_median"] is None)
             for name in _EFFECTS]
            for entry in entries
        ],
        notes=[effect["sentence"]],
        kept=len(_EFFECTS),
        nouns=Nouns(rows="keys"),
        weight=3,
    )  # fmt: skip


def _value(value: tuple[Any, bool]) -> str:
    """Show the value of a key; nothing where no value occurs twice."""
    return "" if value[1] else known_exact(value[0])


def _fits(entries: list[Mapping[str, Any]]) -> Section:
    return Section(
        name="FIT",
        facts={"fits": len(entries)},
        columns=columns(*_FIT, fit=name_cell),
        rows=[[entry[name] for name in _FIT] for entry in entries],
        notes=[f"{entry['fit']}: {entry['sentence']}" for entry in entries],
        kept=len(_FIT),
        nouns=Nouns(rows="fits"),
        weight=3,
    )


def _outliers(entries: list[Mapping[str, Any]]) -> Section:
    return Section(
        name="FIT_OUTLIERS",
        facts={"alpha": 0.05},
        columns=columns(*_OUTLIERS, fit=name_cell, run=name_cell),
        rows=[[entry[name] for name in _OUTLIERS] for entry in entries],
        kept=len(_OUTLIERS),
        nouns=Nouns(rows="runs"),
    )


def _pareto(front: Mapping[str, Any], entries: list[Mapping[str, Any]]) -> Section:
    names = list(dict.fromkeys(name for entry in entries for name in entry["values"]))
    facts = {name: front[name] for name in ("criteria", "runs", "front", "dominated")}
    return Section(
        name="PARETO",
        facts={**facts, "left_out": front["left_out"] or None},
        columns=[Column("run", name_cell), *map(Column, names)],
        rows=[[entry["run"], *(entry["values"].get(name) for name in names)] for entry in entries],
        kept=3,
        nouns=Nouns(rows="runs"),
        weight=3,
    )
