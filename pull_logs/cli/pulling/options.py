"""The options that `fetch`, `sync` and `refresh` share."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pull_logs.cli.bundle_paths import FILE_OUT, OUT
from pull_logs.errors import UsageError
from pull_logs.system_errors import from_system_error

if TYPE_CHECKING:
    from pull_logs.analyze import RunCondition
    from pull_logs.fetch import PullOptions, RunFilter


CONCURRENCY = click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    default=32,
    show_default=True,
    help="Most requests at a time, to the API and to storage each.",
)


REQUESTS_PER_MINUTE = click.option(
    "--max-requests-per-minute",
    "requests_per_minute",
    type=click.IntRange(1),
    metavar="N",
    help="Most requests to the API in a minute, evenly spaced; downloads of files are not counted.",
)


METRICS = click.option("--metrics", metavar="REGEX", help="Only metrics whose name matches.")


CONSOLE = click.option("--console", is_flag=True, help="Download console logs too: what the runs printed.")


ARTIFACTS = click.option(
    "--artifacts",
    type=click.Choice(["logged", "used", "all", "references"]),
    help="Artifacts too: those that runs logged, used, or both; 'references' without the bytes of files.",
)


FILES = click.option(
    "--files",
    multiple=True,
    metavar="GLOB",
    help="Run files whose name matches, for example '*.log'; repeatable. '*' also matches slashes.",
)

ENTITY = click.option("--entity", metavar="E", help="Entity of the runs, instead of that of the logs.")
PROJECT = click.option("--project", metavar="P", help="Project of the runs, instead of that of the logs.")
ON_RESTART = click.option(
    "--on-restart",
    type=click.Choice(["offset", "overwrite", "error"]),
    default="offset",
    show_default=True,
    help="What to do, or to expect, if a resumed run starts its steps again.",
)


def _media_patterns(
    _context: click.Context, _option: click.Parameter, texts: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the patterns of `--media`.

    Raises:
        UsageError: One is an argument of the command that follows the flag.
    """
    for text in texts:
        if text != "*" and Path(text).exists():
            raise UsageError(
                f"--media takes {text!r} for a pattern, and it is a file or a folder",
                hint="write --media='*', or the flag after the arguments",
            )
    return texts


MEDIA = click.option(
    "--media",
    is_flag=False,
    flag_value="*",
    multiple=True,
    metavar="[GLOB]",
    callback=_media_patterns,
    help="Tables, images and other media that rows point to: all, or those whose key or name matches.",
)


MAX_FILE_SIZE = click.option(
    "--max-file-size",
    metavar="SIZE",
    callback=lambda _context, _option, text: None if text is None else size_in_bytes(text),
    help="With --files: leave out files larger than this, for example 500kB, 20MB or 1GiB.",
)


PRUNE = click.option(
    "--prune", is_flag=True, help="Drop runs that W&B no longer has; otherwise they are kept in the bundle."
)


VIA = click.option(
    "--via",
    type=click.Choice(["auto", "graphql", "sdk"]),
    default="auto",
    show_default=True,
    help="Read with own queries, with the W&B SDK (slower), or with the SDK only if W&B rejects a query.",
)


STRICT = click.option(
    "--strict", is_flag=True, help="Exit with 4 if a run is incomplete; the bundle is written nevertheless."
)


_REPORT = "Write a report about the runs and the requests as JSON."

REPORT = click.option("--report-json", type=OUT, metavar="FILE", help=_REPORT)
"""The report of a command, on this machine."""

UPLOADED_REPORT = click.option("--report-json", type=FILE_OUT, metavar="FILE", help=_REPORT)
"""The report of a command that is decorated with `uploads_of("report_json")`."""


def size_in_bytes(text: str) -> int:
    """Convert a size of `--max-file-size` to bytes.

    Raises:
        UsageError: The text is not a size.
    """
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,3})?) ?([kKMGT]?)(i?)B?", text.strip())
    if found is None:
        raise UsageError(f"--max-file-size {text!r} is not a size", hint="write it as 500kB, 20MB or 1GiB")
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** " KMGT".index(found[2].upper() or " "))


def run_filter(condition: RunCondition | None) -> RunFilter | None:
    """Return the filter of a download that keeps the runs for which a condition holds; None keeps all."""
    from pull_logs.fetch import RunFilter

    if condition is None:
        return None
    return RunFilter(text=condition.text, holds=condition.holds, prefilter=condition.prefilter)


def take_pull_options(options: dict[str, Any]) -> PullOptions:
    """Remove the options of a pull from the options of a command and return them.

    Raises:
        UsageError: One of them is invalid, or `--max-file-size` is given without `--files`.
    """
    from pull_logs.fetch import PullOptions

    check_file_options((*options["files"], *options.get("media", ())), options["max_file_size"])
    names = (
        "metrics",
        "system",
        "console",
        "artifacts",
        "files",
        "media",
        "max_file_size",
        "concurrency",
        "requests_per_minute",
        "fresh",
        "force",
        "prune",
        "via",
    )
    taken = {name: options.pop(name) for name in names if name in options}
    return PullOptions(**taken, processes=os.cpu_count() or 1)


def check_file_options(
    files: Sequence[str], max_file_size: int | None, *, follow_links: bool = False
) -> None:
    """Make sure that options about files are given with `--files`.

    Raises:
        UsageError: One of them is given without it.
    """
    flag = "--max-file-size" if max_file_size is not None else "--follow-links" if follow_links else ""
    if flag and not files:
        raise UsageError(f"{flag} is given without --files", hint="name files with --files GLOB")


def check_report(report_json: Path | None, *, force: bool) -> None:
    """Check that a report may be written, before anything is requested.

    Raises:
        UsageError: The file exists and is not a report, and `force` is not set.
    """
    if report_json is None or force or not report_json.exists():
        return
    try:
        known = json.loads(report_json.read_bytes())
    except (OSError, ValueError):
        known = None
    if not isinstance(known, dict) or not {"runs", "requests"} <= known.keys():
        raise UsageError(
            f"{str(report_json)!r} exists and is not a report",
            hint="pass --force to replace it, or name another file",
        )


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Write a report as indented JSON.

    Raises:
        FileMissingError: The file cannot be written.
    """
    try:
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        file.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as exc:
        raise from_system_error(exc, path=file, action="written") from exc
