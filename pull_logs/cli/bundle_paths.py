"""How bundles are named on the command line: by a path, or by a URL where only parts of them are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    _PathType = click.ParamType[Path]
else:  # older releases of click do not have generic types
    _PathType = click.ParamType


class _OutputType(_PathType):
    """The path of a file or a folder to write, checked before anything is read or requested."""

    name = "path"

    def __init__(self, *, folder: bool = False) -> None:
        self._folder = folder

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,  # noqa: ARG002 - click's signature
        ctx: click.Context | None,  # noqa: ARG002 - click's signature
    ) -> Path:
        """Return the path.

        Raises:
            UsageError: It cannot be the name of a file or a folder to write.
            FileMissingError: The folder that contains it does not exist.
            PullLogsError: The folder that contains it cannot be written.
        """
        from pull_logs.snapshot.write import check_output_file, check_output_path

        if isinstance(value, Path):  # the default of an option
            return value
        (check_output_path if self._folder else check_output_file)(value)
        return Path(value)


OUT = _OutputType()
"""A file to write."""

OUT_FOLDER = _OutputType(folder=True)
"""A folder to write."""

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
