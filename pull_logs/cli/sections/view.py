"""The sections of the bare view."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pull_logs.analyze.answers import NumberRows
from pull_logs.cli.render import Column, Nouns, Section, columns, sample_facts
from pull_logs.cli.sections.assertions import assertions_section
from pull_logs.cli.sections.checkpoints import checkpoints_section
from pull_logs.cli.sections.legend import answered_runs, notes_beside_legend, notes_section, runs_section
from pull_logs.cli.sections.metrics import schema_sections, stats_sections
from pull_logs.cli.sections.records import config_section, meta_section, summary_section
from pull_logs.cli.sections.side_by_side import (
    RANGE,
    Reading,
    comparison_section,
    config_diff_section,
    summary_comparison_section,
)

_READINGS = (
    Reading("last", "last"),
    *RANGE,
    Reading("at_checkpoint", "at_checkpoint", "at_checkpoint_step"),
)


def view_sections(answer: Mapping[str, Any]) -> list[Section]:
    """Return the sections of an answer in order; with several runs, nothing that another section shows too.

    A config key that is the same in all runs is once in `[CONFIG]`, one that differs in `[CONFIG_DIFF]`; a
    summary key that is compared is in `[SUMMARY_COMPARISON]` alone; why a run is incomplete is in `[RUNS]`.

    Args:
        answer: The answer of `pull_logs.analyze.answer`, or some of its members.
    """
    sections = [runs_section(answered_runs(answer["runs"])), notes_section(notes_beside_legend(answer))]
    return sections + [
        section for name, make in _SECTIONS.items() if name in answer for section in make(answer)
    ]


def _keys(entries: Sequence[Mapping[str, Any]] | None) -> frozenset[str] | None:
    return None if entries is None else frozenset(entry["key"] for entry in entries)


def _labels(answer: Mapping[str, Any]) -> list[str]:
    return [run["label"] for run in answer["runs"]]


def _config(answer: Mapping[str, Any]) -> list[Section]:
    return [config_section(answer["config"], _keys(answer.get("config_diff")))]


def _summary(answer: Mapping[str, Any]) -> list[Section]:
    compared = _keys(answer.get("summary_comparison"))
    if compared and all(compared.issuperset(summary) for summary in answer["summary"].values()):
        return []
    return [summary_section(answer["summary"], compared)]


def _comparison(answer: Mapping[str, Any]) -> list[Section]:
    config = answer.get("config_diff", ())
    return [comparison_section(answer["comparison"], answer["runs"], _READINGS, config=config)]


def _config_diff(answer: Mapping[str, Any]) -> list[Section]:
    return [config_diff_section(answer["config_diff"], _labels(answer), same=answer["config_same"])]


def _summary_comparison(answer: Mapping[str, Any]) -> list[Section]:
    return [summary_comparison_section(answer["summary_comparison"], _labels(answer))]


def history_sections(histories: Mapping[str, Mapping[str, Any]]) -> list[Section]:
    """Return the history of each run."""
    if not histories:
        return [Section(name="HISTORY", facts={"runs": 0}, columns=columns("_step"))]
    made: dict[tuple[str, ...], list[Column]] = {}  # thousands of runs have the same columns
    for history in histories.values():
        names = tuple(history["columns"])
        if names not in made:
            made[names] = columns(*names)
    return [_history(run, history, made[tuple(history["columns"])]) for run, history in histories.items()]


def _history(run: str, history: Mapping[str, Any], shown: list[Column]) -> Section:
    picked = history["rows_picked"]
    fewer = picked < history["rows_matched"] - history["hidden"]
    sample = sample_facts(len(history["rows"]), picked)
    return Section(
        name="HISTORY",
        facts={
            "run": run,
            "rows_total": history["rows_total"],
            "rows_matched": history["rows_matched"],
            "rows_picked": picked if fewer else None,
            "rows_shown": sample["rows_shown"],
            "hidden": history["hidden"],
            "sampling": sample["sampling"],
        },
        columns=shown,
        rows=history["rows"],
        nouns=Nouns(),
        remedy="--select, --where or --last shows others",
        weight=3,
        sampled=picked,
        texts=() if isinstance(history["rows"], NumberRows) else None,
    )


_SECTIONS: Mapping[str, Callable[[Mapping[str, Any]], list[Section]]] = {
    "meta": lambda answer: [meta_section(answer["meta"])],
    "config": _config,
    "summary": _summary,
    "schema": lambda answer: schema_sections(answer["schema"]),
    "stats": lambda answer: stats_sections(answer["stats"]),
    "history": lambda answer: history_sections(answer["history"]),
    "checkpoints": lambda answer: [checkpoints_section(answer["checkpoints"])],
    "comparison": _comparison,
    "config_diff": _config_diff,
    "summary_comparison": _summary_comparison,
    "assertions": lambda answer: [assertions_section(answer["assertions"])],
}
"""What makes the sections of each member of an answer, in their order."""
