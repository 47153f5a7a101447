"""The sections of `compare`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pull_logs.cli.render import Section
from pull_logs.cli.sections.assertions import assertions_section
from pull_logs.cli.sections.checkpoints import checkpoints_section
from pull_logs.cli.sections.groups import (
    answer_section,
    group_stats_section,
    groups_section,
    ranking_section,
    read_at,
    verdicts_section,
)
from pull_logs.cli.sections.legend import answered_runs, notes_section, runs_section
from pull_logs.cli.sections.relations import run_column_sections
from pull_logs.cli.sections.side_by_side import (
    MOST_COLUMNS,
    RANGE,
    Reading,
    comparison_section,
    config_diff_section,
    summary_comparison_section,
)

_AT = {"last": "last", "best": "at_best", "checkpoint": "at_checkpoint"}
"""What `[COMPARISON]` calls the value of a metric, by the `--at` that it was read at."""


def compare_sections(answer: Mapping[str, Any]) -> list[Section]:
    """Return the sections of a comparison in order.

    Args:
        answer: The answer of `pull_logs.analyze.answers.compare_runs`.
    """
    runs = answer["runs"]
    labels = [run["label"] for run in runs]
    asked = answer["alignment"]["runs"]
    of = asked if asked > len(runs) else None
    legend = runs_section(answered_runs(runs), of=of, counted=len(runs) > MOST_COLUMNS, weight=3)
    sections = [legend, notes_section(answer["notes"])]
    if "answer" in answer:
        sections.append(answer_section(answer["answer"]))
    if "columns" in answer:
        sections += run_column_sections(answer)
    if "groups" in answer:
        sections += [groups_section(answer), group_stats_section(answer), verdicts_section(answer)]
    if "ranking" in answer and not _ranked_by_column(answer):
        sections.append(ranking_section(answer))
    if "checkpoints" in answer:
        sections.append(checkpoints_section(answer["checkpoints"], answer.get("best_checkpoint")))
    narrowed = "columns" in answer
    if answer["comparison"] or not narrowed:
        sections.append(_comparison(answer))
    sections.append(config_diff_section(answer["config_diff"], labels, same=answer["config_same"]))
    if answer["summary_comparison"] or not narrowed:
        sections.append(summary_comparison_section(answer["summary_comparison"], labels))
    if "assertions" in answer:
        sections.append(assertions_section(answer["assertions"]))
    return sections


def _ranked_by_column(answer: Mapping[str, Any]) -> bool:
    """Whether the runs of `[COLUMNS]` are in the order of one of its columns already."""
    names = {entry["name"] for entry in answer.get("columns", ())}
    return any(entry["metric"] in names for entry in answer["ranking"][:1])


def _comparison(answer: Mapping[str, Any]) -> Section:
    at = answer["alignment"]["at"]
    value = Reading("value", _AT.get(at, "at"), None if at == "last" else "x")
    return comparison_section(
        answer["comparison"],
        answer["runs"],
        (value, *RANGE),
        config=answer["config_diff"],
        facts=read_at(answer),
        first=answer["comparison"][0]["name"] if "ranking" in answer and answer["comparison"] else None,
    )
