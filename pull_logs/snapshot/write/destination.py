"""Where a command writes: the only check of outputs, which every writer makes before it reads any data.

An output is a local path. Symbolic links are followed, so that a link stays and the file that it names is
replaced. A file that is not a bundle is never replaced without `force`, and neither is a bundle of another
selection: one that has a run that the new bundle would not have, or that was written with other `metrics`. So
without `force` no run is lost. See docs/operations.md, "Replacing a file".
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Collection
from pathlib import Path

from pull_logs.errors import DamageError, FileMissingError, UsageError
from pull_logs.runs import RunPath
from pull_logs.snapshot.disk import disk_errors
from pull_logs.suggestions import counted, listed

FORCE_HINT = "pass --force to replace it, or name another file"

_MOST_NAMED = 3
"""The runs that a message names."""

Output = str | os.PathLike[str]


def check_output_path(out: Output) -> Path:
    """Check that a file or a folder can be written, and return its path with symbolic links followed.

    Args:
        out: The path; nothing needs to exist there.

    Raises:
        UsageError: It is empty, `-`, a URL, or a link that leads in circles.
        FileMissingError: The folder that contains it does not exist.
        PullLogsError: The folder that contains it cannot be written.
    """
    text = os.fspath(out)
    if not text.strip():
        raise UsageError("the output has no name", hint="name a file to write, for example runs.wandb.zip")
    if text == "-":
        raise UsageError("the output cannot be '-', standard output", hint="name a file to write")
    if "://" in text:
        raise UsageError(f"the output {text!r} is a URL", hint="name a local file, and upload it afterwards")
    target = Path(os.path.realpath(text))
    try:
        target.lstat()
    except FileNotFoundError:
        pass
    except OSError as exc:
        raise UsageError(f"{text!r} cannot be written: {exc.strerror}", hint="name another file") from exc
    if target.is_symlink():
        raise UsageError(f"{text!r} cannot be written: its links lead in circles", hint="name another file")
    if not target.parent.is_dir():
        raise FileMissingError(
            f"{text!r} cannot be written: its folder does not exist", hint="make the folder first"
        )
    with disk_errors(Path(text), hint="free some space and try again; nothing was changed"):
        tempfile.TemporaryFile(dir=target.parent).close()
    return target


def check_output_file(out: Output) -> Path:
    """Check that a file can be written, and return its path with symbolic links followed.

    Raises:
        UsageError: See `check_output_path`; or it is a folder or a device.
        FileMissingError: See `check_output_path`.
        PullLogsError: See `check_output_path`.
    """
    target = check_output_path(out)
    text = os.fspath(out)
    if target.is_dir() or text.endswith(("/", os.sep)):
        raise UsageError(f"{text!r} is a folder", hint="name a file to write, for example runs.wandb.zip")
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        raise UsageError(f"{text!r} is not a regular file", hint="name a file to write")
    return target


def check_bundle_output(out: Output, *, force: bool = False) -> Path:
    """Check that a bundle can be written, and return its path with symbolic links followed.

    Args:
        out: The bundle to write.
        force: Whether to replace a file that is not a bundle.

    Raises:
        UsageError: See `check_output_file`; or the file exists and is not a bundle.
        FileMissingError: See `check_output_file`.
        PullLogsError: See `check_output_file`.
    """
    target = check_output_file(out)
    if force or not target.exists():
        return target
    try:
        from pull_logs.snapshot.read import open_bundle

        open_bundle(target).close()
    except (DamageError, FileMissingError) as exc:
        raise UsageError(f"{os.fspath(out)!r} exists and is not a readable bundle", hint=FORCE_HINT) from exc
    return target


def check_same_selection(out: Output, paths: Collection[RunPath], *, metrics: str | None) -> None:
    """Make sure that a new bundle has every run of the bundle that it replaces, and all of its metrics.

    Args:
        out: The bundle to write; it need not exist.
        paths: The runs that the new bundle has.
        metrics: The regular expression of the metrics that the new bundle keeps; None for all.

    Raises:
        UsageError: The existing bundle is of another selection.
    """
    target = Path(os.path.realpath(out))
    if not target.exists():
        return
    from pull_logs.snapshot.read import open_bundle

    with open_bundle(target) as existing:
        kept = set(paths)
        lost = [run.path for run in existing.runs() if run.path not in kept]
        refuse_other_selection(out, lost, before=existing.manifest.metrics, metrics=metrics)


def refuse_other_selection(
    out: Output, lost: Collection[RunPath], *, before: str | None, metrics: str | None
) -> None:
    """Refuse to replace a bundle of another selection.

    Args:
        out: The bundle to write, which exists.
        lost: Its runs that the new bundle would not have.
        before: The regular expression of the metrics that it kept; None for all.
        metrics: That of the new bundle.

    Raises:
        UsageError: It is of another selection.
    """
    text = os.fspath(out)
    if lost:
        named = listed([str(path) for path in sorted(lost)], most=_MOST_NAMED)
        raise UsageError(
            f"{text!r} is a bundle of another selection: it has {counted(len(lost), 'run')} that would be"
            f" lost: {named}",
            hint=FORCE_HINT,
        )
    if metrics and metrics != before:
        kept = "all metrics" if before is None else f"the metrics that match {before!r}"
        raise UsageError(
            f"{text!r} is a bundle of another selection: it has {kept}, and the new one those that match"
            f" {metrics!r}",
            hint=FORCE_HINT,
        )
