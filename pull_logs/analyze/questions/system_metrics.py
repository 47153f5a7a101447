"""System metrics in a question: which rows it is about, and over what its reductions are.

A question that names `system.*` is about the rows of histories, with system metrics joined to them by time
(`frames.system_frames`). Where it names nothing else, it is about the samples of the system metrics instead,
so that statistics are over everything that was measured. A reduction, or an assertion about rows, that names
system metrics alone is over the samples too, unless `--where` keeps only some rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass

from pull_logs.analyze.questions.selection import HistoryQuery, Slice
from pull_logs.errors import MetricNotFoundError, UnknownNameError
from pull_logs.frames import History, JoinedFrame, RunLike, join_system, open_frames, samples_for
from pull_logs.rows.canonical import STEP

_WORD = "system"
_TIMES = frozenset({STEP, "_timestamp", "_runtime"})
_HINT = "no system metrics were downloaded; `pull-logs fetch --system` downloads them"


def mentions_system(texts: Iterable[str | None]) -> bool:
    """Whether some of the expressions or regular expressions of a question look for system metrics."""
    return any(text is not None and _WORD in text for text in texts)


def system_names(frames: Iterable[History]) -> frozenset[str]:
    """Return the system metrics that are joined to these histories."""
    return frozenset(
        name for frame in frames if isinstance(frame, JoinedFrame) for name in frame.system_names
    )


@contextmanager
def absence_explained(frames: Iterable[History], texts: Iterable[str | None]) -> Iterator[None]:
    """Add to an error about an unknown name that no system metrics were downloaded, if that is so."""
    try:
        yield
    except UnknownNameError as exc:
        if exc.hint or not mentions_system(texts) or system_names(frames):
            raise
        raise UnknownNameError(exc.message, source=exc.source, span=exc.span, hint=_HINT) from exc
    except MetricNotFoundError as exc:
        if not mentions_system(texts) or system_names(frames):
            raise
        raise MetricNotFoundError(exc.message, hint=_HINT) from exc


def about_samples(query: HistoryQuery, known: AbstractSet[str], *, named: Collection[str] = ()) -> bool:
    """Whether a question names system metrics alone.

    Args:
        query: The question.
        known: The names of system metrics.
        named: Further columns that it names.
    """
    if query.selected is None:
        return False
    computed = {name for name, _ in query.evals}
    expressions = [*(expression for _, expression in query.evals), *([query.where] if query.where else [])]
    names = {*query.selected, *named, *(name for found in expressions for name in found.names)}
    return bool(names & known) and names <= known | computed | _TIMES


def system_notes(frames: Sequence[History], query: HistoryQuery) -> list[str]:
    """Return what a reader must know of the rows of a question that shows system metrics."""
    known = system_names(frames)
    if not known or query.selected is None or not query.selected & known:
        return []
    if about_samples(query, known):
        return ["rows are samples of the machine; _step is that of the last row of the history before each"]
    joined = "system metrics are their last sample at or before each row of the history"
    return [f"{joined}; selected alone, all samples are shown"]


@dataclass(frozen=True, slots=True)
class HistoryOpening:
    """How the histories of a question are opened, here or in a worker.

    Attributes:
        joined: Whether system metrics are joined to them.
        sampled: Whether the samples of these are read instead.
    """

    joined: bool = False
    sampled: bool = False

    def open(self, runs: Sequence[RunLike]) -> Sequence[History]:
        """Open the histories of runs; nothing but the names of their columns is read.

        Raises:
            DamageError: Histories or system metrics are damaged.
        """
        frames = open_frames(runs)
        if not self.joined:
            return frames
        joined = join_system(runs, frames)
        return samples(joined) if self.sampled else joined


def samples(frames: Sequence[History]) -> list[History]:
    """Return the samples of the system metrics that are joined to these histories."""
    return [frame.system if isinstance(frame, JoinedFrame) else frame for frame in frames]


def rows_of(names: Collection[str], frame: History, part: Slice) -> tuple[History, Slice]:
    """Return over which rows a reduction of these columns is: the samples, if it names nothing else.

    Args:
        names: The columns.
        frame: A history.
        part: The rows of it that count.
    """
    found = None if part.rows is not None else samples_for(names, frame)
    return (frame, part) if found is None else (found, Slice.of(found))
