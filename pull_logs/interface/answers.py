"""One way from sources and a question to an answer, for the command line and for Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from pull_logs.errors import RunNotFoundError
from pull_logs.executors import SERIAL, Engine
from pull_logs.interface.open_runs import Display, open_subjects
from pull_logs.runs import label_runs

if TYPE_CHECKING:
    from pull_logs.analyze import CompareAnswer, OverviewResult, ShowResult, Subject
    from pull_logs.analyze.answers import Comparison
    from pull_logs.interface.run_sources import Sources

    AnswerT = TypeVar("AnswerT", bound=CompareAnswer | OverviewResult | ShowResult)


@contextmanager
def answering(
    sources: Sources, question: Callable[[Sequence[Subject]], AnswerT], *, display: Display = nullcontext
) -> Iterator[tuple[Sequence[Subject], AnswerT]]:
    """Open the runs, ask the question, and yield both; the notes on the sources come first in the answer.

    Args:
        sources: Which runs; they are closed on leaving.
        question: Makes the answer.
        display: Shows the progress of a download.

    Raises:
        PullLogsError: As `open_subjects` and the question.
    """
    notes: list[str] = []
    with open_subjects(sources, report=notes.append, display=display) as subjects:
        answer = question(subjects)
        answer["notes"] = [*notes, *answer["notes"]]
        yield subjects, answer


@contextmanager
def gating(
    sources: Sources,
    baseline: Sources,
    *,
    metrics: Sequence[str],
    at: str | float,
    columns: Sequence[str] = (),
    margin: str | float | None = None,
    display: Display = nullcontext,
    engine: Engine = SERIAL,
    **options: Any,
) -> Iterator[tuple[Sequence[Subject], CompareAnswer]]:
    """Open new runs and those of a baseline, test the former, and yield all runs and the answer.

    Args:
        sources: The new runs.
        baseline: The runs of the baseline.
        metrics: The values of `--metric`.
        at: The position at which the runs are read.
        columns: The values of `--column`.
        margin: How much worse they may be.
        display: Shows the progress of a download.
        engine: Where histories are read.
        **options: The other attributes of `pull_logs.analyze.answers.Gate`.

    Raises:
        PullLogsError: As `open_subjects` and `run_gate`.
    """
    from pull_logs.analyze.answers.gating import Gate, run_gate
    from pull_logs.analyze.inference import Margin
    from pull_logs.analyze.questions import Position, RunColumn
    from pull_logs.analyze.statistics import Criterion

    gate = Gate(
        metrics=tuple(map(Criterion.parse, metrics)),
        at=Position.parse(str(at)),
        columns=tuple(map(RunColumn.parse, columns)),
        margin=None if margin is None else Margin.parse(str(margin)),
        **options,
    )
    gate.check()
    notes: list[str] = []
    with (
        open_subjects(sources, report=notes.append, display=display) as new,
        _baseline(baseline, notes, display) as found,
    ):
        subjects = _labelled([*new, *found])
        answer = run_gate(subjects[: len(new)], subjects[len(new) :], gate, engine=engine)
        answer["notes"] = [*notes, *answer["notes"]]
        yield subjects, answer


def _labelled(subjects: Sequence[Subject]) -> list[Subject]:
    """Return the runs of both sides of a gate with names that are unique among all."""
    labels = label_runs([subject.run.path for subject in subjects])
    return [replace(subject, label=label) for subject, label in zip(subjects, labels, strict=True)]


@contextmanager
def _baseline(sources: Sources, notes: list[str], display: Display) -> Iterator[Sequence[Subject]]:
    """Open the runs of a baseline; an error about them says so."""
    with ExitStack() as stack:
        try:
            found = stack.enter_context(open_subjects(sources, report=notes.append, display=display))
        except RunNotFoundError as exc:
            raise RunNotFoundError(f"--against: {exc.message}", hint=exc.hint) from exc
        yield found


def overview_of(
    subjects: Sequence[Subject], *, workers: int = 0, engine: Engine = SERIAL, **options: Any
) -> OverviewResult:
    """Return the overview of runs, with the findings of earlier looks, and keep those of this one.

    Args:
        subjects: The runs.
        workers: How many processes may be started to find what is wrong with thousands of runs. A program
            whose main module does not check `__name__` must not start any.
        engine: Where histories are read instead, if it is not this thread.
        options: The other arguments of `overview`.

    Raises:
        PullLogsError: As `overview`.
    """
    from pull_logs.analyze import overview
    from pull_logs.fetch import default_folder, using_cache
    from pull_logs.interface.known_findings import known_findings

    folder = default_folder()
    with using_cache(folder), known_findings(folder) as known:
        if workers or not engine.is_serial:
            from pull_logs.interface.first_look import look_first, look_on

            select = options.get("select")
            if engine.is_serial:
                look_first(subjects, known, select=select, workers=workers)
            else:
                look_on(engine, subjects, known, select=select)
        return overview(subjects, known=known, engine=engine, **options)


def comparison_of(
    *,
    best: str | None,
    sort: str | None,
    at: str | float,
    columns: Sequence[str] = (),
    margin: str | float | None = None,
    effect: str | None = None,
    fits: Sequence[str] = (),
    pareto: str | None = None,
    **options: Any,
) -> Comparison:
    """Return what to compare, from the values of the flags of `pull-logs compare`.

    Raises:
        UsageError: A position, a column, a fit, a criterion or a margin is not valid.
    """
    from pull_logs.analyze.answers import Comparison
    from pull_logs.analyze.inference import Margin
    from pull_logs.analyze.questions import Position, RunColumn
    from pull_logs.analyze.relations import Fit, parse_criteria
    from pull_logs.analyze.statistics import Criterion

    return Comparison(
        best=None if best is None else Criterion.parse(best),
        sort=None if sort is None else Criterion.parse(sort),
        at=Position.parse(str(at)),
        columns=tuple(map(RunColumn.parse, columns)),
        margin=None if margin is None else Margin.parse(str(margin)),
        effect=None if effect is None else Criterion.parse(effect),
        fits=tuple(map(Fit.parse, fits)),
        pareto=() if pareto is None else parse_criteria(pareto),
        **options,
    )
