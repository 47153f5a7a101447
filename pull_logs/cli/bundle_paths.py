"""How bundles are named on the command line: by a path, or by a URL where only parts of them are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

OUT = click.Path(path_type=Path, readable=False)
"""A file to write."""

Named = Path | str
"""A bundle to read: a `Path`, or the text of a URL, which `open_bundle` takes."""


def near_or_far(_ctx: click.Context, _param: click.Parameter, value: Any) -> Any:
    """Convert a parameter that takes bundles to read, by path or by URL."""
    return tuple(map(_named, value)) if isinstance(value, tuple) else _named(value)


def near(_ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Convert a parameter that takes bundles to read completely, which a URL cannot name.

    Raises:
        UsageError: One is a URL.
    """
    from pull_logs.errors import UsageError
    from pull_logs.snapshot.format import shown_url

    named = near_or_far(_ctx, param, value)
    for item in named if isinstance(named, tuple) else (named,):
        if isinstance(item, str):
            raise UsageError(
                f"{shown_url(item)!r} is a URL, and this command needs the complete bundle",
                hint="download it and give the path of the file",
            )
    return named


def _named(text: str) -> Named:
    from pull_logs.snapshot.format import is_url

    return text if is_url(text) else Path(text)
