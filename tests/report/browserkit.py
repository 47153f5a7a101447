"""A headless Chromium without a network, for tests of the report."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

REQUIRED = "PULL_LOGS_TEST_BROWSER"
"""Set to `required` where a missing browser is a failure instead of a reason to skip."""

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_browser() -> str | None:
    """The Chromium of this machine."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


def require_browser(required: str | None) -> str:
    """The Chromium of this machine; without one, the test is skipped, or fails where one is required."""
    found = find_browser()
    if found is None:
        if required == "required":
            pytest.fail(f"{REQUIRED}=required, and there is no Chromium on PATH")
        pytest.skip("there is no Chromium on PATH")
    return found


@contextmanager
def running_browser(path: str) -> Iterator[Any]:
    """A Chromium that reaches no network."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
            env={**os.environ, "HOME": os.environ.get("HOME", "/tmp")},
        )
        try:
            yield browser
        finally:
            browser.close()


def open_report(browser: Any, file: Path, *, fragment: str = "", **context: Any) -> Any:
    """A page with a report, drawn; what its console says and what it requests is in `page.seen`."""
    made = browser.new_context(offline=True, **{"viewport": {"width": 1400, "height": 900}} | context)
    page = made.new_page()
    page.seen = []
    page.on("console", lambda message: page.seen.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: page.seen.append(f"error: {error}"))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith(("file:", "blob:", "data:")) else page.seen.append(request.url)
        ),
    )
    page.goto(f"{file.as_uri()}{fragment}")
    wait_drawn(page)
    return page


def wait_drawn(page: Any) -> None:
    """Wait until every visible chart is drawn."""
    page.wait_for_function(
        "() => { const g = window.pullLogsReport?.grid; return g && g.seen && !g.scheduled &&"
        " ![...g.stale].some((panel) => g.visible.has(panel)); }"
    )
