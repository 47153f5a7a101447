"""The segments of each run, put together: copies, restarts, rewinds, forks and processes at the same time.

A segment starts over if its first step is not after the first step of the attempt before it: the run was
restarted under its old id without its old steps. It is kept after the earlier ones, with its steps offset, or
replaces them. Later segments belong to the same attempt. These are not restarts:

- a copy of another log (`copies`);
- a segment whose rows were logged while another segment was logged, by another process with the same run id:
  the rows are merged;
- a rewind (`resume_from`): the earlier rows of the attempt after the branch point are left out, as on W&B;
- a fork (`fork_from`): the rows of its parent up to the branch point come first, as on W&B, if the parent is
  in the same import. Otherwise the run is incomplete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pull_logs.errors import DataError
from pull_logs.runs import RunParts, RunPath, RunPoint
from pull_logs.sources.wandb_folders.copies import is_copy, without_copies
from pull_logs.sources.wandb_folders.run_log import BranchPoint
from pull_logs.sources.wandb_folders.segments import Segment, last_step

OnRestart = Literal["offset", "overwrite", "error"]
"""How to treat a segment that starts over: keep it after the others, replace them by it, or refuse it."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The segments of one run, each with its offset.

    Attributes:
        segments: The segments that are kept; those of a parent run come first.
        notes: What was damaged, offset, merged or left out, one sentence each.
        reasons: Why the history is incomplete although no log is, one sentence each.
        parts: The parts of the run; None if it is one that nothing came before.
    """

    segments: tuple[Segment, ...]
    notes: tuple[str, ...]
    reasons: tuple[str, ...]
    parts: RunParts | None = None

    @property
    def own(self) -> tuple[Segment, ...]:
        """The segments of the run itself."""
        return tuple(segment for segment in self.segments if not segment.inherited)


class Arranger:
    """Arranges the segments of each run, with those of the other runs as possible parents."""

    def __init__(self, runs: Mapping[RunPath, Sequence[Segment]], on_restart: OnRestart) -> None:
        self._runs = {path: without_copies(segments) for path, segments in runs.items()}
        self._on_restart: OnRestart = on_restart

    def arrange(self, path: RunPath) -> Arrangement:
        """Give each segment of a run its offset, and leave out those that were overwritten.

        Raises:
            DataError: A segment starts over and `on_restart` is `error`.
        """
        return self._arrange(path, before=None, children=())

    def _arrange(self, path: RunPath, *, before: str | None, children: tuple[RunPath, ...]) -> Arrangement:
        """Arrange the segments of a run that started before a time; `children` are the forks asked for."""
        segments, notes = self._runs[path]
        building = _RunArranger(path, self._on_restart, notes)
        for segment in segments:
            started = segment.log.started_at
            if before is not None and started is not None and _moment(started) >= _moment(before):
                continue
            branch = segment.log.branch
            if branch is not None and branch.run_id != path.run_id and not building.forked:
                parent = self._parent(path, branch)
                known = parent in self._runs and parent not in (*children, path)
                inherited = (
                    self._arrange(parent, before=started, children=(*children, path)) if known else None
                )
                building.fork(segment, parent, branch, inherited)
            building.add(segment)
        return building.result()

    def _parent(self, path: RunPath, branch: BranchPoint) -> RunPath:
        """Return the path of the run that a run was forked from, which is in the same project."""
        parent = RunPath(path.entity, path.project, branch.run_id)
        # A log need not name the entity.
        named = [one for one in self._runs if (one.project, one.run_id) == (path.project, branch.run_id)]
        return named[0] if parent not in self._runs and len(named) == 1 else parent


def _moment(text: str) -> str:
    """Return a time in a form whose order as text is its order in time."""
    seconds, _, fraction = text.removesuffix("Z").partition(".")
    return f"{seconds}.{fraction:0<9}"


class _RunArranger:
    """The arrangement of the segments of one run so far."""

    def __init__(self, path: RunPath, on_restart: OnRestart, notes: Sequence[str]) -> None:
        self.forked = False
        self._kept: list[Segment] = []
        self._notes = list(notes)
        self._reasons: list[str] = []
        self._path, self._on_restart = path, on_restart
        self._attempt_first: int | None = None
        self._last: int | None = None
        self._offset = 0
        self._starts = 0
        self._complete = True  # whether the first part is known to be the first one
        self._points: list[RunPoint] = []

    def result(self) -> Arrangement:
        """Return the arrangement, after the last segment."""
        parts = RunParts(self._starts if self._complete else None, tuple(self._points))
        shown = parts if parts.points or self._starts > 1 else None
        return Arrangement(tuple(self._kept), tuple(self._notes), tuple(self._reasons), shown)

    def _start(self, point: RunPoint | None) -> None:
        """Count a start of the run, at a point unless it is the first one."""
        self._starts += 1
        if point is not None:
            self._points.append(point)

    def fork(
        self, segment: Segment, parent: RunPath, branch: BranchPoint, inherited: Arrangement | None
    ) -> None:
        """Take the rows of the parent up to the branch point of a fork, before its own segments."""
        self.forked = True
        self._points.append(RunPoint("forked", branch.step, branch.run_id))
        if inherited is None or not inherited.segments:
            reason = (
                f"{segment.folder}: forked from {parent} at step {branch.step}, and the rows up to this step "
                "are in the folder of that run, which is not in this import"
            )
            self._reasons.append(reason)
            self._notes.append(reason)
            return
        latest = inherited.segments[-1].offset
        kept = [
            replace(one, offset=0, inherited=True).cut(branch.step)
            for one in inherited.segments
            if one.offset == latest
        ]
        self._kept = [one for one in kept if one.log.rows]
        self._reasons += inherited.reasons
        self._last = last_step(self._kept)
        firsts = [one.span[0] for one in self._kept if one.span is not None]
        self._attempt_first = min(firsts, default=None)
        rows = sum(one.log.rows for one in self._kept)
        self._notes.append(
            f"{segment.folder}: forked from {parent} at step {branch.step}; "
            f"its {rows} rows up to this step come first"
        )

    def add(self, segment: Segment) -> None:
        """Add the next segment."""
        self._notes += (f"{segment.folder}: {note}" for note in segment.log.notes)
        branch, first = segment.log.branch, segment.log.first_step
        rewound = branch is not None and branch.run_id == self._path.run_id
        if branch is not None and rewound:
            self._rewind(segment, branch)
        elif first is not None and (other := self._concurrent(segment)) is not None:
            self._keep_merged(segment, other)
            return
        if first is None:
            self._kept.append(replace(segment, offset=self._offset))
            return
        restarts = self._attempt_first is None or first <= self._attempt_first
        starts_over = restarts and branch is None and self._last is not None
        if restarts and branch is None:
            if self._last is not None:
                self._start_over(segment, first, self._last)
            self._attempt_first = first
        segment = replace(segment, offset=self._offset)
        if starts_over:
            self._start(RunPoint("restarted", first + self._offset) if self._starts else None)
        elif not rewound:
            self._resume(segment, first + self._offset)
        self._notes += _step_notes(segment, self._last)
        self._kept.append(segment)
        self._last = last_step([segment], self._last)

    def _resume(self, segment: Segment, step: int) -> None:
        """Count a start that goes on from the rows before it, if there are any."""
        resumed = RunPoint("resumed", step)
        if self._starts:
            self._start(resumed)
            return
        known = RunParts.from_config(segment.log.config_internal, self._path.run_id)
        earlier = known is not None and any(point.kind == "resumed" for point in known.points)
        self._complete = not earlier
        self._start(resumed if earlier else None)

    def _rewind(self, segment: Segment, branch: BranchPoint) -> None:
        """Leave out the rows of the current attempt after a branch point."""
        self._complete = self._complete and self._starts > 0
        self._start(RunPoint("rewound", branch.step + self._offset))
        if self._last is None:
            reason = (
                f"{segment.folder}: rewound to step {branch.step}, and the rows up to this step are in an "
                "earlier folder of the run, which is not in this import"
            )
            self._reasons.append(reason)
            self._notes.append(reason)
            return
        before = sum(one.log.rows for one in self._kept)
        self._kept = [one.cut(branch.step) if one.offset == self._offset else one for one in self._kept]
        left_out = before - sum(one.log.rows for one in self._kept)
        self._last = last_step(self._kept)
        self._notes.append(
            f"{segment.folder}: rewound to step {branch.step}; {left_out} rows after it are left out"
        )

    def _concurrent(self, segment: Segment) -> Segment | None:
        """Return a segment that was logged while this one was logged, or another copy of it."""
        return next(
            (
                one
                for one in self._kept
                if not one.inherited and (is_copy(segment, one) or _overlap(segment, one))
            ),
            None,
        )

    def _keep_merged(self, segment: Segment, other: Segment) -> None:
        """Keep a segment with the steps of another, to be merged with it."""
        if is_copy(segment, other):
            note = f"differs from another copy, {other.log.file.parent}; the rows of both are merged"
        else:
            note = (
                f"was logged at the same time as {other.folder}: two processes wrote to one run id; their "
                "rows are merged, and of two values of a step the later is kept"
            )
        self._notes.append(f"{segment.folder}: {note}")
        self._kept.append(replace(segment, offset=other.offset))
        self._last = last_step(self._kept)

    def _start_over(self, segment: Segment, first: int, last: int) -> None:
        if self._on_restart == "error":
            raise DataError(
                f"run {str(self._path)!r} starts over at step {first} in {segment.folder!r}",
                hint="keep both with --on-restart offset, or the later with --on-restart overwrite",
            )
        note = f"{segment.folder}: starts over at step {first}"
        if self._on_restart == "overwrite":
            dropped = sum(former.log.rows for former in self._kept)
            self._notes.append(f"{note}; {dropped} rows before it are left out")
            self._kept = []
            self._last = None
            self._starts, self._points = 0, []
        else:
            self._offset = last + 1 - first
            self._notes.append(note)


def _overlap(segment: Segment, other: Segment) -> bool:
    """Return whether the rows of two segments were logged during the same time."""
    first, last = segment.log.first_time, segment.log.last_time
    other_first, other_last = other.log.first_time, other.log.last_time
    if first is None or last is None or other_first is None or other_last is None:
        return False
    return first < other_last and other_first < last


def _step_notes(segment: Segment, last: int | None) -> list[str]:
    """Return notes about the offset of a segment, and about steps that earlier segments have too."""
    if segment.span is None or last is None:
        return []
    first, end = segment.span
    notes = []
    if segment.offset:
        steps = f"{segment.log.first_step} to {segment.log.last_step}"
        notes.append(f"{segment.folder}: its steps {steps} are kept as {first} to {end}")
    if first <= last:
        note = (
            f"{segment.folder}: steps {first} to {min(last, end)} may be logged twice; "
            "of two values the later is kept"
        )
        after = f"; steps {end + 1} to {last} are those that were logged before it" if end < last else ""
        notes.append(note + after)
    return notes
