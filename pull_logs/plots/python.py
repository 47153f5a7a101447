"""`pull_logs.plot`: what `pull-logs plot` draws, as a figure of matplotlib."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pull_logs.interface import open_subjects, sources_of
from pull_logs.plots.figure import draw_figure
from pull_logs.plots.lines import PlotOptions, read_panels
from pull_logs.rows.canonical import STEP

if TYPE_CHECKING:
    import os
    from typing import Unpack

    from matplotlib.figure import Figure

    from pull_logs.interface import SourceOptions
    from pull_logs.snapshot import Bundle, Run


def plot(
    *sources: str | os.PathLike[str] | Bundle | Run,
    select: str | None = None,
    group_by: str | Iterable[str] = (),
    smooth: float = 0.0,
    x: str = STEP,
    log_x: bool = False,
    log_y: bool = False,
    **named: Unpack[SourceOptions],
) -> Figure:
    """Draw metrics of runs, as `pull-logs plot` does (docs/plots.md).

    Args:
        *sources: As in `compare`.
        select: A regular expression that is searched for in the names of the metrics; by default, the metric
            that is most likely to decide.
        group_by: Config keys or fields; runs with the same values are drawn as their mean and a band.
        smooth: How much of the moving average stays from one value to the next, from 0 to below 1.
        x: `_step`, `time`, or a metric.
        log_x: Whether the x axis is logarithmic.
        log_y: Whether the y axis is logarithmic.
        **named: The sources as keywords, as in `compare`.

    Returns:
        The figure; `figure.savefig("loss.png")` writes it.

    Raises:
        PullLogsError: What the command reports as an error.
    """
    options = PlotOptions(
        select=select,
        group_by=(group_by,) if isinstance(group_by, str) else tuple(group_by),
        smooth=smooth,
        x=x,
        log_x=log_x,
        log_y=log_y,
    )
    with open_subjects(sources_of(sources, named), report=lambda _: None) as subjects:
        return draw_figure(read_panels(subjects, options).panels, options)
