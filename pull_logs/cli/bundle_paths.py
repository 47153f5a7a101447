"""How bundles are named on the command line: by a path, or by a URL where only parts of them are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

OUT = click.Path(path_type=Path)
"""A file to write."""

Named = Path | str
"""A bundle to read: a `Path`, or the text of a URL, which `open_bundle` takes."""


def near_or_far(_ctx: click.Context, _param: click.Parameter, value: Any) -> Any:
    """The callback of a parameter that takes bundles to read, paths and URLs alike."""
    return tuple(map(_named, value)) if isinstance(value, tuple) else _named(value)


def near(_ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """The callback of a parameter that takes bundles of which every byte is needed.

    Raises:
        UsageError: One is a URL.
    """
    from pull_logs.errors import UsageError
    from pull_logs.snapshot.format import shown_url

    named = near_or_far(_ctx, param, value)
    for item in named if isinstance(named, tuple) else (named,):
        if isinstance(item, str):
            raise UsageError(
                f"{shown_url(item)!r} is a URL, and all of the bundle is needed",
                hint="download it and name the file",
            )
    return named


def _named(text: str) -> Named:
    from pull_logs.snapshot.format import is_url

    return text if is_url(text) else Path(text)
