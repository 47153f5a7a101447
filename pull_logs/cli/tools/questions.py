"""Answers a call of a tool, by the code of the command that it stands for.

The text is that of the command on a pipe, the structured content its JSON; each gets half of the budget.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from pull_logs.cli.options import parse_evals
from pull_logs.cli.tools.arguments import USUAL_TOKENS, check_arguments
from pull_logs.cli.tools.definitions import TOOLS

if TYPE_CHECKING:
    from pull_logs.cli.render import Section, Shape
    from pull_logs.interface import Sources

_SQL_MEMORY, _SQL_SECONDS, _SQL_ROWS = "1GB", 60.0, 200
"""The most memory and time of a query, and the most rows of its answer unless a client asks for others."""

_USUALLY_NEEDED = (
    "jsonschema:Draft202012Validator",
    "pull_logs.analyze:arrange",
    "pull_logs.analyze:answer",
    "pull_logs.analyze.answers:compare_runs",
    "pull_logs.analyze.answers:find_what_is_wrong",
    "pull_logs.analyze.health:find_flags",
    "pull_logs.analyze.statistics:MetricTotalsBuilder",
    "pull_logs.cli.formats:draw_sections",
    "pull_logs.cli.render:fit_json",
    "pull_logs.cli.render:OVERVIEW_SHAPES",
    "pull_logs.cli.sections:compare_sections",
    "pull_logs.cli.sections:overview_sections",
    "pull_logs.cli.sections:view_sections",
    "pull_logs.interface:overview_of",
)
"""What answers of overview, runs, schema, stats, history and compare use, by which module defines it."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer of a tool.

    Attributes:
        text: The sections that the command prints on a pipe.
        structured: The object that it prints with `--json`.
    """

    text: str
    structured: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Question:
    """What a call asks for.

    Attributes:
        sources: Which runs.
        arguments: The other arguments of the call.
        max_tokens: The budget of the text and of the structured content, each.
        workers: How many other processes may be started to be faster.
    """

    sources: Sources
    arguments: Mapping[str, Any]
    max_tokens: int
    workers: int

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the texts of an argument that is a list."""
        return tuple(self.arguments.get(name, ()))

    def given(self, *names: str) -> dict[str, Any]:
        """Return those of the arguments that were given."""
        return {name: self.arguments[name] for name in names if name in self.arguments}

    def drawn(
        self,
        answer: Mapping[str, Any],
        sections: Callable[[Any], list[Section]],
        shapes: Mapping[str, Shape],
    ) -> Answered:
        """Return an answer in both forms, cut to the budget."""
        from pull_logs.cli.formats import Choice, draw_sections
        from pull_logs.cli.render import fit_json

        return Answered(
            text=draw_sections(sections(answer), Choice(), max_tokens=self.max_tokens),
            structured=json.loads(fit_json(answer, shapes, max_tokens=self.max_tokens)),
        )


def ask(name: str, arguments: Mapping[str, Any], sources: Sources, *, workers: int = 0) -> Answered:
    """Answer a call of a tool.

    Args:
        name: The name of the tool.
        arguments: The arguments that the client sent.
        sources: The bundles and local run folders that the server was started with.
        workers: How many other processes may be started to be faster.

    Raises:
        UsageError: An argument is unknown or not valid.
        PullLogsError: What the command reports as an error.
        KeyError: There is no tool of that name.
    """
    tool = TOOLS[name]
    check_arguments(arguments, tool.arguments)
    question = _Question(
        sources=_narrowed(sources, arguments),
        arguments=arguments,
        max_tokens=arguments.get("max_tokens", USUAL_TOKENS) // 2,
        workers=workers,
    )
    return _ANSWERS[name](question)


def prepare_answers(sources: Sources) -> None:
    """Import what most answers need and open the sources, so that the first answer takes no longer for it.

    Raises:
        PullLogsError: A source cannot be opened.
    """
    from pull_logs.interface import open_subjects

    for name in _USUALLY_NEEDED:
        resolve_name(name)
    with open_subjects(sources, report=lambda _: None):
        pass


def _narrowed(sources: Sources, arguments: Mapping[str, Any]) -> Sources:
    """Return the runs of the sources that a call is about."""
    named, keep = tuple(arguments.get("runs", ())), arguments.get("filter")
    if named and not sources.bundles:  # local run folders, which have no look-up by id
        listed = f"run_id in [{', '.join(json.dumps(item) for item in named)}]"
        return replace(sources, keep=listed if keep is None else f"({keep}) and {listed}")
    if named:
        return replace(sources, runs=named, keep=keep, reads_paths=False)
    return replace(sources, keep=keep)


def _overview(question: _Question) -> Answered:
    from pull_logs.analyze import arrange
    from pull_logs.cli.render import OVERVIEW_SHAPES
    from pull_logs.cli.sections import overview_sections
    from pull_logs.interface import answering, overview_of

    select = question.arguments.get("select")
    ask_runs = partial(overview_of, workers=question.workers, select=select)
    with answering(question.sources, ask_runs) as (_, found):
        return question.drawn(arrange(found, unfold=select is not None), overview_sections, OVERVIEW_SHAPES)


def _view(question: _Question, *, leave_out: Collection[str] = (), **options: Any) -> Answered:
    from pull_logs.analyze import Picking, View, answer, arrange
    from pull_logs.cli.render import VIEW_SHAPES
    from pull_logs.cli.sections import view_sections
    from pull_logs.interface import answering, keeping_statistics

    view = View(
        evals=parse_evals(question.texts("evals")),
        picking=Picking(**question.given("around", "last", "every")),
        quantiles=tuple(dict.fromkeys(map(float, question.arguments.get("quantiles", ())))),
        max_tokens=question.max_tokens,
        **question.given("select", "where", "max_rows"),
        **options,
    )
    with (
        keeping_statistics() as known,
        answering(question.sources, partial(answer, view=view, known=known)) as (_, found),
    ):
        shown = {
            name: section
            for name, section in arrange(found, unfold=not view.folds).items()
            if name not in leave_out
        }
        return question.drawn(shown, view_sections, VIEW_SHAPES)


def _runs(question: _Question) -> Answered:
    meta = question.arguments.get("meta", False)
    # Extremes of histories are what schema and stats are for; of several runs they are most of the answer.
    return _view(question, leave_out=("comparison",), meta=meta, human=not meta)


def _history(question: _Question) -> Answered:
    return _view(
        question,
        leave_out=("config", "summary", "comparison", "config_diff", "config_same", "summary_comparison"),
    )


def _compare(question: _Question) -> Answered:
    from pull_logs.analyze.answers import arrange, compare_runs
    from pull_logs.cli.render import COMPARISON_SHAPES
    from pull_logs.cli.sections import compare_sections
    from pull_logs.interface import answering, comparison_of

    arguments = question.arguments
    comparison = comparison_of(
        suggest=False,
        best=arguments.get("best"),
        sort=arguments.get("sort"),
        at=arguments.get("at", "last"),
        axis=arguments.get("x", "_step"),
        group_by=question.texts("group_by"),
        columns=question.texts("columns"),
        fits=question.texts("fits"),
        evals=parse_evals(question.texts("evals")),
        **question.given("select", "where", "top", "margin", "effect", "pareto"),
    )
    with answering(question.sources, partial(compare_runs, options=comparison)) as (_, found):
        del found["next"]
        answer = arrange(found, unfold=comparison.select is not None)
        return question.drawn(answer, compare_sections, COMPARISON_SHAPES)


def _logs(question: _Question) -> Answered:
    from pull_logs.cli.render import LOGS_SHAPES
    from pull_logs.cli.sections import logs_object, logs_sections
    from pull_logs.interface import ConsoleView, excerpt, open_subjects, require_consoles
    from pull_logs.snapshot import Run

    view = ConsoleView(
        tail=question.arguments.get("tail", 100),
        pattern=question.arguments.get("grep"),
        around_step=question.arguments.get("around_step"),
    )
    notes: list[str] = []
    with open_subjects(question.sources, report=notes.append) as subjects:
        runs = [subject.run for subject in subjects if isinstance(subject.run, Run)]
        require_consoles(runs)
        answer = logs_object(subjects, [excerpt(run, view) for run in runs])
        return question.drawn({**answer, "notes": [*notes, *answer["notes"]]}, logs_sections, LOGS_SHAPES)


def _sql(question: _Question) -> Answered:
    from pull_logs.analyze.sql import Limits, open_query
    from pull_logs.cli.render import SQL_SHAPES
    from pull_logs.cli.sections.data import sql_object, sql_sections
    from pull_logs.interface import open_subjects, runs_of_one_source

    limits = Limits(memory=_SQL_MEMORY, seconds=_SQL_SECONDS)
    with (
        open_subjects(question.sources, report=lambda _: None) as subjects,
        open_query(runs_of_one_source(subjects), question.arguments["query"], limits=limits) as rows,
    ):
        answer = sql_object(rows, most=question.arguments.get("max_rows", _SQL_ROWS))
    return question.drawn(answer, sql_sections, SQL_SHAPES)


_ANSWERS: Mapping[str, Callable[[_Question], Answered]] = {
    "overview": _overview,
    "runs": _runs,
    "schema": partial(_view, schema=True),
    "stats": partial(_view, stats=True),
    "history": _history,
    "compare": _compare,
    "logs": _logs,
    "sql": _sql,
}
