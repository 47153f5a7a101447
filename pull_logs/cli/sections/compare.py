"""The sections of `compare`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
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
from pull_logs.cli.sections.legend import answered_runs, notes_beside_legend, notes_section, runs_section
from pull_logs.cli.sections.relations import relation_sections, run_column_sections, seconds_of
from pull_logs.cli.sections.side_by_side import (
    MOST_COLUMNS,
    RANGE,
    Reading,
    comparison_section,
    config_diff_section,
    summary_comparison_section,
)
from pull_logs.cli.sections.verdicts import gate_section, task_sections
from pull_logs.suggestions import counted

_MOST_GROUPS = 7
"""The groups that are shown of those that a metric ranks."""

_MOST_GROUPED_RUNS = 5
"""The runs that are shown beside groups."""

_MOST_RUNS = 30
"""The runs that are shown of those that a metric ranks, without groups."""

_GROUP_COLUMNS = frozenset({"group", "first", "second"})
_RELATIONS = ("effects", "fits", "pareto")

_AT = {"last": "last", "best": "at_best", "checkpoint": "at_checkpoint"}
"""What `[COMPARISON]` calls the value of a metric, by the `--at` that it was read at."""


def compare_sections(answer: Mapping[str, Any]) -> list[Section]:
    """Return the sections of a comparison in order.

    Args:
        answer: The answer of `pull_logs.analyze.answers.compare_runs`.
    """
    runs = answer["runs"]
    asked = answer["alignment"]["runs"]
    of = asked if asked > len(runs) else None
    many = len(runs) > MOST_COLUMNS
    legend = runs_section(answered_runs(runs), of=of, counted=many, listed_in=_listed_in(answer), weight=3)
    seconds = seconds_of(answer.get("columns", ()))
    answered = [replace(section, seconds=seconds) for section in _answered(answer)]
    notes = answer["notes"] if many else notes_beside_legend(answer)
    return [legend, notes_section(notes, more=_left_out(answered)), *answered]


def _answered(answer: Mapping[str, Any]) -> list[Section]:
    """Return the sections after the legend."""
    sections = []
    if "answer" in answer:
        sections.append(answer_section(answer["answer"], answer.get("answer_note", "")))
    most_runs = _most(answer, _MOST_GROUPED_RUNS if "groups" in answer else _MOST_RUNS)
    if "columns" in answer:
        in_order = "ranking" in answer and _ranked_by_column(answer)
        listed, *totals = run_column_sections(answer)
        sections.append(_shortened(listed, most_runs if in_order else None))
        sections += [replace(total, on_request="groups" in answer) for total in totals]
    if "gate" in answer:
        sections.append(gate_section(answer))
    sections += relation_sections(answer)
    if "groups" in answer:
        best = {entry["group"] for entry in answer["groups"][: _most(answer, _MOST_GROUPS)]}
        made = _group_sections(answer)
        sections += [_of_groups(section, best) for section in made]
    if "ranking" in answer and not _ranked_by_column(answer):
        sections.append(_shortened(ranking_section(answer), most_runs))
    if "checkpoints" in answer:
        sections.append(checkpoints_section(answer["checkpoints"], answer.get("best_checkpoint")))
    sections += _side_by_side(answer, most_runs)
    if "assertions" in answer:
        sections.append(assertions_section(answer["assertions"]))
    return sections


def _left_out(sections: Sequence[Section]) -> list[str]:
    """Return the sentence that names the sections which are shown on request."""
    names = [f"[{section.name}]" for section in sections if section.on_request and section.rows]
    return [f"left out: {', '.join(names)}; --section NAME shows one"] if names else []


def _side_by_side(answer: Mapping[str, Any], most_runs: int | None) -> list[Section]:
    """Return metrics, configs and summaries side by side, as far as the question is about them.

    What a ranking, groups or columns show already is left for `--section`.
    """
    runs = answer["runs"]
    labels = [run["label"] for run in runs]
    sections: list[Section] = []
    related = any(name in answer for name in _RELATIONS)
    goal_alone = _shows_goal_alone(answer)
    narrowed = related or "columns" in answer or "gate" in answer or goal_alone
    if answer["comparison"] or not narrowed:
        many = len(runs) > MOST_COLUMNS
        compared = _shortened(_comparison(answer), most_runs if many else None)
        sections.append(replace(compared, on_request=goal_alone))
    if not related:
        differing = config_diff_section(answer["config_diff"], labels, same=answer["config_same"])
        shown = goal_alone or "columns" in answer or "groups" in answer
        sections.append(replace(differing, on_request=shown))
    if not narrowed or (answer["summary_comparison"] and not goal_alone):
        sections.append(summary_comparison_section(answer["summary_comparison"], labels))
    return sections


def _shows_goal_alone(answer: Mapping[str, Any]) -> bool:
    """Whether the metric that ranks the runs is the only one, so that `[RANKING]` has its end too."""
    names = [entry["name"] for entry in answer["comparison"]]
    return "ranking" in answer and names == [entry["metric"] for entry in answer["ranking"][:1]]


def _most(answer: Mapping[str, Any], most: int) -> int | None:
    """Return how many of the best to show; None for all, where nothing ranks them or `--top` chose them."""
    chosen = answer["alignment"]["shown"] < answer["alignment"]["runs"]
    return None if chosen or "ranking" not in answer else most


def _shortened(section: Section, most: int | None) -> Section:
    more = 0 if most is None else len(section.rows) - most
    if more <= 0:
        return section
    notes = [*section.notes, _more(more, "more run")]
    return replace(section, rows=section.rows[:most], texts=None, notes=notes)


def _more(count: int, noun: str, plural: str = "") -> str:
    return f"{counted(count, noun, plural)}; --top N shows more"


def _of_groups(section: Section, labels: Collection[str]) -> Section:
    """Return a section with the rows of these groups only."""
    named = [index for index, column in enumerate(section.columns) if column.name in _GROUP_COLUMNS]
    rows = [row for row in section.rows if all(row[index] in labels for index in named)]
    more = len(section.rows) - len(rows)
    if not more:
        return section
    if section.name == "GROUPS":
        left_out = _more(more, "more group")
    else:
        left_out = _more(more, "more row of other groups", "more rows of other groups")
    return replace(section, rows=rows, notes=[*section.notes, left_out])


def _listed_in(answer: Mapping[str, Any]) -> str | None:
    """Return the section that has one row per run, if there is one."""
    if "columns" in answer:
        return "COLUMNS"
    if _shows_goal_alone(answer):
        return "RANKING"
    related = any(name in answer for name in _RELATIONS)
    return "COMPARISON" if answer["comparison"] or not related else None


def _group_sections(answer: Mapping[str, Any]) -> list[Section]:
    if "tasks" in answer:
        return [groups_section(answer), *task_sections(answer)]
    sections = [groups_section(answer), group_stats_section(answer)]
    return [*sections, verdicts_section(answer)] if answer["verdicts"] else sections


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
