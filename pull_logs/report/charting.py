"""The charting library uPlot, from the installed package `uplot-python`.

Its files are read without importing the package, whose own code is for notebooks.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution

from pull_logs.errors import FileMissingError

PACKAGE = "uplot-python"
_SCRIPT, _STYLE = "uplot/static/uPlot.iife.js", "uplot/static/uPlot.min.css"


@dataclass(frozen=True, slots=True)
class ChartingLibrary:
    """The files of uPlot that a page needs."""

    script: str
    style: str


def charting_library() -> ChartingLibrary:
    """Return the files of the installed uPlot.

    Raises:
        FileMissingError: The package is not installed, or does not have them.
    """
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError as exc:
        raise FileMissingError(
            f"a report needs the package {PACKAGE}, which is not installed", hint=f"pip install {PACKAGE}"
        ) from exc
    texts = [package.read_text(f"../{name}") for name in (_SCRIPT, _STYLE)]
    if not all(texts):
        raise FileMissingError(
            f"{PACKAGE} {package.version} does not have {_SCRIPT} and {_STYLE}",
            hint=f"pip install --force-reinstall {PACKAGE}",
        )
    return ChartingLibrary(script=texts[0] or "", style=texts[1] or "")
