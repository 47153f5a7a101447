"""How messages name an output: the URL of an object, and not the local file from which it is uploaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from pull_logs.errors import PullLogsError

_NAMES = "pull_logs.output_names"


@contextmanager
def naming(local: Path, shown: str) -> Iterator[None]:
    """Name a local file or folder by a URL while the block runs, in errors too."""
    context = click.get_current_context(silent=True)
    names: dict[str, str] = {} if context is None else context.meta.setdefault(_NAMES, {})
    names[str(local)] = shown
    try:
        yield
    except PullLogsError as exc:
        exc.message = exc.message.replace(str(local), shown)
        exc.hint = exc.hint.replace(str(local), shown)
        raise
    finally:
        del names[str(local)]


def output_name(path: Path | str) -> str:
    """Return how a message names an output."""
    context = click.get_current_context(silent=True)
    names = {} if context is None else context.meta.get(_NAMES, {})
    return str(names.get(str(path), path))
