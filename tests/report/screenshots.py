"""Make screenshots of a report: `python tests/report/screenshots.py REPORT.html FOLDER`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from browserkit import find_browser, open_report, running_browser

VIEWS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "usual": ({}, {"viewport": {"width": 1400, "height": 1500}}),
    "dark": ({"theme": "dark"}, {}),
    "smooth": ({"smooth": 0.9, "x": "time", "group": ""}, {}),
    "groups": ({"mean": True, "group": "lr"}, {}),
    "isolated": ({"only": "cnn1e1s0", "range": [60, 120]}, {}),
    "log": ({"y": "log", "x": "epoch", "metrics": "o"}, {"viewport": {"width": 1400, "height": 1500}}),
    "phone": ({}, {"viewport": {"width": 390, "height": 844}}),
}
"""The views: what is in the fragment, and the options of the window."""


def main(file: Path, folder: Path) -> None:
    """Write one picture of each view, and a PDF as it is printed."""
    folder.mkdir(parents=True, exist_ok=True)
    browser_path = find_browser()
    if browser_path is None:
        raise SystemExit("there is no Chromium on PATH")
    with running_browser(browser_path) as browser:
        for name, (view, window) in VIEWS.items():
            fragment = "#" + urlencode({key: json.dumps(value) for key, value in view.items()})
            page = open_report(browser, file.resolve(), fragment=fragment, **window)
            page.screenshot(path=folder / f"{name}.png")
            if name == "phone":
                page.evaluate("document.getElementById('charts').scrollIntoView()")
                page.wait_for_timeout(300)
                page.screenshot(path=folder / "phone-charts.png")
            if name == "usual":
                page.pdf(path=folder / "print.pdf")
                page.evaluate("dispatchEvent(new Event('beforeprint'))")
                page.emulate_media(media="print")
                page.set_viewport_size({"width": 760, "height": 1000})
                page.evaluate("dispatchEvent(new Event('beforeprint'))")
                page.screenshot(path=folder / "print.png", full_page=True)
            sys.stdout.write(f"{folder / name}.png {page.seen}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
