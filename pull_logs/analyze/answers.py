"""The answer to a question about runs: the JSON object of design section 4, made from subjects and a view.

Frames are read run after run and let go of again, so that a thousand runs need
the memory of one. Nothing is printed or escaped here; every number keeps all
its digits. The command line fits an answer into its token budget.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from pull_logs.analyze.compare import Ending, compare_configs, compare_metrics, compare_summaries, ending
from pull_logs.analyze.flatten import flatten
from pull_logs.analyze.frames import Column, Frame, RunLike
from pull_logs.analyze.sample import rank_rows, sample_rows
from pull_logs.analyze.schema import describe_column
from pull_logs.analyze.selection import Selection, Slice, compile_pattern, is_internal
from pull_logs.analyze.stats import describe_numbers, has_numbers
from pull_logs.analyze.vectors import numbers
from pull_logs.errors import UsageError
from pull_logs.runs import RunInfo
from pull_logs.snapshot.canon import STEP, canon_record, spell

FORMAT = "pull-logs/1"

SECTIONS = (
    "runs", "config", "summary", "schema", "stats", "history", "comparison", "config_diff", "config_same",
    "summary_comparison",
)  # fmt: skip
"""The members of an answer between its format and its notes, in their order."""

_COMPARISONS = frozenset({"comparison", "config_diff", "config_same", "summary_comparison"})
_SCALARS = frozenset({"number", "bool", "string", "mixed", "empty"})
_NAMED_AT_MOST = 10
_ROWS_ANYWAY = 24
"""Rows of a run that a token budget takes before it comes to cutting columns or runs."""
BYTES_PER_TOKEN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A run that a question is about.

    Attributes:
        label: What the answer calls it: A, B, ... Z, AA (`compare.label`).
        run: The run.
        checkpoint: The checkpoint file that named it, if one did.
        checkpoint_step: The step that the checkpoint tells, if it does.
        source: Where the run was read from: a bundle, a folder, `W&B`.
    """

    label: str
    run: RunLike
    checkpoint: str | None = None
    checkpoint_step: int | None = None
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What to tell of runs; the flags of design section 3.

    Attributes:
        schema: Names, types, counts and ranges of the columns.
        stats: Statistics of the metrics.
        select: A regular expression that is searched for in the names of the metrics.
        where: An expression that a row must meet.
        evals: Names and expressions of columns to compute; a later one may use an earlier one.
        human: No history.
        show_all: Show rows in which every shown metric is missing.
        max_rows: History rows of a run; 0 is all.
        max_tokens: No more rows than can fit into this many tokens of three bytes; 0 is no limit. The rows
            of a longer history are then not even put into the answer.
    """

    schema: bool = False
    stats: bool = False
    select: str | None = None
    where: str | None = None
    evals: tuple[tuple[str, str], ...] = ()
    human: bool = False
    show_all: bool = False
    max_rows: int = 200
    max_tokens: int = 0

    def sections(self, *, runs: int) -> frozenset[str]:
        """The sections that this view asks for.

        `--schema` and `--stats` ask for themselves alone. A view of the history (`--select`, `--where`,
        `--eval`, `--show-all`) asks for no config or summary. Two runs or more add the comparisons to any
        view but `--schema` and `--stats`.
        """
        if self.schema or self.stats:
            asked = {"schema": self.schema, "stats": self.stats}
            return frozenset({"runs", *(name for name, wanted in asked.items() if wanted)})
        narrowed = bool(self.select is not None or self.where is not None or self.evals or self.show_all)
        asked_for = {"runs"}
        if self.human or not narrowed:
            asked_for |= {"config", "summary"}
        if not self.human:
            asked_for.add("history")
        return frozenset(asked_for | (_COMPARISONS if runs > 1 else frozenset()))


def answer(subjects: Sequence[Subject], view: View) -> dict[str, Any]:
    """Answer a view of runs.

    Returns:
        The object of design section 4, ready for strict JSON: only the sections asked for, in their order,
        missing cells as None and non-finite numbers as strings. Besides what the design lists it has
        `comparison` (see `compare.compare_metrics`), `config_same` (how many config keys are the same in all
        runs), and in `runs` the `checkpoint_step` and, for an
        incomplete run, the `reason`.

    Raises:
        UsageError: A flag's value is wrong.
        ExpressionError: An expression does not parse, resolve or fit its columns.
        MetricNotFoundError: `view.select` matches nothing in any run.
        DamageError: A history is damaged.
    """
    if view.max_rows < 0 or view.max_tokens < 0:
        raise UsageError(
            f"--max-rows {view.max_rows} --max-tokens {view.max_tokens}: neither can be negative",
            hint="0 is no limit",
        )
    asked = view.sections(runs=len(subjects))
    found: dict[str, Any] = {name: {} for name in asked}
    notes = [f"{s.label} is incomplete: {s.run.coverage.reason}" for s in subjects if not s.run.complete]
    if asked & {"schema", "stats", "history", "comparison"}:
        notes += _Histories(subjects, view, asked).answer(found)
    found["runs"] = [describe_run(subject, found.get("history")) for subject in subjects]
    _answer_records(subjects, view, found)
    sections = {name: found[name] for name in SECTIONS if name in asked}
    return {"format": FORMAT, "command": "show", **sections, "notes": notes}


def describe_run(subject: Subject, histories: Mapping[str, Any] | None) -> dict[str, Any]:
    """A run as the legend tells it, with the rows that its history shows, if one does."""
    run, info = subject.run, subject.run.info
    return {
        "label": subject.label,
        "path": str(info.path),
        "name": info.name,
        "state": info.state,
        "url": run_url(info),
        "checkpoint": subject.checkpoint,
        "checkpoint_step": subject.checkpoint_step,
        "rows_total": run.rows,
        "rows_shown": None if histories is None else histories[subject.label]["rows_shown"],
        "last_step": run.last_step,
        "complete": run.complete,
        "reason": None if run.complete else run.coverage.reason,
        "source": subject.source,
    }


def run_url(info: RunInfo) -> str | None:
    """The page of a run, or None for one that never was on a server."""
    if info.host is None:
        return None
    host = "wandb.ai" if info.host == "api.wandb.ai" else info.host
    path = info.path
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


class _Histories:
    """The sections that are about histories, run after run."""

    def __init__(self, subjects: Sequence[Subject], view: View, asked: Collection[str]) -> None:
        self._subjects = subjects
        self._view = view
        self._asked = asked
        self._sampled: list[str] = []
        self._hidden: list[str] = []
        self._left_out: dict[str, None] = {}

    def answer(self, found: dict[str, Any]) -> list[str]:
        """Fill in the sections that are asked for; returns notes."""
        frames = {id(subject.run): Frame(subject.run) for subject in self._subjects}
        view = self._view
        selection = Selection.settle(
            dict.fromkeys(name for frame in frames.values() for name in frame.names),
            select=view.select,
            where=view.where,
            evals=view.evals,
        )
        endings: dict[str, dict[str, Ending]] = {}
        for number, subject in enumerate(self._subjects):
            frame = frames[id(subject.run)]
            part = selection.apply(frame, internal=view.schema)
            if "schema" in self._asked:
                found["schema"][subject.label] = _schema(part)
            if "stats" in self._asked:
                found["stats"][subject.label] = _stats(part, internal=view.select is not None)
            shown = part if view.select is not None else self._without_objects(part, selection)
            if "history" in self._asked:
                found["history"][subject.label] = self._history(subject, shown)
            if "comparison" in self._asked:
                endings[subject.label] = {
                    name: ending(column, part.steps, checkpoint_step=subject.checkpoint_step)
                    for name, column in shown.columns.items()
                }
            if not any(later.run is subject.run for later in self._subjects[number + 1 :]):
                frame.forget()
        if "comparison" in self._asked:
            checkpoints = any(subject.checkpoint_step is not None for subject in self._subjects)
            found["comparison"] = compare_metrics(endings, checkpoints=checkpoints)
        return [*selection.notes, *self._notes()]

    def _without_objects(self, part: Slice, selection: Selection) -> Slice:
        """A slice without histograms, images and lists, unless they were computed."""
        computed = {name for name, _ in selection.evals}
        kept = {
            name: column
            for name, column in part.columns.items()
            if column.type in _SCALARS or name in computed
        }
        self._left_out.update(dict.fromkeys(name for name in part.columns if name not in kept))
        return Slice(steps=part.steps, columns=kept, rows_total=part.rows_total)

    def _history(self, subject: Subject, part: Slice) -> dict[str, Any]:
        visible = _visible_rows(part, show_all=self._view.show_all)
        hidden = len(part.steps) - len(visible)
        rows = visible[self._sample(subject, part, visible)]
        if hidden:
            self._hidden.append(f"{subject.label} {hidden}")
        sampling = "none"
        if len(rows) < len(visible):
            sampling = f"extremes {len(rows)}/{len(visible)}"
            self._sampled.append(f"{subject.label} {len(rows)}/{len(visible)}")
        cells = [_spelled(column.cells(rows)) for column in part.columns.values()]
        return {
            "columns": [STEP, *part.columns],
            "rows": [list(row) for row in zip(part.steps[rows].tolist(), *cells, strict=True)],
            "rows_total": part.rows_total,
            "rows_matched": len(part.steps),
            "rows_shown": len(rows),
            "hidden": hidden,
            "sampling": sampling,
        }

    def _sample(self, subject: Subject, part: Slice, visible: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Which of the visible rows to show."""
        view, length = self._view, len(visible)
        room = length
        if view.max_tokens:
            # A row takes a digit, a separator for each further column and the end of its line.
            fitting = view.max_tokens * BYTES_PER_TOKEN // (len(part.columns) + 2)
            room = max(fitting // len(self._subjects), min(fitting, _ROWS_ANYWAY))
        limit = view.max_rows or length
        if length <= min(limit, room):
            return np.arange(length, dtype=np.intp)
        metrics = [column.take(visible).numbers() for column in part.columns.values()]
        pinned = []
        if subject.checkpoint_step is not None:
            pinned = [
                int(np.searchsorted(part.steps[visible], subject.checkpoint_step, side="right")) - 1,
            ]
        rows = sample_rows(metrics, length=length, limit=limit, pinned=pinned)
        return rows if len(rows) <= room else np.sort(rank_rows(metrics, length=length, pinned=pinned)[:room])

    def _notes(self) -> Iterable[str]:
        if self._sampled and "history" in self._asked:
            yield (
                "sampled (first, last, minimum, maximum and non-finite rows of every shown metric kept): "
                f"{_listed(self._sampled)}; --max-rows 0 --max-tokens 0 takes all"
            )
        if self._hidden:
            yield (
                "rows hidden because every shown metric is missing in them: "
                f"{_listed(self._hidden)}; --show-all shows them"
            )
        if self._left_out and "history" in self._asked:
            yield (
                f"columns left out because they hold objects or lists: {_listed(list(self._left_out))}; "
                "--select shows them"
            )


def _listed(items: Sequence[str]) -> str:
    more = len(items) - _NAMED_AT_MOST
    return ", ".join(items[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _spelled(cells: list[Any]) -> list[Any]:
    return [spell(cell) if isinstance(cell, (float, dict, list)) else cell for cell in cells]


def _visible_rows(part: Slice, *, show_all: bool) -> npt.NDArray[np.intp]:
    """The rows in which some metric is present.

    W&B writes `_runtime` and `_timestamp` into every row, so that columns that start with an underscore count
    only where no other is shown.
    """
    length = len(part.steps)
    if show_all:
        return np.arange(length, dtype=np.intp)
    counted: list[Column] = [
        column for name, column in part.columns.items() if not name.startswith("_")
    ] or list(part.columns.values())
    seen = np.zeros(length, np.bool_)
    for column in counted:
        seen |= column.vector.present
    return np.flatnonzero(seen)


def _schema(part: Slice) -> list[dict[str, Any]]:
    steps = Column(numbers(part.steps), "number")
    return [
        describe_column(STEP, steps),
        *(describe_column(name, column) for name, column in part.columns.items()),
    ]


def _stats(part: Slice, *, internal: bool) -> dict[str, dict[str, Any]]:
    return {
        name: describe_numbers(column)
        for name, column in part.columns.items()
        if (internal or not is_internal(name)) and has_numbers(column)
    }
