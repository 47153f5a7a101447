"""The sections `[TASKS]`, `[TASK_GROUPS]`, `[TASK_VERDICTS]` and `[PROFILES]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pull_logs.cli.render import Column, Nouns, Section, columns, known, known_exact, name_cell

_GROUP = ("group", "tasks", "n", "iqm", "iqm_low", "iqm_high", "mean", "median")
_VERDICT = (
    "first",
    "second",
    "tasks",
    "prob_better",
    "prob_low",
    "prob_high",
    "p",
    "p_holm",
    "verdict",
    "next",
)


def task_sections(answer: Mapping[str, Any]) -> list[Section]:
    """Return what is known of groups over several tasks."""
    labels = [entry["group"] for entry in answer["groups"]]
    alignment = answer["alignment"]
    return [
        Section(
            name="TASKS",
            facts={"task": alignment["task"], "tasks": len(answer["tasks"]), "value": "mean"},
            columns=[Column("task", known_exact), *(Column(label, known) for label in labels)],
            rows=[
                [entry["task"], *(entry["mean"].get(label) for label in labels)] for entry in answer["tasks"]
            ],
            kept=2,
            nouns=Nouns(rows="tasks", columns="groups", uncut=1),
        ),
        Section(
            name="TASK_GROUPS",
            facts={"scale": alignment["scale"]},
            columns=columns(*_GROUP, group=name_cell),
            rows=[[entry[name] for name in _GROUP] for entry in answer["task_groups"]],
            kept=6,
            nouns=Nouns(rows="groups"),
            weight=2,
        ),
        Section(
            name="TASK_VERDICTS",
            facts={"tests": len(answer["task_verdicts"]), "alpha": alignment["alpha"]},
            columns=columns(*_VERDICT, first=name_cell, second=name_cell, verdict=str, next=str),
            rows=[[entry[name] for name in _VERDICT] for entry in answer["task_verdicts"]],
            kept=len(_VERDICT),
            nouns=Nouns(rows="tests"),
            weight=3,
        ),
        Section(
            name="PROFILES",
            facts={"share": "of runs better than score"},
            columns=[Column("score", known), *(Column(label, known) for label in labels)],
            rows=[
                [entry["score"], *(entry["better"].get(label) for label in labels)]
                for entry in answer["task_profiles"]
            ],
            kept=2,
            nouns=Nouns(rows="scores", columns="groups", uncut=1),
        ),
    ]
