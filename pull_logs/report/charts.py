"""The curves of all runs, metric by metric, as text that the page decodes.

The numbers of all curves of a metric are stored array by array. The bytes of an array are stored plane by
plane (all first bytes, then all second bytes), which compresses better, then deflated and written in base64.
The page decodes a metric when its chart is first seen.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from pull_logs.analyze import Subject
from pull_logs.analyze.questions import compile_pattern, is_internal
from pull_logs.analyze.statistics import shown_order
from pull_logs.frames import Floats, Frame, open_frames
from pull_logs.report.curves import Curve, reduce_curve

RUNTIME, TIMESTAMP = "_runtime", "_timestamp"

MOST_POINTS = 2_400_000
"""The points of all curves: base64 makes at most about 20 MB of them."""

MOST_PER_CURVE = 4_000
LEAST_PER_CURVE = 64
_LEVEL = 6
_LONGEST = 1e9
"""Seconds: more than any run takes, less than any time of day."""

_NOTHING = (np.empty(0), np.zeros(0, np.bool_))


class MetricFacts(TypedDict):
    """What the page knows of a metric before its block is decoded.

    Attributes:
        name: Its name.
        runs: The indices of the runs that have it.
        points: The number of points of the curve of each of these runs.
        buckets: The number of buckets of each curve; 0 where every value is a point.
        marks: The number of marks of each curve.
        rows: The number of values of each curve in the bundle.
        last: The last value of each, a string where it is not finite; null without values.
        min: The smallest finite value of each.
        max: The largest finite value of each.
        value_width: Bytes of a value.
        step_width: Bytes of a step.
    """

    name: str
    runs: list[int]
    points: list[int]
    buckets: list[int]
    marks: list[int]
    rows: list[int]
    last: list[float | str | None]
    min: list[float | None]
    max: list[float | None]
    value_width: int
    step_width: int


@dataclass(frozen=True, slots=True)
class Chart:
    """A metric and its curves.

    Attributes:
        facts: What is known before they are decoded.
        block: The curves, in base64.
    """

    facts: MetricFacts
    block: str


@dataclass(frozen=True, slots=True)
class Charts:
    """All metrics, and what was left out.

    Attributes:
        charts: The metrics in the order in which they are shown; the time of the rows is the last, if there.
        left_out: The names of the metrics for which the file has no space.
        first_step: The first step of any run; 0 without rows.
    """

    charts: Sequence[Chart]
    left_out: Sequence[str]
    first_step: int


@dataclass(frozen=True, slots=True)
class _Read:
    """The metric of one run.

    Attributes:
        run: The index of the run.
        curve: Its points.
        rows: How many values it has.
        last: Its last value; None without values.
    """

    run: int
    curve: Curve
    rows: int
    last: float | None


def read_charts(subjects: Sequence[Subject], *, select: str | None, points: int, first: str | None) -> Charts:
    """Read the metrics of runs and pack their curves; each run is read once.

    Args:
        subjects: The runs.
        select: A regular expression that is searched for in the names.
        points: The most points of a curve; 0 for as many as fit.
        first: The metric that is shown first.

    Raises:
        UsageError: `select` is not a valid regular expression.
        DamageError: A history is damaged.
    """
    frames = open_frames([subject.run for subject in subjects])
    names = _wanted(frames, select)
    ordered = sorted(names, key=lambda name: (name != first, shown_order(name)))
    kept, limit = _fitting(frames, ordered, points)
    found: dict[str, list[_Read]] = {}
    first_steps = []
    for index, frame in enumerate(frames):
        if frame.length:
            first_steps.append(int(frame.steps[0]))
            _read_run(index, frame, kept, limit=limit, found=found)
    charts = [_pack(name, found[name]) for name in (*kept, RUNTIME) if name in found]
    return Charts(charts, ordered[len(kept) :], min(first_steps, default=0))


def _wanted(frames: Sequence[Frame], select: str | None) -> list[str]:
    names = dict.fromkeys(name for frame in frames for name in _with_numbers(frame))
    if select is None:
        return [name for name in names if not is_internal(name)]
    pattern = compile_pattern(select)
    return [name for name in names if pattern.search(name)]


def _with_numbers(frame: Frame) -> Iterable[str]:
    """Return the names of the columns that may have numbers; an index says which have none."""
    facts = frame.facts()
    if facts is None:
        return frame.names[1:]
    return [name for name in frame.names[1:] if facts[name].numbers]


def _fitting(frames: Sequence[Frame], names: Sequence[str], points: int) -> tuple[list[str], int]:
    """Return the metrics for which the file has space, and the most points of a curve."""
    columns = [frozenset(_with_numbers(frame)) for frame in frames]
    curves = np.cumsum([sum(name in found for found in columns) for name in names])
    fitting = int(np.searchsorted(curves, MOST_POINTS // LEAST_PER_CURVE, side="right")) if names else 0
    total = int(curves[fitting - 1]) + len(frames) if fitting else 1
    limit = min(max(MOST_POINTS // total, LEAST_PER_CURVE), MOST_PER_CURVE)
    return list(names[:fitting]), points or limit


def _read_run(
    index: int, frame: Frame, names: Sequence[str], *, limit: int, found: dict[str, list[_Read]]
) -> None:
    """Add the curves of one run to those of the runs before it."""
    frame.load([name for name in (*names, RUNTIME, TIMESTAMP) if name in frame])
    steps = frame.steps.astype(np.float64)
    for name in (*names, RUNTIME):
        values, present = _column(frame, name)
        if not present.any():
            continue
        rows = np.flatnonzero(present)
        curve = reduce_curve(steps[rows], values[rows], limit=limit)
        read = _Read(index, curve, len(rows), float(values[rows[-1]]))
        found.setdefault(name, []).append(read)
    frame.forget()


def _column(frame: Frame, name: str) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the numbers of a column; a missing running time is worked out from the time of day."""
    if name == RUNTIME:
        source = RUNTIME if RUNTIME in frame else TIMESTAMP
        return _elapsed(*frame.column(source).numbers()) if source in frame else _NOTHING
    return frame.column(name).numbers() if name in frame else _NOTHING


def _elapsed(values: Floats, present: npt.NDArray[np.bool_]) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the time for which a run was running: where its clock starts again, the parts are added."""
    present = present & np.isfinite(values)
    times = values[present]
    if len(times):
        start = 0.0 if times[0] > _LONGEST else times[0]
        elapsed = np.zeros(len(values))
        elapsed[present] = start + np.cumsum(np.maximum(np.diff(times, prepend=times[0]), 0))
        return elapsed, present
    return values, present


def _pack(name: str, read: Sequence[_Read]) -> Chart:
    """Return the curves of a metric as facts and a block."""
    curves = [item.curve for item in read]
    steps = _joined(_differences(curve.steps) for curve in curves)
    marks = _joined(_differences(curve.mark_steps) for curve in curves)
    values = _joined(curve.values for curve in curves)
    step_type = np.dtype("<u4") if _is_small(steps) and _is_small(marks) else np.dtype("<f8")
    value_type = np.dtype("<f4") if _is_single(values) else np.dtype("<f8")
    arrays = (
        values.astype(value_type),
        steps.astype(step_type),
        _joined(curve.counts for curve in curves).astype("<u4"),
        np.concatenate([curve.means for curve in curves]),
        marks.astype(step_type),
        np.concatenate([curve.mark_codes for curve in curves]),
    )
    raw = b"".join(map(_planes, arrays))
    facts: MetricFacts = {
        "name": name,
        "runs": [item.run for item in read],
        "points": [len(curve.values) for curve in curves],
        "buckets": [len(curve.counts) for curve in curves],
        "marks": [len(curve.mark_steps) for curve in curves],
        "rows": [item.rows for item in read],
        "last": [_spelled(item.last) for item in read],
        "min": [float(curve.values.min()) if len(curve.values) else None for curve in curves],
        "max": [float(curve.values.max()) if len(curve.values) else None for curve in curves],
        "value_width": value_type.itemsize,
        "step_width": step_type.itemsize,
    }
    return Chart(facts, base64.b64encode(zlib.compress(raw, _LEVEL)).decode("ascii"))


def _joined(arrays: Iterable[Floats]) -> Floats:
    return np.concatenate([np.empty(0), *arrays])


def _differences(steps: Floats) -> Floats:
    """Return the first step and the distance of each step to the one before."""
    return np.diff(steps, prepend=0.0)


def _is_small(differences: Floats) -> bool:
    return bool(np.all((differences >= 0) & (differences < 2**32)))


def _is_single(values: Floats) -> bool:
    """Whether single precision has every value to seven digits."""
    sizes = np.abs(values[values != 0])
    return not len(sizes) or bool(sizes.min() > 1e-37 and sizes.max() < 3e38)


def _planes(array: npt.NDArray[Any]) -> bytes:
    """Return the bytes of an array: the first byte of every number, then the second, and so on."""
    width = array.dtype.itemsize
    return np.frombuffer(array.tobytes(), np.uint8).reshape(-1, width).T.tobytes()


def _spelled(value: float | None) -> float | str | None:
    from pull_logs.rows.canonical import spell

    return None if value is None else spell(value)


def facts_of(charts: Charts) -> list[Mapping[str, Any]]:
    """Return the facts of all metrics."""
    return [chart.facts for chart in charts.charts]
