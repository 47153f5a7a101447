"""The lines of a plot: the values of metrics over an axis, smoothed, and averaged over groups of runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pull_logs.analyze import Subject
from pull_logs.analyze.questions import CONFIG, compile_pattern, is_internal, values_of
from pull_logs.analyze.statistics import deciding_metric, shown_order
from pull_logs.errors import MetricNotFoundError, NotFoundError, UsageError
from pull_logs.frames import Floats, Frame, Mask, open_frames
from pull_logs.rows.canonical import STEP, canonical_text
from pull_logs.suggestions import did_you_mean

TIME = "time"
_TIME_COLUMN = "_runtime"
_BEYOND = 10
_POSITIONS = 400
"""The positions at which the runs of a group are averaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotOptions:
    """What a plot shows.

    Attributes:
        select: A regular expression that is searched for in the names of the metrics; the deciding
            metric by default.
        group_by: Config keys or fields; the runs with the same values are drawn as their mean and a band.
        smooth: How much of the moving average stays from one value to the next; 0 for none.
        x: The x axis: `_step`, `time`, or a metric.
        log_x: Whether the x axis is logarithmic.
        log_y: Whether the y axis is logarithmic.
        most: The most metrics that are drawn.
    """

    select: str | None = None
    group_by: tuple[str, ...] = ()
    smooth: float = 0.0
    x: str = STEP
    log_x: bool = False
    log_y: bool = False
    most: int = 12

    def check(self) -> None:
        """Refuse a smoothing that is none.

        Raises:
            UsageError: The weight is not from 0 to below 1.
        """
        if not 0 <= self.smooth < 1:
            raise UsageError(f"--smooth {self.smooth:g} is not from 0 to below 1", hint="for example 0.9")


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A line of a plot, of a run or of a group.

    Attributes:
        key: The run id, or more of the path, or `G1`.
        name: What it is called in the legend.
        x: The positions of its values, ascending.
        y: The values; finite.
        faint: The values before smoothing; None where they are not smoothed.
        low: The lower end of the band of a group; None for a run.
        high: Its upper end.
        marks: The positions of values that are not finite, by `nan`, `inf` and `-inf`.
    """

    key: str
    name: str
    x: Floats
    y: Floats
    faint: Floats | None = None
    low: Floats | None = None
    high: Floats | None = None
    marks: tuple[tuple[str, Floats], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """The lines of one metric.

    Attributes:
        metric: Its name.
        lines: Its lines.
    """

    metric: str
    lines: Sequence[Line]


@dataclass(frozen=True, slots=True)
class Panels:
    """What a plot draws.

    Attributes:
        panels: The metrics.
        left_out: How many more metrics were selected.
    """

    panels: Sequence[Panel]
    left_out: int


def read_panels(subjects: Sequence[Subject], options: PlotOptions) -> Panels:
    """Read the metrics of runs.

    Raises:
        UsageError: An option is wrong.
        NotFoundError: No run has numbers of a metric, or such a key.
        DamageError: A history is damaged.
    """
    options.check()
    frames = open_frames([subject.run for subject in subjects])
    names = _wanted(frames, options)
    axis = _axis_column(frames, options.x)
    shown = names[: options.most]
    read: dict[str, list[tuple[int, Line]]] = {name: [] for name in shown}
    for index, (subject, frame) in enumerate(zip(subjects, frames, strict=True)):
        frame.load([name for name in (*shown, *axis) if name in frame])
        for name in shown:
            line = _read_line(subject, frame, name, axis)
            if line is not None:
                read[name].append((index, _smoothed(line, options.smooth)))
        frame.forget()
    groups = _groups(subjects, options.group_by) if options.group_by else None
    panels = [
        Panel(name, [line for _, line in lines] if groups is None else list(_averaged(lines, groups)))
        for name, lines in read.items()
        if lines
    ]
    if not panels:
        raise MetricNotFoundError(
            f"no run has numbers of {shown[0]!r}", hint="choose another --select or --x"
        )
    return Panels(panels, len(names) - len(shown))


def diverged(lines: Sequence[Line]) -> list[Line]:
    """Return the lines that an axis does not follow: those of runs that diverged, far beyond all others."""
    others = [line for line in lines if not line.marks and len(line.y)]
    if not others:
        return []
    usual = max(float(np.abs(line.y).max()) for line in others) * _BEYOND
    return [line for line in lines if line.marks and len(line.y) and np.abs(line.y).max() > usual]


def _wanted(frames: Sequence[Frame], options: PlotOptions) -> list[str]:
    """Return the metrics that are selected, in the order of charts; without a selection, the deciding one."""
    known = list(dict.fromkeys(name for frame in frames for name in _with_numbers(frame)))
    if options.select is None:
        telling = deciding_metric(known) or next((name for name in known if not is_internal(name)), None)
        names = [] if telling is None else [telling]
    else:
        pattern = compile_pattern(options.select)
        names = sorted((name for name in known if pattern.search(name)), key=shown_order)
    if not names:
        what = "" if options.select is None else f"--select {options.select!r}: "
        hint = did_you_mean(options.select or "", known, otherwise="the runs have no metrics", cutoff=0)
        raise MetricNotFoundError(f"{what}no run has numbers of such a metric", hint=hint)
    return names


def _with_numbers(frame: Frame) -> Iterable[str]:
    facts = frame.facts()
    return frame.names[1:] if facts is None else [n for n in frame.names[1:] if facts[n].numbers]


def _axis_column(frames: Sequence[Frame], axis: str) -> tuple[str, ...]:
    if axis == STEP:
        return ()
    column = _TIME_COLUMN if axis == TIME and not any(TIME in frame for frame in frames) else axis
    if not any(column in frame for frame in frames):
        known = [STEP, TIME, *dict.fromkeys(name for frame in frames for name in frame.names[1:])]
        raise MetricNotFoundError(f"--x {axis!r}: no run has such a metric", hint=did_you_mean(axis, known))
    return (column,)


def _read_line(subject: Subject, frame: Frame, name: str, axis: tuple[str, ...]) -> Line | None:
    """Return the values of a metric in one run; None without any."""
    if name not in frame or not all(column in frame for column in axis):
        return None
    values, present = frame.column(name).numbers()
    positions = frame.steps.astype(np.float64)
    for column in axis:
        positions, known = _positions_on(*frame.column(column).numbers())
        present = present & known
    x, y = positions[present], values[present]
    if not len(x):
        return None
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    finite = np.isfinite(y)
    kinds = {"nan": np.isnan(y), "inf": y == np.inf, "-inf": y == -np.inf}
    marks = tuple((kind, x[where]) for kind, where in kinds.items() if where.any())
    return Line(subject.label, subject.run.name or str(subject.run.path), x[finite], y[finite], marks=marks)


def _positions_on(values: Floats, present: Mask) -> tuple[Floats, Mask]:
    """Return the position of each row on a metric, and which rows have one: those from its first value on.

    A row without a value is between those around it; on a metric that falls, it is at the value before it.
    """
    rows = np.flatnonzero(present & np.isfinite(values))
    if not len(rows):
        return values, np.zeros(len(values), np.bool_)
    every = np.arange(len(values))
    if (np.diff(values[rows]) >= 0).all():
        return np.interp(every, rows, values[rows]), every >= rows[0]
    before = np.searchsorted(rows, every, side="right") - 1
    return values[rows][np.maximum(before, 0)], before >= 0


def _smoothed(line: Line, weight: float) -> Line:
    """Return a line as its exponential moving average without the bias of its start."""
    if not weight or not len(line.y):
        return line
    average = share = 0.0
    found = np.empty(len(line.y))
    for index, value in enumerate(line.y.tolist()):
        average = average * weight + value * (1 - weight)
        share = share * weight + (1 - weight)
        found[index] = average / share
    return replace(line, y=found, faint=line.y)


@dataclass(frozen=True, slots=True)
class _Group:
    """Runs with the same values."""

    name: str
    runs: frozenset[int]


def _groups(subjects: Sequence[Subject], keys: Sequence[str]) -> list[_Group]:
    """Return the groups of runs with the same values, in the order of these."""
    values = [values_of(subject.run.info) for subject in subjects]
    known = list(dict.fromkeys(name for found in values for name in found))
    names = [key if key in known else f"{CONFIG}{key}" for key in keys]
    for key, name in zip(keys, names, strict=True):
        if name not in known:
            raise NotFoundError(f"--group-by {key!r}: no run has such a key", hint=did_you_mean(key, known))
    members: dict[tuple[str, ...], list[int]] = {}
    order: dict[tuple[str, ...], tuple[tuple[bool, float, str], ...]] = {}
    for index, found in enumerate(values):
        texts = tuple("(none)" if name not in found else _text(found[name]) for name in names)
        members.setdefault(texts, []).append(index)
        order[texts] = tuple(_sort_key(found.get(name)) for name in names)
    return [
        _Group(
            " ".join(f"{name.removeprefix(CONFIG)}={text}" for name, text in zip(names, texts, strict=True)),
            frozenset(members[texts]),
        )
        for texts in sorted(members, key=lambda texts: (order[texts], texts))
    ]


def _text(value: object) -> str:
    return value if isinstance(value, str) else canonical_text(value)


def _sort_key(value: object) -> tuple[bool, float, str]:
    number = float(value) if isinstance(value, (int, float)) and value == value else np.inf
    return (number == np.inf, number, "" if value is None else str(value))


def _averaged(lines: Sequence[tuple[int, Line]], groups: Sequence[_Group]) -> Iterator[Line]:
    """Iterate over the means of groups, with the band of one standard deviation."""
    for number, group in enumerate(groups, 1):
        members = [line for index, line in lines if index in group.runs]
        if members:
            yield _mean_line(f"G{number}", f"{group.name} (n={len(members)})", members)


def _mean_line(key: str, name: str, members: Sequence[Line]) -> Line:
    marks: dict[str, list[Floats]] = {}
    for line in members:
        for kind, where in line.marks:
            marks.setdefault(kind, []).append(where)
    joined = tuple((kind, np.sort(np.concatenate(found))) for kind, found in marks.items())
    drawn = [line for line in members if len(line.x)]
    if not drawn:
        return Line(key, name, np.empty(0), np.empty(0), marks=joined)
    x = _positions(drawn)
    rows = np.stack([np.interp(x, line.x, line.y, left=np.nan, right=np.nan) for line in drawn])
    counts = np.isfinite(rows).sum(axis=0)
    x, rows, counts = x[counts > 0], rows[:, counts > 0], counts[counts > 0]
    mean = np.nansum(rows, axis=0) / counts
    spread = np.sqrt(np.nansum((rows - mean) ** 2, axis=0) / np.maximum(counts - 1, 1))
    spread[counts < 2] = np.nan  # one run has no spread
    return Line(key, name, x, mean, low=mean - spread, high=mean + spread, marks=joined)


def _positions(lines: Sequence[Line]) -> Floats:
    """Return where lines are averaged: where they have values, or as many positions between the ends."""
    every = np.unique(np.concatenate([line.x for line in lines]))
    return every if len(every) <= _POSITIONS else np.linspace(every[0], every[-1], _POSITIONS)
