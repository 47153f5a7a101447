"""What the page shows besides curves: the runs, the verdict, health, config differences and identities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypedDict

from pull_logs._version import __version__
from pull_logs.analyze import CompareAnswer, ConfigDifference, HealthResult, Subject
from pull_logs.analyze.answers import Comparison, compare_runs
from pull_logs.analyze.questions import CONFIG, values_of
from pull_logs.analyze.statistics import Criterion, outcome_end
from pull_logs.errors import NotFoundError, UsageError
from pull_logs.interface import overview_of
from pull_logs.report.options import ReportOptions
from pull_logs.rows.canonical import canonical_text, spell
from pull_logs.suggestions import counted, joined

FORMAT = "pull-logs-report/1"
_MOST_SENTENCES = 6
_MOST_SUMMARIES = 200
_MOST_PROJECTS = 3
_MOST_KEYS = 300
_LONGEST_CELL = 300
_FIELDS = ("group", "job_type", "sweep", "tags", "created_at", "notes")


class BundleFacts(TypedDict):
    """A bundle that the runs were read from."""

    name: str
    bundle_id: str
    content_id: str


class RunFacts(TypedDict):
    """A run as the table shows it; `config` has the keys that differ, `summary` single numbers."""

    label: str
    path: str
    name: str
    state: str
    rows: int
    last_step: int | None
    complete: bool
    reason: str | None
    config: dict[str, Any]
    summary: dict[str, Any]
    fields: dict[str, Any]


class VerdictFacts(TypedDict):
    """Which run or group is best, and how sure that is."""

    answer: str | None
    metric: str | None
    direction: str | None
    sentences: list[str]
    ranking: list[str]


class ReportFacts(TypedDict):
    """The JSON of a page, without its metrics."""

    format: str
    version: str
    title: str
    group_by: str | None
    runs: list[RunFacts]
    config_diff: list[ConfigDifference]
    config_same: int
    verdict: VerdictFacts
    health: list[HealthResult]
    bundles: list[BundleFacts]
    notes: list[str]


def compare_for_report(subjects: Sequence[Subject], options: ReportOptions) -> CompareAnswer:
    """Return the comparison of the runs, ranked and grouped as asked, else as `compare` suggests.

    Raises:
        PullLogsError: As `compare_runs`.
    """
    asked = Comparison(
        select=options.select,
        group_by=options.group_by,
        best=None if options.best is None else Criterion.parse(options.best),
    )
    answer = compare_runs(subjects, asked)
    suggested = _suggested(answer["next"])
    best = options.best or suggested.get("--best")
    if best is None and len(subjects) == 1:
        best = _single_metric(answer)
    criterion = None if best is None else Criterion.parse(best)
    if not options.group_by and "--group-by" in suggested:
        # A suggestion is words of a command line, which not every key of a config can be.
        with suppress(UsageError, NotFoundError):
            return compare_runs(subjects, replace(asked, group_by=(suggested["--group-by"],), best=criterion))
    return answer if criterion == asked.best else compare_runs(subjects, replace(asked, best=criterion))


def _suggested(flags: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return the values of the flags of the first question to go on with."""
    words = flags[0] if flags and "--at" not in flags[0] else []
    return dict(zip(words[::2], words[1::2], strict=True))


def _single_metric(answer: CompareAnswer) -> str | None:
    from pull_logs.analyze.statistics import deciding_metric

    metric = deciding_metric([entry["name"] for entry in answer["comparison"]])
    return None if metric is None else f"{metric}:{outcome_end(metric)}"


def report_facts(
    subjects: Sequence[Subject],
    answer: CompareAnswer,
    *,
    options: ReportOptions,
    bundles: Sequence[BundleFacts],
    notes: Sequence[str],
) -> ReportFacts:
    """Return what the page shows besides curves.

    Args:
        subjects: The runs.
        answer: Their comparison.
        options: What was asked.
        bundles: The bundles they were read from.
        notes: What else a reader should know.

    Raises:
        PullLogsError: As `overview`.
    """
    found = overview_of(subjects, select=options.select)
    differing = _shortened(answer["config_diff"])
    projects = sorted({subject.run.path.project_path for subject in subjects})
    return {
        "format": FORMAT,
        "version": __version__,
        "title": options.title or joined(projects, most=_MOST_PROJECTS),
        "group_by": _first_key(answer),
        "runs": [_run(subject, differing) for subject in subjects],
        "config_diff": differing,
        "config_same": answer["config_same"],
        "verdict": _verdict(answer, subjects),
        "health": [entry for entry in found["health"] if entry["found"]],
        "bundles": list(bundles),
        "notes": list(dict.fromkeys([*notes, *_key_notes(answer), *answer["notes"]])),
    }


def _shortened(differing: Sequence[ConfigDifference]) -> list[ConfigDifference]:
    """Return config differences that a table can show."""
    return [
        {"key": entry["key"], "values": {run: _cell(value) for run, value in entry["values"].items()}}
        for entry in differing[:_MOST_KEYS]
    ]


def _key_notes(answer: CompareAnswer) -> list[str]:
    more = len(answer["config_diff"]) - _MOST_KEYS
    return [f"{counted(more, 'config key')} more differ; `pull-logs compare` lists them"] if more > 0 else []


def _cell(value: Any) -> Any:
    """Return a value as JSON; a long one as the start of its text."""
    if not isinstance(value, (str, list, dict)):
        return spell(value)
    text = value if isinstance(value, str) else canonical_text(value)
    return spell(value) if len(text) <= _LONGEST_CELL else text[:_LONGEST_CELL] + "…"


def _first_key(answer: CompareAnswer) -> str | None:
    """Return the key of the groups that has the most values, as a person would colour the runs."""
    groups = answer.get("groups", [])
    values: dict[str, set[str]] = {}
    for group in groups:
        for key, value in group["by"].items():
            values.setdefault(key, set()).add(canonical_text(value))
    return max(values, key=lambda key: len(values[key]), default=None)


def _run(subject: Subject, differing: Sequence[ConfigDifference]) -> RunFacts:
    run, info = subject.run, subject.run.info
    values = values_of(info)
    fields = {name: values.get(name) for name in _FIELDS}
    return {
        "label": subject.label,
        "path": str(run.path),
        "name": _cell(run.name),
        "state": run.state,
        "rows": run.rows,
        "last_step": run.last_step,
        "complete": run.complete,
        "reason": None if run.complete else run.coverage.reason,
        "config": {
            entry["key"]: entry["values"][subject.label]
            for entry in differing
            if subject.label in entry["values"]
        },
        "summary": _summary(info.summary),
        "fields": {name: _cell(value) for name, value in fields.items() if value not in (None, "", ())},
    }


def _summary(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plain values of a summary, and no more of them than a table can have columns."""
    from pull_logs.frames import flatten

    plain = {
        name: _cell(value)
        for name, value in flatten(summary).items()
        if not name.startswith("_") and isinstance(value, (int, float, str, bool))
    }
    return dict(list(plain.items())[:_MOST_SUMMARIES])


def _verdict(answer: CompareAnswer, subjects: Sequence[Subject]) -> VerdictFacts:
    ranking = answer.get("ranking", [])
    verdicts = answer.get("verdicts", [])
    metric = ranking[0]["metric"] if ranking else None
    text = answer.get("answer")
    if text is not None and len(subjects) == 1:
        best = ranking[0]
        text = (
            f"one run: {metric} ended at {_short(best['value'])}, and was {_short(best['best'])} at its best"
        )
        text += f" at step {best['best_step']}" if best["best_step"] is not None else ""
    return {
        "answer": None if text is None else _for_reader(text),
        "metric": metric,
        "direction": ranking[0]["direction"] if ranking else None,
        "sentences": [
            _for_reader(entry["sentence"])
            for entry in verdicts
            if entry["metric"] == metric and entry["test"] is not None
        ][:_MOST_SENTENCES],
        "ranking": [entry["run"] for entry in ranking],
    }


def _for_reader(sentence: str) -> str:
    """Return a sentence with config keys as the page shows them."""
    return sentence.replace(CONFIG, "")


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, (int, float)) else str(value)
