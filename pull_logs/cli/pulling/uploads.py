"""Files that are written to object storage: made on this machine, and uploaded when they are complete.

A command writes to a file in the cache of this user, so that an interrupted download continues there, and the
object is replaced by one upload. What is at the URL already is downloaded first: it is brought up to date, or
must not be replaced, as a file is. The object is replaced only if it is still what it was when the command
began. A file that did not change is not uploaded again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pull_logs.cli.notes import warn
from pull_logs.errors import FileMissingError, IncompleteError, RegressionError, UsageError

if TYPE_CHECKING:
    from pull_logs.snapshot.storage import ObjectVersion

Command = Callable[..., Any]

_HINT = "free some space and run the same command again"


def uploads_of(*parameters: str) -> Callable[[Command], Command]:
    """Let a command write objects: the files that these parameters name may be URLs.

    A dry run writes no bundle: `out` is then None.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def call(*arguments: Any, **options: Any) -> Any:
            with ExitStack() as stack:
                for name in parameters:
                    url = options[name]
                    if not isinstance(url, str):
                        continue
                    if name == "out" and options.get("dry_run"):
                        options[name] = None
                        continue
                    options[name] = stack.enter_context(staged(url, force=bool(options.get("force"))))
                return command(*arguments, **options)

        return call

    return decorate


uploads = uploads_of("out")
"""Let a command that writes the file `out` also write an object, whose URL is then `out`."""


def replaces(command: Command) -> Command:
    """Let a command that replaces the file `bundle`, unless `out` names another, also replace an object.

    What is at the URL is downloaded, because all of it is written again.
    """

    @wraps(command)
    def call(*arguments: Any, bundle: Path | str, out: Path | str | None, **options: Any) -> Any:
        out = None if out == bundle else out
        if not isinstance(bundle, str) or bundle.endswith("/"):  # a prefix is a bundle set
            return command(*arguments, bundle=bundle, out=out, **options)
        if out is None:
            _check_replaceable(bundle)
        with staged(bundle, force=False, exists=True, publish=out is None) as local:
            return command(*arguments, bundle=local, out=out, **options)

    return call


def _check_replaceable(url: str) -> None:
    """Make sure that there may be an object of ours at a URL.

    Raises:
        UsageError: It is not that of object storage.
    """
    from pull_logs.snapshot.format import shown_url
    from pull_logs.snapshot.storage import is_object_url

    if not is_object_url(url):
        raise UsageError(
            f"{shown_url(url)!r} cannot be replaced, because it is not on object storage",
            hint="write another bundle with -o FILE, and upload it",
        )


@contextmanager
def staged(url: str, *, force: bool, exists: bool = False, publish: bool = True) -> Iterator[Path]:
    """Yield the file to write; it is uploaded at the end of the block, and then removed.

    Args:
        url: The object.
        force: Whether what is there is replaced without a look at it.
        exists: Whether there has to be an object.
        publish: Whether the file is uploaded; otherwise it is only read.

    Raises:
        PullLogsError: The object cannot be read or written, or was written by another program meanwhile; or
            the block fails, and nothing is uploaded, unless it fails because of what it has written.
    """
    from pull_logs.cli.render import naming
    from pull_logs.snapshot import disk_errors
    from pull_logs.snapshot.format import shown_url
    from pull_logs.snapshot.storage import object_version
    from pull_logs.snapshot.write import FolderLock

    shown = shown_url(url)
    local = _staging_file(shown)
    with ExitStack() as stack:
        with naming(local.parent, shown), disk_errors(local, hint=_HINT):
            stack.callback(FolderLock(local.parent).release)
        version = object_version(url, shown=shown)
        if exists and version is None:
            raise FileMissingError(f"there is no file at {shown!r}")
        file = _Staging(url, shown, local, version)
        file.prepare(look=not force)
        stack.enter_context(naming(local, shown))
        try:
            yield local
        except (IncompleteError, RegressionError):  # what was written says so too
            if publish:
                file.publish()
            raise
        except BaseException:
            local.unlink(missing_ok=True)
            raise
        if publish:
            file.publish()
        else:
            local.unlink(missing_ok=True)


@contextmanager
def written(out: Path | str, *, force: bool) -> Iterator[Path]:
    """Yield the file to write: a path as it is, of a URL as `staged` does."""
    if isinstance(out, str):
        with staged(out, force=force) as local:
            yield local
    else:
        yield out


@dataclass(slots=True)
class _Staging:
    """An object, and the file from which it is uploaded.

    Attributes:
        url: The object.
        shown: The part of its URL that may be shown.
        local: The file.
        version: What the object was at the beginning.
        before: The SHA-256 of what was downloaded; None if nothing was.
    """

    url: str
    shown: str
    local: Path
    version: ObjectVersion | None
    before: str | None = None

    @property
    def _pending(self) -> Path:
        """The file that says of which version of the object a file is that could not be uploaded."""
        return self.local.with_name(f"{self.local.name}.pending")

    @property
    def _state(self) -> str:
        return "none" if self.version is None else self.version.text

    def prepare(self, *, look: bool) -> None:
        """Download what is there; a file that could not be uploaded is kept if the object is as before."""
        from pull_logs.snapshot import disk_errors
        from pull_logs.snapshot.storage import download_object

        pending = self._pending
        with disk_errors(self.local, hint=_HINT):
            kept = look and self.local.exists() and pending.exists() and pending.read_text() == self._state
            if not kept:
                self._forget()
            pending.unlink(missing_ok=True)
        if look and self.version is not None and not kept:
            download_object(self.url, self.local, shown=self.shown)
            self.before = _digest(self.local)

    def publish(self) -> None:
        """Upload the file, if there is one and it is not what was downloaded; then remove it."""
        from pull_logs.snapshot import disk_errors, write_file
        from pull_logs.snapshot.storage import Unchanged, upload_file

        if not self.local.exists():
            return
        if self.before is not None and self.before == _digest(self.local):
            warn(f"{self.shown} has these bytes already; nothing was uploaded")
        else:
            with disk_errors(self.local, hint=_HINT):
                write_file(self._pending, self._state.encode())
            done = upload_file(self.local, self.url, shown=self.shown, condition=Unchanged(self.version))
            click.echo(
                f"{done.shown}: {done.bytes / 1e6:.2f} MB uploaded,"
                f" {done.compared} bytes of it read again and compared",
                err=True,
            )
        with disk_errors(self.local, hint=_HINT):
            self.local.unlink()
            self._pending.unlink(missing_ok=True)

    def _forget(self) -> None:
        """Remove a file that was not uploaded, and the note that it may be used."""
        from pull_logs.snapshot import sync_folder

        self.local.unlink(missing_ok=True)
        self._pending.unlink(missing_ok=True)
        sync_folder(
            self.local.parent
        )  # otherwise a loss of power may leave the note, and a part of a new file


def uploads_folder(
    *, last: Callable[..., str] = lambda **_: "", ours: Callable[[Sequence[str]], bool] = lambda _: False
) -> Callable[[Command], Command]:
    """Let a command that creates the folder `out` write objects under a prefix, whose URL is then `out`.

    Args:
        last: Returns the file that is uploaded after all others, from the options of the command.
        ours: Returns whether the objects that are there may be replaced with `--force`, by their names.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def call(*arguments: Any, out: Path | str | None, **options: Any) -> Any:
            if not isinstance(out, str):
                return command(*arguments, out=out, **options)
            with _staged_folder(
                out, force=bool(options.get("force")), last=last(**options), ours=ours
            ) as folder:
                return command(*arguments, out=folder, **options)

        return call

    return decorate


@contextmanager
def _staged_folder(
    url: str, *, force: bool, last: str, ours: Callable[[Sequence[str]], bool]
) -> Iterator[Path]:
    """Yield the folder to create; its files are uploaded at the end of the block.

    Raises:
        UsageError: There are objects, and they must not be replaced.
        PullLogsError: The objects cannot be listed or written.
    """
    from pull_logs.cli.render import naming
    from pull_logs.snapshot import temporary_folder
    from pull_logs.snapshot.format import shown_url
    from pull_logs.snapshot.storage import list_objects, upload_folder

    url = url if url.endswith("/") else f"{url}/"
    shown = shown_url(url)
    names = list(list_objects(url, shown=shown))
    if names and not ours(names):
        raise UsageError(
            f"there are other files at {shown!r}, such as {names[0]!r}", hint="name a prefix without objects"
        )
    if names and not force:
        raise UsageError(f"{shown!r} already exists", hint="pass --force to replace it")
    with temporary_folder(_cache()) as temporary:
        folder = temporary / "out"
        with naming(folder, shown.rstrip("/")):
            yield folder
            size = upload_folder(folder, url, shown=shown, last=last, before=names)
    click.echo(f"{shown}: {size / 1e6:.2f} MB uploaded", err=True)


def _cache() -> Path:
    from platformdirs import user_cache_path

    return _made(user_cache_path("wandb-pull-logs-uploads", appauthor=False))


def _made(folder: Path) -> Path:
    """Create a folder that this user alone reads, and return it."""
    from pull_logs.snapshot import disk_errors, make_folder

    with disk_errors(folder, hint=_HINT):
        make_folder(folder, mode=0o700)
    return folder


def _staging_file(shown: str) -> Path:
    """Return where the file of a URL is made: always the same file, so that a download continues."""
    name = shown.rpartition("/")[2]
    if not name:
        raise UsageError(f"{shown!r} names no object", hint="add a name: s3://bucket/folder/runs.wandb.zip")
    return _made(_cache() / hashlib.sha256(shown.encode()).hexdigest()[:16]) / name


def _digest(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
