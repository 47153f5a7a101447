"""The sections `[ANSWER]`, `[GROUPS]`, `[GROUP_STATS]`, `[VERDICTS]` and `[RANKING]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pull_logs.cli.render import ABSENT, Column, Nouns, Section, columns, known_exact, name_cell
from pull_logs.cli.sections.metrics import count_members, with_members
from pull_logs.cli.sections.side_by_side import config_cells, some_labels

_STATISTICS = (
    "n",
    "mean",
    "std",
    "ci_low",
    "ci_high",
    "median",
    "iqm",
    "iqm_low",
    "iqm_high",
    "min",
    "max",
    "missing",
    "nonfinite",
)
_TESTED = (
    "metric",
    "first",
    "second",
    "test",
    "n",
    "difference",
    "ci_low",
    "ci_high",
    "effect",
    "prob_better",
    "p",
    "p_holm",
    "p_equivalent",
    "verdict",
    "next",
)
_RANKED = ("rank", "run", "value", "x", "best", "best_step")


def read_at(answer: Mapping[str, Any]) -> dict[str, object]:
    """Return what a heading says about where the metrics were read."""
    alignment = answer["alignment"]
    return {
        "at": alignment["at"],
        "x": alignment["x"],
        "interpolation": alignment["interpolation"],
        "interpolated": alignment["interpolated"] or None,
    }


def answer_section(sentence: str, note: str) -> Section:
    """Return the sentences that say which is best, whether that is real, and where it was read."""
    rows = [[text] for text in (sentence, note) if text]
    return Section(name="ANSWER", columns=[Column("sentence")], rows=rows, layout="sentences", weight=3)


def groups_section(answer: Mapping[str, Any]) -> Section:
    """Return the groups with the values that define them, and their runs, or the first and how many more."""
    entries = answer["groups"]
    keys = list(dict.fromkeys(key for entry in entries for key in entry["by"]))
    unfinished = any(set(entry["states"]) - {"finished"} for entry in entries)
    states = [Column("states", name_cell)] if unfinished else []
    return Section(
        name="GROUPS",
        facts={"groups": len(entries)},
        columns=[
            Column("group", name_cell),
            Column("n"),
            *(Column(key, known_exact) for key in keys),
            *states,
            Column("runs", str),
        ],
        rows=[
            [
                entry["group"],
                entry["n"],
                *(entry["by"].get(key, ABSENT) for key in keys),
                *([_states(entry["states"])] if unfinished else []),
                some_labels(entry["runs"], sum(group["n"] for group in entries)),
            ]
            for entry in entries
        ],
        kept=3,
        nouns=Nouns(rows="groups"),
        weight=2,
    )


def _states(states: Mapping[str, int]) -> str:
    return " ".join(f"{state}:{count}" for state, count in states.items())


def group_stats_section(answer: Mapping[str, Any]) -> Section:
    """Return the statistics of each metric in each group."""
    entries = answer["group_stats"]
    names = with_members(("metric", "group", *_STATISTICS), entries)
    metrics = count_members({entry["metric"]: entry for entry in entries}.values())
    return Section(
        name="GROUP_STATS",
        facts={"metrics": metrics, **read_at(answer), "ci": answer["alignment"]["ci"]},
        columns=columns(*names, metric=name_cell, group=name_cell),
        rows=[[entry.get(name) for name in names] for entry in entries],
        kept=7,
        remedy="--select REGEX shows others",
        weight=2,
    )


def verdicts_section(answer: Mapping[str, Any]) -> Section:
    """Return the tests of the best group against the others."""
    entries = answer["verdicts"]
    alignment = answer["alignment"]
    names = [name for name in _TESTED if name != "p_equivalent" or alignment["margin"] is not None]
    return Section(
        name="VERDICTS",
        facts={
            "tests": sum(entry["test"] is not None for entry in entries),
            "alpha": alignment["alpha"],
            "margin": alignment["margin"],
        },
        columns=columns(
            *names,
            metric=name_cell,
            first=name_cell,
            second=name_cell,
            test=lambda test: test or "",
            n=lambda sizes: "/".join(map(str, sizes)),
            verdict=str,
            next=str,
        ),
        rows=[[entry[name] for name in names] for entry in entries],
        kept=len(names),
        nouns=Nouns(rows="tests"),
        weight=3,
    )


def ranking_section(answer: Mapping[str, Any]) -> Section:
    """Return the runs by the metric that ranks them; without groups, with the config keys that differ."""
    entries = answer["ranking"]
    empty = all(entry["value"] is None for entry in entries)
    metric = {name: entries[0][name] for name in ("metric", "direction")} if entries else {}
    config = [] if "groups" in answer else config_cells(answer["config_diff"], len(answer["runs"]))
    return Section(
        name="RANKING",
        facts={**metric, **read_at(answer)},
        columns=[*columns(*_RANKED, run=name_cell), *(column for column, _, _ in config)],
        rows=[
            [
                *(entry[name] for name in _RANKED),
                *(values.get(entry["run"], missing) for _, values, missing in config),
            ]
            for entry in (() if empty else entries)
        ],
        kept=3,
        nouns=Nouns(rows="runs"),
    )
