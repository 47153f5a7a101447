"""Measure a report in a headless Chromium: its size, the first chart, zooming and hovering.

    python benchmarks/report.py                # 200 runs x 2,000 rows x 20 metrics; Plotly
    python benchmarks/report.py --work D       # keep the files
    python benchmarks/report.py --quick        # 8 runs x 50 rows: checks that it works

Where Plotly is installed, one metric of the same runs is drawn by it too: a trace per run, with every row.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "report"))

from browserkit import find_browser, open_report, running_browser
from histories import PROBED, HistorySet
from views import _written

from pull_logs.interface import Sources, open_subjects
from pull_logs.report import ReportOptions, write_report

_REPEATS = 9
_OURS = """async () => {
  const { grid } = window.pullLogsReport;
  const panel = [...grid.visible][0];
  const end = grid.model.fullRange()[1];
  const times = (action) => {
    const found = [];
    for (let index = 0; index < REPEATS; index++) {
      const start = performance.now();
      action(index);
      found.push(performance.now() - start);
    }
    return found;
  };
  const zoom = times((index) => grid.zoom([end * 0.02 * index, end * (0.5 + 0.02 * index)], panel));
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const { left, top, width } = panel.plot.over.getBoundingClientRect();
  const hover = times((index) => {
    panel.onMove({ clientX: left + (width * index) / REPEATS, clientY: top + 80 });
    for (const other of grid.visible) other.showCursor(grid.hovered);
  });
  return { first: grid.firstDrawn, zoom, hover };
}""".replace("REPEATS", str(_REPEATS))
_PLOTLY = """async () => {
  const chart = document.querySelector(".plotly-graph-div");
  const zoom = [];
  for (let index = 0; index < REPEATS; index++) {
    const start = performance.now();
    await Plotly.relayout(chart, { "xaxis.range": [40 * index, 1000 + 40 * index] });
    zoom.push(performance.now() - start);
  }
  const hover = [];
  for (let index = 0; index < REPEATS; index++) {
    const start = performance.now();
    Plotly.Fx.hover(chart, { xval: 800 + 10 * index, yval: 0.6 });
    hover.push(performance.now() - start);
  }
  return { first: window.firstDrawn, zoom, hover };
}""".replace("REPEATS", str(_REPEATS))


def main(arguments: Sequence[str]) -> int:
    """Measure, and print a table."""
    options = _options(arguments)
    runs, rows = (8, 50) if options.quick else (200, 2000)
    histories = HistorySet(name="report", runs=runs, rows=rows)
    with ExitStack() as stack:
        folder = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pull-logs-")))
        bundle, _ = _written(folder, histories)
        browser = stack.enter_context(running_browser(find_browser() or "chromium"))
        print("| page | file | written | first chart | zoom, median and worst | hover, median and worst |")
        print("|---|---|---|---|---|---|")
        for title, select in (("20 metrics", None), ("one metric", f"^{PROBED}$")):
            out = folder / f"{title.replace(' ', '-')}.html"
            seconds = _timed(lambda: _report(bundle, out, select))  # noqa: B023 - called here
            page = open_report(browser, out.resolve())
            _print_line(f"report, {title}", out, seconds, page.evaluate(_OURS))
            page.context.close()
        if find_spec("plotly"):
            out = folder / "plotly.html"
            seconds = _timed(lambda: _plotly(histories, out))
            _print_line("Plotly, one metric", out, seconds, _opened_plotly(browser, out))
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--work", type=Path, metavar="DIR", help="a folder for the files, kept")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    return parser.parse_args(arguments)


def _timed(action: Callable[[], None]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _report(bundle: Path, out: Path, select: str | None) -> None:
    sources = Sources(bundles=(bundle,))
    with open_subjects(sources, report=lambda _: None) as subjects:
        write_report(subjects, out, options=ReportOptions(select=select))


def _plotly(histories: HistorySet, out: Path) -> None:
    """Write the same metric of the same runs with Plotly."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for number in range(histories.runs):
        table = histories.table(number)
        steps, values = (table.column(name).to_numpy() for name in ("_step", PROBED))
        figure.add_trace(go.Scattergl(x=steps, y=values, mode="lines", name=f"run {number}"))
    script = "window.firstDrawn = performance.now();"
    figure.write_html(out, include_plotlyjs=True, post_script=script)


def _opened_plotly(browser: Any, out: Path) -> Mapping[str, Any]:
    page = browser.new_context(offline=True, viewport={"width": 1400, "height": 900}).new_page()
    page.goto(out.resolve().as_uri())
    page.wait_for_function("() => window.firstDrawn !== undefined", timeout=120_000)
    found: Mapping[str, Any] = page.evaluate(_PLOTLY)
    page.context.close()
    return found


def _print_line(title: str, out: Path, seconds: float, found: Mapping[str, Any]) -> None:
    times = [f"{median(found[name]):.0f} ms, {max(found[name]):.0f} ms" for name in ("zoom", "hover")]
    size = f"{out.stat().st_size / 1e6:.1f} MB"
    print(
        f"| {title} | {size} | {seconds:.1f} s | {found['first'] / 1000:.2f} s | {' | '.join(times)} |",
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
