"""The options that `fetch` and `refresh` share, and how both end."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pull_logs.cli.bundle_paths import OUT
from pull_logs.cli.render import tell_report
from pull_logs.cli.sharing import made_for_sharing
from pull_logs.errors import FileMissingError, IncompleteError, UsageError

if TYPE_CHECKING:
    from pull_logs.fetch import PullReport


CONCURRENCY = click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    default=32,
    show_default=True,
    help="Most requests in flight, to the API and to storage each.",
)


METRICS = click.option("--metrics", metavar="REGEX", help="Only metrics whose name matches.")


FILES = click.option(
    "--files",
    multiple=True,
    metavar="GLOB",
    help="Run files whose name matches, as in '*.log'; may be repeated. '*' matches slashes too.",
)


MAX_FILE_SIZE = click.option(
    "--max-file-size",
    metavar="SIZE",
    callback=lambda _context, _option, text: None if text is None else size_in_bytes(text),
    help="With --files: leave out files larger than this, as in 500kB, 20MB or 1GiB.",
)


STRICT = click.option(
    "--strict", is_flag=True, help="Incomplete data is an error (exit 4); what is whole is kept."
)


REPORT = click.option(
    "--report-json", type=OUT, metavar="FILE", help="Write what it brought and took as JSON."
)


def size_in_bytes(text: str) -> int:
    """A size of `--max-file-size` in bytes.

    Raises:
        UsageError: It is none.
    """
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,3})?) ?([kKMGT]?)(i?)B?", text.strip())
    if found is None:
        raise UsageError(f"--max-file-size {text!r} is no size", hint="write it as 500kB, 20MB or 1GiB")
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** " KMGT".index(found[2].upper() or " "))


def check_files(files: tuple[str, ...], max_file_size: int | None) -> None:
    """Refuse `--max-file-size` without `--files`.

    Raises:
        UsageError: A size was given without `--files`.
    """
    if max_file_size is not None and not files:
        raise UsageError(
            "--max-file-size is for files, and none were asked for", hint="ask with --files GLOB"
        )


def finish_pull(report: PullReport, *, report_json: Path | None, redact: bool, strict: bool) -> None:
    """Print the report of a pull, write it where asked for, and refuse incomplete runs under `--strict`.

    Raises:
        IncompleteError: A run is incomplete and `strict` is set.
    """
    report = replace(report, seal=made_for_sharing(report.seal, redact=redact))
    tell_report(report)
    if report_json is not None:
        write_json(report_json, report.to_json())
    if strict and report.incomplete:
        raise IncompleteError(
            f"{len(report.incomplete)} of {len(report.runs)} runs are not whole",
            hint="run the same command again",
        )


def check_output(out: Path | None, report_json: Path | None) -> None:
    """Make sure that what comes out can be written, before anything is asked for.

    Raises:
        FileMissingError: A folder is not there.
    """
    for file in (out, report_json):
        if file is not None and not file.parent.is_dir():
            raise FileMissingError(
                f"{str(file)!r} cannot be written: its folder does not exist", hint="make the folder first"
            )


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Write a report as indented JSON.

    Raises:
        FileMissingError: The file cannot be written.
    """
    try:
        file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as exc:
        raise FileMissingError(f"the report {str(file)!r} cannot be written: {exc.strerror}") from exc
