"""Plots with matplotlib, drawn without its global state, and the same bytes for the same lines."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pull_logs.errors import FileMissingError, UsageError
from pull_logs.plots.lines import Line, Panel, PlotOptions, diverged
from pull_logs.rows.canonical import STEP

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5b4fa2", "#555555")
"""Colours that differ with most kinds of colour blindness."""

_STYLES = ("-", "--", ":", "-.")
_MOST_IN_LEGEND = 60
_LEGEND_ROWS = 20
_FEW_POINTS = 20
_LONGEST_NAME = 40
_MARKS = {"nan": ("x", 0.02), "inf": ("^", 0.98), "-inf": ("v", 0.02)}
"""The marker of each kind of value that is not finite, and its height in the axes."""

_SETTINGS = {
    "svg.hashsalt": "pull-logs",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
}
_MAKER = "pull-logs plot"
"""What a picture names as its program, by which it is known again."""

_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": _MAKER},
    "svg": {"Date": None, "Creator": _MAKER},
    "pdf": {"CreationDate": None, "Creator": _MAKER, "Producer": None},
}


def draw_figure(panels: Sequence[Panel], options: PlotOptions) -> Figure:
    """Return a figure with a chart for each metric.

    Raises:
        FileMissingError: matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context

        from pull_logs.plots.shown_figure import ShownFigure
    except ImportError as exc:
        raise FileMissingError(
            "a picture needs matplotlib, which is not installed",
            hint='pip install "wandb-pull-logs[plot]", or leave -o out for a plot of text',
        ) from exc
    across = min(len(panels), 3) if len(panels) != 4 else 2
    down = math.ceil(len(panels) / across)
    names = list(dict.fromkeys((line.key, line.name) for panel in panels for line in panel.lines))
    columns = math.ceil(len(names) / (_LEGEND_ROWS * down))
    beside = 2.2 * columns if 1 < len(names) <= _MOST_IN_LEGEND else 0.0
    with rc_context(_SETTINGS):
        width = 4.8 * across + 1.2 * (across == 1) + beside
        figure = ShownFigure(figsize=(width, 3.4 * down), layout="constrained")
        colors = {key: index for index, (key, _) in enumerate(names)}
        for number, panel in enumerate(panels, 1):
            _draw_panel(figure.add_subplot(down, across, number), panel, options, colors)
        if beside:
            _draw_legend(figure, names, columns=columns)
        elif len(names) > 1:
            figure.supxlabel(f"{len(names)} lines", fontsize=8)
    return figure


def _draw_panel(axes: Axes, panel: Panel, options: PlotOptions, colors: dict[str, int]) -> None:
    from matplotlib.ticker import MaxNLocator

    for line in panel.lines:
        color, style = _look(colors[line.key])
        marker = "o" if len(line.x) <= _FEW_POINTS else ""
        if line.faint is not None:
            axes.plot(line.x, line.faint, color=color, alpha=0.25, linewidth=0.8)
        width = 1.8 if line.low is not None else 1.2
        axes.plot(line.x, line.y, style, color=color, linewidth=width, marker=marker, markersize=3)
        if line.low is not None and line.high is not None:
            axes.fill_between(line.x, line.low, line.high, color=color, alpha=0.18, linewidth=0)
        _draw_marks(axes, line, color)
    axes.set_title(_plain(panel.metric), fontsize=10).set_parse_math(False)
    axes.set_xlabel("step" if options.x == STEP else _plain(options.x)).set_parse_math(False)
    axes.margins(x=0.02)
    if options.x == STEP:
        axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 2.5, 5, 10], integer=True))
    if options.log_x:
        axes.set_xscale("symlog" if any((line.x <= 0).any() for line in panel.lines) else "log")
    if options.log_y:
        axes.set_yscale("log" if any((line.y > 0).any() for line in panel.lines) else "linear")
    _follow(axes, panel.lines, log=options.log_y)


def _look(index: int) -> tuple[str, str]:
    """Return the colour and the style of the n-th line."""
    return _COLORS[index % len(_COLORS)], _STYLES[index // len(_COLORS) % len(_STYLES)]


def _follow(axes: Axes, lines: Sequence[Line], *, log: bool) -> None:
    """Let the y axis follow all lines but those that diverged, which are named."""
    beyond = diverged(lines)
    if not beyond:
        return
    values = np.concatenate([line.y for line in lines if line not in beyond])
    if log:
        values = values[values > 0]
    if len(values):
        low, high = float(values.min()), float(values.max())
        pad = (high - low) / 20 or 1.0
        axes.set_ylim(*((low / 1.2, high * 1.2) if log else (low - pad, high + pad)))
    axes.annotate(
        f"beyond the axis: {', '.join(line.key for line in beyond[:5])}",
        (1, 1),
        xycoords="axes fraction",
        ha="right",
        va="bottom",
        fontsize=7,
    )


def _draw_marks(axes: Axes, line: Line, color: str) -> None:
    for kind, positions in line.marks:
        marker, height = _MARKS[kind]
        axes.plot(
            positions,
            [height] * len(positions),
            linestyle="",
            marker=marker,
            color=color,
            markersize=5,
            transform=axes.get_xaxis_transform(),
            clip_on=False,
        )


def _draw_legend(figure: Figure, names: Sequence[tuple[str, str]], *, columns: int) -> None:
    from matplotlib.lines import Line2D

    looks = map(_look, range(len(names)))
    handles = [Line2D([], [], color=color, linestyle=style) for color, style in looks]
    labels = [f"{key}  {_plain(name)}" for key, name in names]
    legend = figure.legend(
        handles, labels, loc="outside right upper", fontsize=7, ncols=columns, frameon=False
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _plain(text: str) -> str:
    """Return a text of a run for one line of a picture."""
    shown = "".join(character if character.isprintable() else "\ufffd" for character in text)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 1]}…"


def save_figure(figure: Figure, out: Path) -> None:
    """Write a figure in the format that the name of the file ends with.

    Raises:
        UsageError: The name has another ending.
        PullLogsError: The file cannot be written.
    """
    from matplotlib import rc_context

    from pull_logs.snapshot import disk_errors, new_file

    ending = picture_format(out)
    with disk_errors(out, hint="free some space, or write it to another disk"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        with rc_context(_SETTINGS), new_file(out) as file:
            figure.savefig(file, format=ending, dpi=150, metadata=_METADATA[ending])


def check_picture(out: Path, *, force: bool = False) -> None:
    """Check that a picture can be written.

    Args:
        out: The file to write.
        force: Whether to replace a file that is not a picture of this package.

    Raises:
        UsageError: Its name has an ending of no format; or it exists and is another file.
    """
    picture_format(out)
    if not force and out.exists() and _MAKER.encode() not in out.read_bytes():
        raise UsageError(
            f"{str(out)!r} exists and is not a picture of `plot`",
            hint="pass --force to replace it, or name another file",
        )


def picture_format(out: Path) -> str:
    """Return the format that the name of a file ends with.

    Raises:
        UsageError: It is none that can be written.
    """
    ending = out.suffix.removeprefix(".").lower()
    if ending not in FORMATS:
        raise UsageError(f"-o {str(out)!r} does not end in .png, .svg or .pdf", hint="for example loss.png")
    return ending
