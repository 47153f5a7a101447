"""The report as one HTML file.

Nothing of a run is ever written as HTML: facts are JSON in an element that is not executed, with every `<`
escaped, and curves are base64. The page's code puts texts into the document as text. The Content-Security-
Policy names the scripts and styles by their hashes, allows nothing else, and forbids every request.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pull_logs.analyze import Subject
from pull_logs.report.charting import charting_library
from pull_logs.report.charts import RUNTIME, Chart, Charts, facts_of, read_charts
from pull_logs.report.modules import page_file, page_script
from pull_logs.report.options import ReportOptions
from pull_logs.report.report_facts import BundleFacts, compare_for_report, report_facts
from pull_logs.snapshot import Bundle
from pull_logs.suggestions import counted, joined

_MOST_NAMED = 5
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


@dataclass(frozen=True, slots=True)
class ReportSize:
    """How large a report is.

    Attributes:
        runs: Its runs.
        metrics: Its metrics.
        points: The points of all curves.
        bytes: The size of the file.
        notes: What it leaves out.
    """

    runs: int
    metrics: int
    points: int
    bytes: int
    notes: Sequence[str]


def write_report(
    subjects: Sequence[Subject],
    out: Path,
    *,
    options: ReportOptions,
    bundles: Sequence[Bundle] = (),
    notes: Sequence[str] = (),
) -> ReportSize:
    """Write the report of runs; the file gets its name when it is complete.

    Args:
        subjects: The runs.
        out: The file to write.
        options: What to show.
        bundles: The bundles that the runs were read from, for their identities.
        notes: What else a reader should know.

    Raises:
        PullLogsError: A run cannot be read, an option is wrong, or the file cannot be written.
    """
    from pull_logs.snapshot import disk_errors, write_file

    text, size = render_report(subjects, options=options, bundles=bundles, notes=notes)
    with disk_errors(out, hint="free some space, or write it to another disk"):
        write_file(out, text.encode())
    return size


def render_report(
    subjects: Sequence[Subject],
    *,
    options: ReportOptions,
    bundles: Sequence[Bundle] = (),
    notes: Sequence[str] = (),
) -> tuple[str, ReportSize]:
    """Return the report of runs and its size. The same runs and options give the same text.

    Args:
        subjects: As in `write_report`.
        options: As in `write_report`.
        bundles: As in `write_report`.
        notes: As in `write_report`.

    Raises:
        PullLogsError: A run cannot be read, or an option is wrong.
    """
    options.check()
    answer = compare_for_report(subjects, options)
    ranking = answer.get("ranking")
    charts = read_charts(
        subjects,
        select=options.select,
        points=options.points,
        first=ranking[0]["metric"] if ranking else None,
    )
    left_out = _left_out_notes(charts)
    facts = report_facts(
        subjects,
        answer,
        options=options,
        bundles=[_identity(bundle) for bundle in bundles],
        notes=[*notes, *left_out],
    )
    text = _document({**facts, "first_step": charts.first_step, "metrics": facts_of(charts)}, charts.charts)
    shown = [chart.facts for chart in charts.charts if chart.facts["name"] != RUNTIME]
    points = sum(sum(metric["points"]) for metric in shown)
    return text, ReportSize(len(subjects), len(shown), points, len(text.encode()), left_out)


def _left_out_notes(charts: Charts) -> list[str]:
    if not charts.left_out:
        return []
    names = joined(charts.left_out, most=_MOST_NAMED)
    count = counted(len(charts.left_out), "metric")
    return [f"{count} without a chart, because one file cannot hold all: {names}; --select chooses"]


def _identity(bundle: Bundle) -> BundleFacts:
    return {
        "name": Path(str(bundle.path)).name.encode("utf-8", "replace").decode("utf-8"),
        "bundle_id": bundle.bundle_id,
        "content_id": bundle.content_id,
    }


def _document(facts: Mapping[str, Any], charts: Sequence[Chart]) -> str:
    """Return the HTML of a page."""
    library = charting_library()
    scripts = [library.script, page_script()]
    styles = [library.style, page_file("page.css")]
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(map(_source, scripts))}",
            f"style-src {' '.join(map(_source, styles))}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    blocks = [
        _element("script", chart.block, f'type="text/plain" id="block-{index}"')
        for index, chart in enumerate(charts)
    ]
    parts = {
        "POLICY": policy,
        "STYLES": "\n".join(_element("style", style) for style in styles),
        "FACTS": _element("script", _json(facts), 'type="application/json" id="facts"'),
        "BLOCKS": "\n".join(blocks),
        "SCRIPTS": "\n".join(_element("script", script) for script in scripts),
    }
    text = page_file("page.html")
    for name in ("POLICY", "STYLES", "SCRIPTS", "BLOCKS", "FACTS"):
        before, _, after = text.partition(f"<!--{name}-->")
        text = f"{before}{parts[name]}{after}"
    return text


def _element(name: str, content: str, attributes: str = "") -> str:
    """Return a script or style element.

    Raises:
        ValueError: The content would end the element.
    """
    if f"</{name}" in content.lower() or "<!--" in content:
        raise ValueError(f"the content of <{name}> would end it")
    return f"<{name}{' ' if attributes else ''}{attributes}>{content}</{name}>"


def _source(text: str) -> str:
    """Return the hash by which a policy names a script or a style."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _json(value: Mapping[str, Any]) -> str:
    """Return JSON that no text in it can end an element with."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text
