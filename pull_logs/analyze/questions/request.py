"""The subjects and the view of a question: which runs, under which labels, and what to show of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pull_logs.analyze.questions.row_picking import Picking
from pull_logs.errors import ExpressionError, UsageError
from pull_logs.frames import RunLike

COMPARISONS = frozenset({"comparison", "config_diff", "config_same", "summary_comparison"})
"""The sections that two runs or more add."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint of a run.

    Attributes:
        file: Its path as the user gave it.
        step: The step at which it was saved, if it is known.
        epoch: The epoch at which it was saved, if it is known.
        step_key: The key under which it has the step; `name` if only a file name has it.
        epoch_key: The same for the epoch.
    """

    file: str
    step: int | None = None
    epoch: float | None = None
    step_key: str = ""
    epoch_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A run that a question is about.

    Attributes:
        label: Its name in the answer, unique there: its id, or more of its path (see `label_runs`).
        run: The run.
        checkpoint: The checkpoint file that named it, if one did; the furthest where several did.
        checkpoint_step: The step of this checkpoint, if it is known.
        checkpoints: All checkpoints that named it.
        source: Where the run was read from: a bundle, a folder, `W&B`.
    """

    label: str
    run: RunLike
    checkpoint: str | None = None
    checkpoint_step: int | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    source: str = ""

    @contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Name the run in an error of an expression: in other runs, the column may be of a fitting kind."""
        try:
            yield
        except ExpressionError as exc:
            raise ExpressionError(
                f"{exc.message}, in run {self.label!r}", source=exc.source, span=exc.span, hint=exc.hint
            ) from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What to show of runs. See docs/cli.md, "Options shared by the commands".

    Attributes:
        schema: Names, types, counts and ranges of the columns.
        stats: Statistics of the metrics.
        quantiles: Percentiles of the statistics, instead of the usual ones.
        meta: When, where and with what each run ran.
        select: A regular expression that is searched for in the names of the metrics.
        unfold: Show each of the names that differ only in numbers (see `families`); `select` does too.
        where: An expression that a row must meet.
        evals: Names and expressions of columns to compute; a later one may use an earlier one.
        human: Leave the history out.
        picking: The rows to use: those around a step, the last, every n-th.
        asserts: What must hold (see `pull_logs.analyze.questions.assertions`).
        show_all: Show rows in which every shown metric is missing.
        max_rows: The most history rows of a run; 0 means all.
        max_tokens: The most tokens that the rows can take; 0 means no limit. Rows that cannot
            fit are not put into the answer.
        on_request: Let rows of numbers be read, and values of comparisons be made, when they are used,
            because the answer will be cut. The bundles have to be open until then.
    """

    schema: bool = False
    stats: bool = False
    quantiles: tuple[float, ...] = ()
    meta: bool = False
    select: str | None = None
    unfold: bool = False
    where: str | None = None
    evals: tuple[tuple[str, str], ...] = ()
    human: bool = False
    picking: Picking = field(default_factory=Picking)
    asserts: tuple[str, ...] = ()
    show_all: bool = False
    max_rows: int = 200
    max_tokens: int = 0
    on_request: bool = False

    @property
    def folds(self) -> bool:
        """Whether families are folded."""
        return not self.unfold and self.select is None

    def sections(self, *, runs: int) -> frozenset[str]:
        """Return the sections that this view asks for.

        `--schema`, `--stats` and `--meta` ask for their own sections only. A view of the history (`--select`,
        `--where`, `--eval`, `--show-all`, `--around`, `--last`, `--every`) asks for no config or summary. Two
        runs or more add the comparisons to any view but these.
        """
        always = {"runs", "assertions"} if self.asserts else {"runs"}
        if self.schema or self.stats or self.meta:
            asked = {"meta": self.meta, "schema": self.schema, "stats": self.stats}
            return frozenset({*always, *(name for name, wanted in asked.items() if wanted)})
        narrowed = bool(
            self.select is not None or self.where is not None or self.evals or self.show_all or self.picking
        )
        asked_for = {*always}
        if self.human or not narrowed:
            asked_for |= {"config", "summary"}
        if not self.human:
            asked_for.add("history")
        return frozenset(asked_for | (COMPARISONS if runs > 1 else frozenset()))

    def check(self) -> None:
        """Refuse values that are not valid.

        Raises:
            UsageError: The value of an option is not valid.
        """
        if self.max_rows < 0 or self.max_tokens < 0:
            raise UsageError(
                f"--max-rows {self.max_rows} --max-tokens {self.max_tokens}: neither can be negative",
                hint="0 means no limit",
            )
        self.picking.check()
