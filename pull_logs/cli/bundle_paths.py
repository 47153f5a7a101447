"""How bundles are named on the command line: by a path, or by a URL where only parts of them are read.

Every command takes bundles as arguments and with `-b`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pull_logs.errors import UsageError

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


class _UploadType(_PathType):
    """A path to write, or the URL of an object; a URL is checked when it is first used."""

    name = "path"

    def __init__(self, local: _OutputType) -> None:
        self._local = local

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a path, or the text of a URL."""
        from pull_logs.snapshot.storage import is_object_url

        if isinstance(value, str) and is_object_url(value):
            return value
        return self._local.convert(value, param, ctx)


OUT = _OutputType()
"""A file to write, on this machine alone."""

FILE_OUT = _UploadType(OUT)
"""A file to write, on this machine or on object storage: the command is decorated with `uploads_of`."""

FOLDER_OUT = _UploadType(_OutputType(folder=True))
"""A folder to write, on this machine or on object storage: the command is decorated with `uploads_folder`."""

Named = Path | str
"""A bundle to read: a `Path`, or the text of a URL, which `open_bundle` takes."""

Command = Callable[..., Any]


def named_bundles(_ctx: click.Context, _param: click.Parameter, value: Any) -> Any:
    """Convert a parameter that takes bundles to read, by path or by URL."""
    return tuple(map(_named, value)) if isinstance(value, tuple) else _named(value)


def bundle_argument(
    name: str = "bundle", *, metavar: str = "BUNDLE", count: int | None = 1
) -> Callable[[Command], Command]:
    """Add the bundles of a command, as arguments or with `-b`.

    Args:
        name: The parameter of the command; it gets one bundle if `count` is 1, else all of them.
        metavar: What the help calls them.
        count: How many bundles the command takes; None for one or more.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def call(*arguments: Any, words: Sequence[Named], flagged: Sequence[Named], **options: Any) -> Any:
            bundles = _settled([*words, *flagged], count=count, metavar=metavar)
            return command(*arguments, **{name: bundles[0] if count == 1 else bundles}, **options)

        flag = click.option(
            "-b",
            "--bundle",
            "flagged",
            multiple=True,
            metavar="FILE",
            callback=named_bundles,
            help=f"The same as the argument {metavar.rstrip('.')}.",
        )
        return click.argument("words", nargs=-1, metavar=metavar, callback=named_bundles)(flag(call))

    return decorate


def _settled(given: Sequence[Named], *, count: int | None, metavar: str) -> tuple[Named, ...]:
    """Return the bundles that were named.

    Raises:
        UsageError: None was named, or not as many as the command takes.
    """
    from pull_logs.interface import find_bundles

    context = click.get_current_context()
    bundles = tuple([bundle for name in given for bundle in find_bundles([name])])
    if len(bundles) < (count or 1):
        raise click.UsageError(f"Missing argument '{metavar.split()[len(bundles)]}'.", ctx=context)
    if count is not None and len(bundles) != count:
        takes = "one bundle" if count == 1 else f"{count} bundles"
        raise UsageError(
            f"{context.info_name} takes {takes}, and {len(bundles)} were given",
            hint=f"write: {context.command_path} {metavar}",
        )
    return bundles


def _named(text: str) -> Named:
    from pull_logs.snapshot.format import is_url

    return text if is_url(text) or not text else Path(text)
