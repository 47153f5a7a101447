"""`set`: a folder of bundles with a catalog of their runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import click

from pull_logs.cli.bundle_paths import Named, named_bundles
from pull_logs.cli.commands.diff import diff
from pull_logs.cli.formats import format_options, take_choice
from pull_logs.cli.output import print_result
from pull_logs.cli.spelling import SpellingGroup
from pull_logs.errors import UsageError
from pull_logs.suggestions import numbered

if TYPE_CHECKING:
    from pull_logs.cli.sections.sets import SetChange
    from pull_logs.snapshot import BundleSet

_UNITS = {"": 1, "B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30}

_SET = click.argument("folder", metavar="SET", callback=named_bundles)


@click.group("set", cls=SpellingGroup, invoke_without_command=True)
@click.pass_context
def set_group(ctx: click.Context, /) -> None:
    """Keep many bundles in a folder with a catalog of their runs; -b SET opens them as one bundle."""
    if ctx.invoked_subcommand is None:
        raise UsageError("set needs a command", hint="write: pull-logs set add SET BUNDLE")


set_group.add_command(copy(resolve_name("pull_logs.cli.commands.proofs.verify:verify")), "verify")
set_group.add_command(copy(diff), "diff")


@set_group.command("add")
@_SET
@click.argument("bundles", nargs=-1, required=True, metavar="BUNDLE...")
@click.option(
    "--prefer",
    type=click.Choice(["newest", "first"]),
    help="If versions of a run disagree: take the one last seen by W&B, or that of the set.",
)
@click.option("--keep", is_flag=True, help="Copy the files, and leave them where they are.")
@format_options()
def add(folder: Named, bundles: tuple[str, ...], prefer: Any, *, keep: bool, **options: Any) -> None:
    """Move bundles into a set, after a check of every byte; a new folder becomes a set.

    A run that the set has already is replaced by the version that has all that the other one has. If two
    versions disagree, nothing is changed (exit 2), unless --prefer says which to take.
    """
    from pull_logs.cli.sections.sets import add_changes
    from pull_logs.interface import find_bundles
    from pull_logs.snapshot import add_bundles, open_store

    choice = take_choice(options)
    files = [Path(found) for found in find_bundles(bundles)]
    report = add_bundles(open_store(folder, create=True), files, prefer=prefer, keep=keep)
    same = report.unchanged
    notes = [f"{same} {numbered(same, 'run was', 'runs were')} in the set just like this"] if same else []
    _print(folder, "add", choice, notes=notes, changes=lambda opened: add_changes(report, opened))


@set_group.command("drop")
@_SET
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@format_options()
def drop(folder: Named, runs: tuple[str, ...], **options: Any) -> None:
    """Drop runs from a set; `set compact` removes their data from its files."""
    from pull_logs.snapshot import drop_runs, open_store

    choice = take_choice(options)
    _, dropped = drop_runs(open_store(folder), runs)
    changes: list[SetChange] = [
        {"name": str(path), "change": "dropped", "member": None, "reason": None} for path in dropped
    ]
    _print(folder, "drop", choice, changes=lambda _opened: changes)


@set_group.command("refresh", context_settings={"ignore_unknown_options": True})
@_SET
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS OF refresh]")
def refresh(folder: Named, options: tuple[str, ...]) -> None:
    """Bring the unfinished and incomplete runs of a set up to date with W&B, as `refresh` does.

    A run that W&B no longer has stays as it was. The new states become a new member.
    """
    from pull_logs.runs import LIVE_STATES
    from pull_logs.snapshot import add_bundles, open_bundle_set, subset_bundle

    with open_bundle_set(folder) as opened, opened.store.scratch() as scratch:
        unfinished = [
            run
            for run in opened.runs()
            if run.host is not None and (run.state in LIVE_STATES or not run.complete)
        ]
        kinds = {run.bundle_metrics for run in unfinished}
        if not unfinished:
            click.echo("pull-logs: note: every run is finished and complete", err=True)
        for number, metrics in enumerate(sorted(kinds, key=str)):
            file = scratch / f"refresh{number}.wandb.zip"
            subset_bundle([run for run in unfinished if run.bundle_metrics == metrics], file)
            command: click.Command = resolve_name("pull_logs.cli.commands.refresh:refresh")
            command.main([str(file), *options], prog_name="pull-logs refresh", standalone_mode=False)
            add_bundles(opened.store, [file], prefer="newest")


@set_group.command("compact")
@_SET
@click.option(
    "--size",
    default="256MB",
    show_default=True,
    metavar="SIZE",
    help="About how large the new members are; those of less than half of it are copied into them.",
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=3600.0,
    show_default=True,
    metavar="SECONDS",
    help="For so long, what was replaced is kept for those who read it.",
)
@format_options()
def compact(folder: Named, size: str, grace: float, **options: Any) -> None:
    """Make few large members of many small ones, without dropped and replaced runs."""
    from pull_logs.cli.sections.sets import compact_changes, waiting_note
    from pull_logs.snapshot import open_store
    from pull_logs.snapshot.sets import compact_set

    choice = take_choice(options)
    report = compact_set(open_store(folder), size=_bytes(size), grace=grace)
    _print(
        folder, "compact", choice, notes=waiting_note(report), changes=lambda _opened: compact_changes(report)
    )


@set_group.command("list")
@_SET
@format_options()
def list_members(folder: Named, **options: Any) -> None:
    """List the members of a set, and bundles in its folder that are none."""
    _print(folder, "list", take_choice(options), members=True)


@set_group.command("info")
@_SET
@format_options()
def info(folder: Named, **options: Any) -> None:
    """Show the version, the runs and the size of a set; `pull-logs info SET` shows each run."""
    _print(folder, "info", take_choice(options))


def _print(
    folder: Named,
    command: str,
    choice: Any,
    *,
    members: bool = False,
    notes: Sequence[str] = (),
    changes: Callable[[BundleSet], Sequence[SetChange]] = lambda _opened: (),
) -> None:
    from pull_logs.cli.render import json_lines
    from pull_logs.cli.sections.sets import set_object, set_sections
    from pull_logs.snapshot import open_bundle_set

    with open_bundle_set(folder) as opened:
        answer = set_object(opened, command, changes=changes(opened), notes=notes)
    print_result(
        choice,
        sections=lambda: set_sections(answer, members=members),
        json=lambda: json_lines(answer),
    )


def _bytes(text: str) -> int:
    """Return the bytes of a size such as `256MB`.

    Raises:
        UsageError: It is not a size.
    """
    number = text.upper().rstrip("BKMG")
    unit = text.upper()[len(number) :]
    if not number.isdigit() or not int(number) or unit not in _UNITS:
        raise UsageError(f"--size {text!r} is not a size", hint="write for example 256MB or 1GB")
    return int(number) * _UNITS[unit]
