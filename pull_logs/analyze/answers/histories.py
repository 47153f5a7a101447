"""The sections of a view that are about histories, run after run.

The columns of a run are dropped before the next run is read, so that a thousand runs need the memory of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from pull_logs.analyze.answers.folding import rank_of
from pull_logs.analyze.answers.indexed import IndexedSchema
from pull_logs.analyze.answers.mapping import map_runs, read_here
from pull_logs.analyze.answers.picked_rows import lost_spikes, note_on_picking, pick_rows, visible_rows
from pull_logs.analyze.answers.readings import (
    IndexedEndings,
    KnownStatistics,
    RunStatistics,
    RunView,
    StatisticsReader,
    are_worth_keeping,
    compare_indexed,
    notes_on_rows,
)
from pull_logs.analyze.answers.rows_on_request import (
    NumberRows,
    are_all_visible,
    are_numbers,
    describe_rows,
    describe_slice,
)
from pull_logs.analyze.answers.side_by_side import Ending, compare_metrics, ending, indexed_ending
from pull_logs.analyze.questions import (
    AssertionAnswer,
    Family,
    HistoryOpening,
    HistoryQuery,
    Slice,
    Subject,
    View,
    about_samples,
    absence_explained,
    families_by_member,
    mentions_system,
    samples,
    system_names,
    system_notes,
)
from pull_logs.analyze.result_values import Cell
from pull_logs.analyze.results import (
    AssertionSections,
    ColumnResult,
    EndingSections,
    HistoryResult,
    HistorySections,
    StatisticsResult,
)
from pull_logs.analyze.statistics import describe_column, rank_rows, sample_rows
from pull_logs.executors import SERIAL, Engine
from pull_logs.frames import Column, Frame, History, MetricFacts, Steps, names_of, numbers
from pull_logs.rows.canonical import STEP

if TYPE_CHECKING:
    from pull_logs.analyze.questions import Assertions

_SCALARS = frozenset({"number", "bool", "string", "mixed", "empty"})
_ABOUT_ROWS = frozenset({"schema", "stats", "history", "comparison", "assertions"})
_LEAST_ROWS = 24
"""Rows of a run that a token budget leaves before it cuts columns or runs."""


@dataclass(frozen=True, slots=True)
class HistoryAnswer:
    """What a view says about histories.

    Attributes:
        sections: The schema, statistics and rows of each run, as far as they were asked for.
        comparison: How the metrics ended, side by side.
        assertions: The assertions, if there are any.
        notes: What a reader should know.
    """

    sections: HistorySections = field(default_factory=HistorySections)
    comparison: EndingSections = field(default_factory=EndingSections)
    assertions: AssertionSections = field(default_factory=AssertionSections)
    notes: tuple[str, ...] = ()


def answer_histories(
    subjects: Sequence[Subject],
    view: View,
    asked: AbstractSet[str],
    engine: Engine = SERIAL,
    known: KnownStatistics | None = None,
) -> HistoryAnswer:
    """Answer what a view asks about histories.

    Args:
        subjects: The runs; two may be the same run.
        view: The view.
        asked: The names of the sections to answer.
        engine: Where histories are read.
        known: Remembers statistics, so that histories are not read again for them.

    Raises:
        UsageError: An option's value is wrong.
        ExpressionError: An expression does not parse, resolve or fit its columns.
        MetricNotFoundError: `view.select` matches nothing in any run.
        DamageError: A history is damaged.
    """
    runs = {id(subject.run): subject.run for subject in subjects}
    texts = [view.select, view.where, *(text for _, text in view.evals), *view.asserts]
    listed = list(runs.values())
    opening = HistoryOpening(joined=mentions_system(texts))
    opened = opening.open(listed)
    names = names_of(opened)
    computed = [name for name, _ in view.evals]
    with absence_explained(opened, texts):
        selection = HistoryQuery.settle(names, select=view.select, where=view.where, evals=view.evals)
        assertions = settle_assertions(view.asserts, subjects, names, computed=computed)
    notes = system_notes(opened, selection)
    if about_samples(selection, system_names(opened)) and not view.asserts:
        opened, opening = samples(opened), replace(opening, sampled=True)
    frames = dict(zip(runs, opened, strict=True))
    folded = families_by_member(names) if view.folds and asked & {"history", "stats"} else {}
    statistics = StatisticsReader(selection, internal=view.select is not None, quantiles=view.quantiles)
    reader = _Reader(view, asked, selection, assertions, len(subjects), folded, opening, statistics)
    if engine.is_serial or not reader.reads_rows:
        if engine.is_serial and are_worth_keeping(listed):
            reader = replace(reader, known=known)
        found = read_here(reader.read_open, subjects, [frames[id(subject.run)] for subject in subjects])
    else:
        found = map_runs(reader, subjects, engine)
    views = {subject.label: one for subject, one in zip(subjects, found, strict=True)}
    checks = AssertionAnswer(assertions, [one.checked for one in views.values() if one.checked is not None])
    return HistoryAnswer(
        sections=_sections(views, asked),
        comparison=_comparison(views, subjects, view) if "comparison" in asked else {},
        assertions=checks.sections,
        notes=(
            *selection.notes,
            *notes,
            *checks.notes,
            *note_on_picking(view, subjects),
            *notes_on_rows(views, {family.pattern for family in folded.values() if "history" in asked}),
        ),
    )


def settle_assertions(
    texts: Sequence[str],
    subjects: Sequence[Subject],
    columns: Iterable[str],
    *,
    computed: Sequence[str] = (),
) -> Assertions | None:
    """Compile assertions about these runs (see `Assertions.settle`); None where there are none."""
    if not texts:
        return None
    from pull_logs.analyze.questions import Assertions

    return Assertions.settle(
        texts,
        runs=[subject.run for subject in subjects],
        columns=tuple(columns),
        computed=computed,
    )


def _sections(views: Mapping[str, RunView], asked: AbstractSet[str]) -> HistorySections:
    found: HistorySections = {}
    if "schema" in asked:
        schemas = {run: view.schema for run, view in views.items() if view.schema is not None}
        found["schema"] = cast("dict[str, list[ColumnResult]]", schemas)
    if "stats" in asked:
        statistics = {run: view.stats for run, view in views.items() if view.stats is not None}
        found["stats"] = cast("dict[str, dict[str, StatisticsResult]]", statistics)
    if "history" in asked:
        found["history"] = {run: view.history for run, view in views.items() if view.history is not None}
    return found


def _comparison(views: Mapping[str, RunView], subjects: Sequence[Subject], view: View) -> EndingSections:
    found = {run: one.endings for run, one in views.items() if one.endings is not None}
    indexed = {run: one for run, one in found.items() if isinstance(one, IndexedEndings)}
    if indexed and len(indexed) == len(found) and (compared := compare_indexed(indexed)) is not None:
        return {"comparison": compared}
    endings = {run: one.plain if isinstance(one, IndexedEndings) else one for run, one in found.items()}
    checkpoints = any(subject.checkpoint is not None for subject in subjects)
    return {"comparison": compare_metrics(endings, checkpoints=checkpoints, on_request=view.on_request)}


@dataclass(frozen=True, slots=True)
class _Reader:
    """How each run is read.

    Attributes:
        view: The view.
        asked: The names of the sections to answer.
        selection: The columns and rows that the view selects.
        assertions: What each run is checked against.
        runs: How many runs share the token budget.
        folded: The families that the rows do not show, by member.
        opening: How histories are opened.
        orders: The orders of columns so far, because thousands of runs have the same ones.
        columns: The selected columns of histories so far, likewise.
        schemas: The columns of schemas so far, likewise.
        statistics: Reads the statistics.
        known: Remembers statistics, so that histories are not read again; None in a worker.
    """

    view: View
    asked: AbstractSet[str]
    selection: HistoryQuery
    assertions: Assertions | None
    runs: int
    folded: Mapping[str, Family]
    opening: HistoryOpening
    statistics: StatisticsReader
    known: KnownStatistics | None = None
    orders: dict[tuple[str, ...], list[str]] = field(default_factory=dict)
    columns: dict[tuple[tuple[str, ...], bool], list[str]] = field(default_factory=dict)
    schemas: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)

    def read_runs(self, subjects: Sequence[Subject]) -> Sequence[RunView]:
        """Open the histories of runs and read them: what a worker does."""
        return list(self.read_open(subjects, self.opening.open([subject.run for subject in subjects])))

    def read_open(self, subjects: Sequence[Subject], frames: Sequence[History]) -> Iterator[RunView]:
        """Read runs one after the other, and drop the columns of each after its last use."""
        last_use = {id(frame): index for index, frame in enumerate(frames)}
        for index, (subject, frame) in enumerate(zip(subjects, frames, strict=True)):
            yield self.read(subject, frame)
            if last_use[id(frame)] == index:
                frame.forget()

    @property
    def reads_rows(self) -> bool:
        """Whether more is asked than indexes have."""
        return not (self._complete_histories or self._only_columns or self._statistics_on_request)

    def read(self, subject: Subject, frame: History) -> RunView:
        """Read one run."""
        if self._only_columns and isinstance(frame, Frame) and frame.has_facts:
            names = self.schemas.get(frame.names)
            if names is None:
                names = (STEP, *self._columns_of(frame, internal=True))
                self.schemas[frame.names] = names
            read = partial(frame.facts, brief=True)
            schema = IndexedSchema(read, names, frame.length, frame.index_entry)
            return RunView(schema=schema if self.view.on_request else list(schema))
        if self._asks_only("stats") and (found := self._only_statistics_of(subject, frame)) is not None:
            return RunView(stats=found)
        with subject.named_in_errors():
            return self._from_index(subject, frame) or self._from_rows(subject, frame)

    def _only_statistics_of(
        self, subject: Subject, frame: History
    ) -> dict[str, StatisticsResult] | RunStatistics | None:
        """Return the statistics of a run that an index has; None if they have to be computed now."""
        if not isinstance(frame, Frame) or not frame.has_facts:
            return None
        names = self._columns_of(frame, internal=False)
        if self._statistics_on_request:
            return self.statistics.on_request(subject.run, frame, names, self.known)
        return None if self.known is None else self.statistics.read(subject.run, frame, names, self.known)

    def _columns_of(self, frame: History, *, internal: bool) -> Sequence[str]:
        """Return the selected columns of a history; those of thousands of runs are one sequence."""
        if not isinstance(frame, Frame):  # the columns of samples are not known by their names alone
            return self.selection.columns_of(frame, internal=internal)
        known = frame.names, internal
        if known not in self.columns:
            self.columns[known] = self.selection.columns_of(frame, internal=internal)
        return self.columns[known]

    def _from_rows(self, subject: Subject, frame: History) -> RunView:
        view, asked = self.view, self.asked
        columns = bool(view.picking or asked & {"schema", "stats", "history", "comparison"})
        picked = None
        if view.picking and isinstance(frame, Frame):
            picked = pick_rows(frame, self.selection, view, folded=self.folded)
        if picked is None:
            part = self.selection.apply(frame, internal=view.schema, columns=columns)
            matched = visible = len(part.steps)
        else:
            part, matched, visible = picked.part, picked.matched, picked.visible
        shown = part if view.select is not None else self._scalars(part)
        left_out = tuple(name for name in part.columns if name not in shown.columns)
        listed = self._listed(shown)
        if picked is None and (view.picking or "history" in asked):
            seen = visible_rows(listed, show_all=view.show_all)
            rows, visible = seen[view.picking.rows(part.steps[seen])], len(seen)
            if len(rows) < matched:
                listed = listed.take(rows)
                if view.picking:
                    part, shown = part.take(rows), shown.take(rows)
        history, lost = None, 0
        if "history" in asked:
            rows = self._sample(subject, frame, listed)
            history = describe_slice(listed, rows, matched=matched, hidden=matched - visible)
            lost = lost_spikes(listed, rows)
        checked = None if self.assertions is None else self.assertions.check(subject, frame, part)
        return RunView(
            history=history,
            schema=_schema(part) if "schema" in asked else None,
            stats=self.statistics.describe(part) if "stats" in asked else None,
            endings=_endings(subject, frame, shown) if "comparison" in asked else None,
            left_out=left_out,
            lost_spikes=lost,
            checked=checked,
        )

    def _from_index(self, subject: Subject, frame: History) -> RunView | None:
        """Return what a view says of a run without opening its history; None if the index is not enough."""
        if not self._complete_histories or subject.checkpoint is not None or subject.checkpoints:
            return None
        facts = frame.facts(brief=self.view.on_request)
        if facts is None or subject.checkpoint_step is not None:
            return None
        names = self._columns_of(frame, internal=False)
        shown: Sequence[str] = names
        if self.view.select is None and not all(_is_scalar(facts[name]) for name in names):
            shown = [name for name in names if _is_scalar(facts[name])]
        endings = self._indexed_endings(frame, shown, facts)
        history = self._on_request(subject, frame, shown, facts) if "history" in self.asked else None
        if len(endings) < len(shown) or (history is None and "history" in self.asked):
            return None
        left_out = () if len(shown) == len(names) else tuple(name for name in names if name not in endings)
        return RunView(
            history=history, endings=endings if "comparison" in self.asked else None, left_out=left_out
        )

    def _indexed_endings(
        self, frame: History, shown: Sequence[str], facts: Mapping[str, MetricFacts]
    ) -> IndexedEndings | dict[str, Ending]:
        """Return how these metrics ended; fewer where the index does not have the last cell of one."""
        if self.view.on_request and isinstance(frame, Frame) and are_numbers(facts, shown):
            return IndexedEndings(frame, shown)
        complete = (frame.facts() or {}) if self.view.on_request else facts
        found = ((name, indexed_ending(complete[name])) for name in shown)
        return {name: ending for name, ending in found if ending is not None}

    def _on_request(
        self, subject: Subject, frame: History, shown: Sequence[str], facts: Mapping[str, MetricFacts]
    ) -> HistoryResult | None:
        """Return a history whose rows are read when they are used; None if its facts do not say enough."""
        listed, length = self._listed_names(shown), frame.length
        show_all = self.view.show_all
        if not self.view.on_request or not are_numbers(facts, listed):
            return None
        if not are_all_visible(facts, listed, length=length, show_all=show_all):
            return None
        limit, budget = self._most_rows(length, columns=len(listed))
        if limit <= budget and limit < length:
            return None
        count = min(length, budget)

        def read() -> list[list[Cell]]:
            found = self._from_rows(subject, frame).history
            frame.forget()
            return [] if found is None else found["rows"]

        return describe_rows(
            [STEP, *listed],
            cast("list[list[Cell]]", NumberRows(count, read)),
            total=length,
            matched=length,
            picked=length,
            hidden=0,
        )

    @property
    def _complete_histories(self) -> bool:
        """Whether all that is asked is the rows and the ends of complete histories."""
        view = self.view
        return (
            bool(self.asked & _ABOUT_ROWS)
            and self.asked & _ABOUT_ROWS <= {"history", "comparison"}
            and view.where is None
            and not (view.evals or view.picking)
            and self.assertions is None
        )

    @property
    def _statistics_on_request(self) -> bool:
        """Whether all that is asked is statistics of complete histories, for the runs that are shown."""
        return self.view.on_request and not self.folded and self._asks_only("stats")

    @property
    def _only_columns(self) -> bool:
        """Whether all that is asked is what the columns of complete histories contain."""
        return self._asks_only("schema")

    def _asks_only(self, section: str) -> bool:
        """Whether one section about complete histories is asked."""
        view = self.view
        return (
            self.asked & _ABOUT_ROWS == {section}
            and view.where is None
            and not (view.evals or view.picking)
            and self.assertions is None
        )

    def _scalars(self, part: Slice) -> Slice:
        """Return a slice without histograms, images and lists, unless they were computed."""
        computed = {name for name, _ in self.selection.evals}
        kept = {
            name: column
            for name, column in part.columns.items()
            if column.type in _SCALARS or name in computed
        }
        return replace(part, columns=kept)

    def _listed(self, part: Slice) -> Slice:
        """Return a slice with the columns of a history: no families, the most important metrics first."""
        computed = [name for name, _ in self.view.evals]
        names = self._listed_names(name for name in part.columns if name not in computed)
        return replace(
            part, columns={name: part.columns[name] for name in (*names, *computed) if name in part.columns}
        )

    def _listed_names(self, names: Iterable[str]) -> list[str]:
        """Return those of the columns that are not shown as families, the most important first."""
        found = tuple(names)
        if found not in self.orders:
            listed = (name for name in found if name not in self.folded)
            self.orders[found] = sorted(listed, key=lambda name: rank_of(name, family=False))
        return self.orders[found]

    def _sample(self, subject: Subject, frame: History, part: Slice) -> npt.NDArray[np.intp]:
        """Choose the rows to show."""
        length = len(part.steps)
        limit, budget = self._most_rows(length, columns=len(part.columns))
        if length <= min(limit, budget):
            return np.arange(length, dtype=np.intp)
        metrics = [column.numbers() for column in part.columns.values()]
        pinned = _checkpoint_rows(part.steps, frame, subject)
        # A sample has at least `limit` rows.
        if limit <= budget:
            rows = sample_rows(metrics, length=length, limit=limit, pinned=pinned)
            if len(rows) <= budget:
                return rows
        return np.sort(rank_rows(metrics, length=length, pinned=pinned)[:budget])

    def _most_rows(self, length: int, *, columns: int) -> tuple[int, int]:
        """Return how many rows of a history to show, and the most that the budget allows."""
        view, budget = self.view, length
        if view.max_tokens:
            # A row takes a token for a digit, for the end of each cell and for that of its line.
            fitting = view.max_tokens // (columns + 2)
            budget = max(fitting // self.runs, min(fitting, _LEAST_ROWS))
        return view.max_rows or length, budget


def _is_scalar(facts: MetricFacts) -> bool:
    return facts.type in _SCALARS or facts.type == "int"


def _endings(subject: Subject, frame: History, shown: Slice) -> dict[str, Ending]:
    from pull_logs.analyze.answers.checkpoints import checkpoint_steps

    until = checkpoint_steps(frame, subject)[-1]
    complete = until is None and shown.rows is None
    facts = (frame.facts() if complete else None) or {}
    return {
        name: (indexed_ending(facts[name]) if name in facts and name not in shown.computed else None)
        or ending(column, shown.steps, checkpoint_step=until)
        for name, column in shown.columns.items()
    }


def _checkpoint_rows(steps: Steps, frame: History, subject: Subject) -> list[int]:
    """Return the rows at which checkpoints were saved, so that a sample keeps them."""
    from pull_logs.analyze.answers.checkpoints import checkpoint_steps

    untils = [until for until in checkpoint_steps(frame, subject) if until is not None]
    return sorted({int(np.searchsorted(steps, until, side="right")) - 1 for until in untils} - {-1})


def _schema(part: Slice) -> list[ColumnResult]:
    steps = Column(numbers(part.steps), "number")
    return [
        describe_column(STEP, steps, part.steps),
        *(describe_column(name, column, part.steps) for name, column in part.columns.items()),
    ]
