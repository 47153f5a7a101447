"""The answer to a view of runs: one JSON object, made from subjects and a view.

Nothing is printed or escaped here, and every number keeps all its digits. The command line fits an answer
into its token budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from urllib.parse import quote

from pull_logs._version import FORMAT
from pull_logs.analyze.answers.histories import HistoryAnswer, answer_histories
from pull_logs.analyze.answers.readings import KnownStatistics
from pull_logs.analyze.answers.side_by_side import FlatRecords, compare_records, flat_configs, flat_summaries
from pull_logs.analyze.questions import Subject, View, compile_pattern, run_metadata
from pull_logs.analyze.results import (
    CheckpointSections,
    MetadataSections,
    RecordComparison,
    RecordSections,
    RunResult,
    ShowResult,
)
from pull_logs.executors import SERIAL, Engine
from pull_logs.rows.canonical import spell
from pull_logs.runs import RunPath
from pull_logs.suggestions import joined

_ABOUT_HISTORIES = frozenset({"schema", "stats", "history", "comparison", "assertions"})


def answer(
    subjects: Sequence[Subject],
    view: View,
    *,
    engine: Engine = SERIAL,
    known: KnownStatistics | None = None,
) -> ShowResult:
    """Answer a view of runs.

    Args:
        subjects: The runs.
        view: What to show of them.
        engine: Where histories are read; the answer does not depend on it.
        known: Remembers statistics, so that histories are not read again for them.

    Returns:
        The object that `data/schemas/show.json` describes (docs/output.md, "JSON"), with only the sections
        that were asked for, in their order.

    Raises:
        UsageError: An option's value is wrong.
        ExpressionError: An expression does not parse, resolve or fit its columns.
        MetricNotFoundError: `view.select` matches nothing in any run.
        DamageError: A history is damaged.
    """
    view.check()
    asked = view.sections(runs=len(subjects))
    histories = HistoryAnswer()
    if asked & _ABOUT_HISTORIES:
        histories = answer_histories(subjects, view, asked, engine, known)
    notes = [*incomplete_notes(subjects), *histories.notes]
    checkpoints = CheckpointSections()
    if _shows_checkpoints(subjects, view):
        from pull_logs.analyze.answers.checkpoints import compare_checkpoints

        compared = compare_checkpoints(subjects, select=view.select, where=view.where, evals=view.evals)
        checkpoints["checkpoints"] = compared.checkpoints
        notes += compared.notes
    shown = histories.sections.get("history", {})
    recorded = {s.label: s.run for s in subjects}
    configs = flat_configs(recorded) if asked & {"config", "config_diff"} else {}
    summaries = flat_summaries(recorded) if asked & {"summary", "config_diff"} else {}
    differences = RecordComparison()
    if "config_diff" in asked:
        differences = compare_records(configs, summaries, select=view.select)
    return {
        "format": FORMAT,
        "command": "show",
        "runs": [
            describe_run(s, rows_shown=shown[s.label]["rows_shown"] if s.label in shown else None)
            for s in subjects
        ],
        **_metadata(subjects, asked),
        **_records(configs, summaries, asked, view.select),
        **histories.sections,
        **checkpoints,
        **histories.comparison,
        **differences,
        **histories.assertions,
        "notes": notes,
    }


def _shows_checkpoints(subjects: Sequence[Subject], view: View) -> bool:
    """Whether checkpoints are compared: where a run has several, beside any view of rows."""
    return not (view.schema or view.stats) and any(subject.checkpoints[1:] for subject in subjects)


def incomplete_notes(subjects: Sequence[Subject]) -> list[str]:
    """Return a note for each reason why histories are incomplete, with the runs."""
    reasons: dict[str, list[str]] = {}
    for subject in subjects:
        if not subject.run.complete:
            reasons.setdefault(subject.run.coverage.reason, []).append(subject.label)
    return [
        f"{joined(labels)} {'are' if labels[1:] else 'is'} incomplete: {reason}"
        for reason, labels in reasons.items()
    ]


def describe_run(subject: Subject, *, rows_shown: int | None = None) -> RunResult:
    """Return a run as the legend of an answer has it.

    Args:
        subject: The run.
        rows_shown: How many rows its history shows; None where the answer has no history.
    """
    run = subject.run
    found: RunResult = {
        "label": subject.label,
        "path": str(run.path),
        "name": run.name,
        "state": run.state,
        "url": _url(run.path, run.host),
        "checkpoint": subject.checkpoint,
        "checkpoint_step": subject.checkpoint_step,
        "rows_total": run.rows,
        "rows_shown": rows_shown,
        "last_step": run.last_step,
        "complete": run.complete,
        "reason": None if run.complete else run.coverage.reason,
        "last_seen": run.last_seen,
        "source": subject.source,
    }
    if run.parts is not None:
        found["parts"] = run.parts.as_object()
    return found


def describe_runs(subjects: Sequence[Subject]) -> list[RunResult]:
    """Return runs as the legend of an answer has them.

    However they are ranked, those that are stored next to each other are read one after the other.
    """
    order = sorted(range(len(subjects)), key=lambda number: subjects[number].run.path)
    found = {number: describe_run(subjects[number]) for number in order}
    return [found[number] for number in range(len(subjects))]


def _url(path: RunPath, api_host: str | None) -> str | None:
    """Return the page of a run; None for a run that never was on a server."""
    if api_host is None:
        return None
    return f"{_runs_page(api_host, path.entity, path.project)}/{quote(path.run_id)}"


@lru_cache(maxsize=64)  # thousands of runs are of one project
def _runs_page(api_host: str, entity: str, project: str) -> str:
    host = "wandb.ai" if api_host == "api.wandb.ai" else api_host
    return f"https://{host}/{quote(entity)}/{quote(project)}/runs"


def _metadata(subjects: Sequence[Subject], asked: AbstractSet[str]) -> MetadataSections:
    if "meta" not in asked:
        return {}
    return {"meta": {subject.label: run_metadata(subject.run) for subject in subjects}}


def _records(
    configs: FlatRecords, summaries: FlatRecords, asked: AbstractSet[str], select: str | None
) -> RecordSections:
    found: RecordSections = {}
    if "config" in asked:
        found["config"] = {run: spell(config) for run, config in configs.items()}
    if "summary" in asked:
        search = compile_pattern(select or "").search
        found["summary"] = {
            run: {key: spell(value) for key, value in summary.items() if search(key)}
            for run, summary in summaries.items()
        }
    return found
