"""The answer to a question about runs: the JSON object of design section 4, made from subjects and a view.

Frames are read run after run and let go of again, so that a thousand runs need
the memory of one. Nothing is printed or escaped here; every number keeps all
its digits. The command line fits an answer into its token budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from pull_logs._version import FORMAT
from pull_logs.analyze.answers.histories import Histories
from pull_logs.analyze.answers.side_by_side import compare_configs, compare_summaries
from pull_logs.analyze.frames import flatten
from pull_logs.analyze.questions import Subject, View, compile_pattern
from pull_logs.rows.canonical import canon_record, spell
from pull_logs.runs import RunPath

SECTIONS = (
    "runs", "config", "summary", "schema", "stats", "history", "checkpoints", "comparison", "config_diff",
    "config_same", "summary_comparison", "assertions",
)  # fmt: skip
"""The members of an answer between its format and its notes, in their order."""


def answer(subjects: Sequence[Subject], view: View) -> dict[str, Any]:
    """Answer a view of runs.

    Returns:
        The object of design section 4, ready for strict JSON: only the sections asked for, in their order,
        missing cells as None and non-finite numbers as strings. Besides what the design lists it has
        `comparison` (see `compare.compare_metrics`), `config_same` (how many config keys are the same in all
        runs), `checkpoints` where a run has several (see `checkpoints.compare_checkpoints`), `assertions` (see
        `assertions.Assertions`), and in `runs` the `checkpoint_step` and, for an incomplete run, the `reason`.

    Raises:
        UsageError: A flag's value is wrong.
        ExpressionError: An expression does not parse, resolve or fit its columns.
        MetricNotFoundError: `view.select` matches nothing in any run.
        DamageError: A history is damaged.
    """
    view.check()
    asked = view.sections(runs=len(subjects))
    if not (view.schema or view.stats) and any(subject.checkpoints[1:] for subject in subjects):
        asked |= {"checkpoints"}
    found: dict[str, Any] = {name: {} for name in asked}
    notes = [f"{s.label} is incomplete: {s.run.coverage.reason}" for s in subjects if not s.run.complete]
    if asked & {"schema", "stats", "history", "comparison", "assertions"}:
        notes += Histories(subjects, view, asked).answer(found)
    if "checkpoints" in asked:
        from pull_logs.analyze.answers.checkpoints import compare_checkpoints

        found["checkpoints"], _, more = compare_checkpoints(
            subjects, select=view.select, where=view.where, evals=view.evals
        )
        notes += more
    found["runs"] = [describe_run(subject, found.get("history")) for subject in subjects]
    _answer_records(subjects, view, found)
    sections = {name: found[name] for name in SECTIONS if name in asked}
    return {"format": FORMAT, "command": "show", **sections, "notes": notes}


def describe_run(subject: Subject, histories: Mapping[str, Any] | None) -> dict[str, Any]:
    """A run as the legend tells it, with the rows that its history shows, if one does.

    Args:
        subject: The run.
        histories: The histories of an answer, if it has any.
    """
    run = subject.run
    return {
        "label": subject.label,
        "path": str(run.path),
        "name": run.name,
        "state": run.state,
        "url": _url(run.path, run.host),
        "checkpoint": subject.checkpoint,
        "checkpoint_step": subject.checkpoint_step,
        "rows_total": run.rows,
        "rows_shown": None if histories is None else histories[subject.label]["rows_shown"],
        "last_step": run.last_step,
        "complete": run.complete,
        "reason": None if run.complete else run.coverage.reason,
        "source": subject.source,
    }


def _url(path: RunPath, api_host: str | None) -> str | None:
    """The page of a run, or None for one that never was on a server."""
    if api_host is None:
        return None
    host = "wandb.ai" if api_host == "api.wandb.ai" else api_host
    return f"https://{host}/{quote(path.entity)}/{quote(path.project)}/runs/{quote(path.run_id)}"


def _answer_records(subjects: Sequence[Subject], view: View, found: dict[str, Any]) -> None:
    """Fill in the sections that are about configs and summaries."""
    if not found.keys() & {"config", "summary", "config_diff", "summary_comparison"}:
        return
    configs = {s.label: flatten(canon_record(s.run.info.config)) for s in subjects}
    summaries = {s.label: flatten(canon_record(s.run.info.summary), keep_typed=True) for s in subjects}
    if "config" in found:
        found["config"] = {run: spell(config) for run, config in configs.items()}
    if "summary" in found:
        found["summary"] = {run: spell(summary) for run, summary in summaries.items()}
    if "config_diff" in found:
        found["config_diff"] = compare_configs(configs)
        found["config_same"] = len({key for config in configs.values() for key in config}) - len(
            found["config_diff"]
        )
    if "summary_comparison" in found:
        pattern = compile_pattern(view.select or "")
        found["summary_comparison"] = [
            entry for entry in compare_summaries(summaries) if pattern.search(entry["key"])
        ]
