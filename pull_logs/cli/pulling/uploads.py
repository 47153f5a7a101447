"""Bundles that are written to object storage: made on this machine, and uploaded when they are complete.

A command writes to a file in the cache of this user, so that an interrupted download continues there, and the
object is replaced by one upload. What is at the URL already is downloaded first: it is brought up to date, or
must not be replaced, as a file is. A bundle that did not change is not uploaded again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click

from pull_logs.cli.notes import warn
from pull_logs.errors import UsageError

Command = Callable[..., Any]

_CHUNK = 1 << 20
_HINT = "free some space and run the same command again"


def uploads(command: Command) -> Command:
    """Let a command that writes the bundle `out` also write an object, whose URL is then `out`."""

    @wraps(command)
    def call(*arguments: Any, out: Path | str | None, **options: Any) -> Any:
        if not isinstance(out, str):
            return command(*arguments, out=out, **options)
        if options.get("dry_run"):
            return command(*arguments, out=None, **options)
        with staged(out, force=bool(options.get("force"))) as local:
            return command(*arguments, out=local, **options)

    return call


@contextmanager
def staged(url: str, *, force: bool) -> Iterator[Path]:
    """Yield the file to write; it is uploaded at the end of the block, and then removed.

    Args:
        url: The object.
        force: Whether what is there is replaced without a look at it.

    Raises:
        PullLogsError: The object cannot be read or written; or the block fails, and nothing is uploaded.
    """
    from pull_logs.snapshot import disk_errors, write_file
    from pull_logs.snapshot.format import shown_url
    from pull_logs.snapshot.storage import download_object, object_state, upload_file

    shown = shown_url(url)
    local = _staging_file(shown)
    state = None if force else object_state(url, shown=shown)
    pending = local.with_name(f"{local.name}.pending")
    # A bundle that could not be uploaded is still here: it is brought up to date if the object is as before.
    kept = local.exists() and pending.exists() and pending.read_text() == str(state)
    with disk_errors(local, hint=_HINT):
        if not kept:
            _forget(local, pending)
        pending.unlink(missing_ok=True)
    if state is not None and not kept:
        download_object(url, local, shown=shown)
    before = None if kept else _digest(local)
    try:
        yield local
    except BaseException:
        local.unlink(missing_ok=True)
        raise
    if not local.exists():
        return
    if before is not None and before == _digest(local):
        warn(f"{shown} has these bytes already; nothing was uploaded")
    else:
        with disk_errors(local, hint=_HINT):
            write_file(pending, str(state).encode())
        done = upload_file(local, url, shown=shown)
        click.echo(
            f"{done.shown}: {done.bytes / 1e6:.2f} MB uploaded, {done.compared} bytes of it read again and"
            " compared",
            err=True,
        )
    with disk_errors(local, hint=_HINT):
        local.unlink()
        pending.unlink(missing_ok=True)


def _forget(local: Path, pending: Path) -> None:
    """Remove a bundle that was not uploaded, and the note that it may be used."""
    from pull_logs.snapshot import sync_folder

    local.unlink(missing_ok=True)
    pending.unlink(missing_ok=True)
    sync_folder(local.parent)  # otherwise a loss of power may leave the note, and a part of what comes next


def _staging_file(shown: str) -> Path:
    """Return where the bundle of a URL is made: always the same file, so that a download continues."""
    from platformdirs import user_cache_path

    from pull_logs.snapshot import disk_errors, make_folder

    name = shown.rpartition("/")[2]
    if not name:
        raise UsageError(f"{shown!r} names no object", hint="add a name: s3://bucket/folder/runs.wandb.zip")
    key = hashlib.sha256(shown.encode()).hexdigest()[:16]
    folder = user_cache_path("wandb-pull-logs-uploads", appauthor=False) / key
    with disk_errors(folder, hint=_HINT):
        make_folder(folder, mode=0o700)
    return folder / name


def _digest(file: Path) -> str | None:
    """Return the SHA-256 of a file; None if there is none."""
    if not file.exists():
        return None
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
