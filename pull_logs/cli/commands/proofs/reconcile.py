"""`reconcile`: what of local logs arrived in a bundle, or at W&B."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pull_logs.cli.bundle_paths import Named, named_bundles
from pull_logs.cli.formats import format_options, take_choice
from pull_logs.cli.notes import warn
from pull_logs.cli.options import text_budget_option
from pull_logs.cli.output import print_result, take_text_budget
from pull_logs.cli.pulling import ENTITY, ON_RESTART, PROJECT, count_display, progress_display
from pull_logs.errors import DifferenceError, RunNotFoundError
from pull_logs.suggestions import counted, numbered

if TYPE_CHECKING:
    from pull_logs.cli.sections.proofs import Reconciliation
    from pull_logs.runs import RunPath
    from pull_logs.snapshot import Run
    from pull_logs.sources import OnRestart

_FOLDER = click.Path(path_type=Path, readable=False)


@click.command()
@click.argument("folders", nargs=-1, required=True, metavar="RUN_DIR...", type=_FOLDER)
@click.option(
    "-b",
    "--bundle",
    "bundles",
    multiple=True,
    metavar="FILE",
    callback=named_bundles,
    help="The bundle to compare with; without it, the runs are downloaded from W&B.",
)
@click.option(
    "-r",
    "--run",
    "runs",
    multiple=True,
    metavar="PATH",
    help="Only this run of the bundle or of W&B; of a single one, the id may differ from that of the log.",
)
@ENTITY
@PROJECT
@ON_RESTART
@click.option("--offline", is_flag=True, envvar="PULL_LOGS_OFFLINE", help="Never use the network.")
@format_options()
@text_budget_option
def reconcile(
    folders: tuple[Path, ...],
    *,
    bundles: tuple[Named, ...],
    runs: tuple[str, ...],
    entity: str | None,
    project: str | None,
    on_restart: OnRestart,
    offline: bool,
    **options: Any,
) -> None:
    """Compare local W&B run folders with a bundle or with W&B: which logged rows did not arrive.

    A logged row is missing, overwritten by other values of its step, or moved to another step; a stored row
    that was not logged is extra. Log calls that the SDK ignored are reported too. Exits with 7 if anything
    differs.
    """
    choice = take_choice(options)
    max_tokens = take_text_budget(options, choice, command="reconcile")
    from pull_logs.cli.render import json_text
    from pull_logs.cli.sections import reconcile_object, reconcile_sections
    from pull_logs.proof import match_runs, reconcile_run
    from pull_logs.sources import ignored_calls

    with ExitStack() as stack:
        logged, notes = stack.enter_context(
            _open_logs(folders, entity=entity, project=project, on_restart=on_restart)
        )
        opened = _open_stored(
            stack, [run.path for run in logged], bundles=bundles, runs=runs, offline=offline
        )
        found = match_runs([run.path for run in logged], opened)
        if runs:
            logged = _named(logged, found, runs)
        ignored = ignored_calls(folders)
        result = reconcile_object(
            [reconcile_run(run, found[run.path], ignored.get(run.path.run_id)) for run in logged],
            against=_against(bundles),
            notes=notes,
        )
    for note in notes:
        warn(note)
    print_result(
        choice,
        sections=lambda: reconcile_sections(result),
        json=lambda: json_text(result),
        max_tokens=max_tokens,
    )
    _require_equal(result)


@contextmanager
def _open_logs(
    folders: Sequence[Path], *, entity: str | None, project: str | None, on_restart: OnRestart
) -> Iterator[tuple[Sequence[Run], Sequence[str]]]:
    """Read the runs of local folders into a temporary bundle; return them, and the notes about the logs."""
    from pull_logs.snapshot import open_bundle, temporary_folder, write_bundle
    from pull_logs.sources import read_run_dirs

    with temporary_folder() as scratch:
        (scratch / "rows").mkdir()
        with count_display("logs", ending="comparing the rows") as hook:
            read = read_run_dirs(
                folders,
                scratch=scratch / "rows",
                entity=entity,
                project=project,
                on_restart=on_restart,
                progress=hook,
            )
        write_bundle(scratch / "logs.wandb.zip", read.runs)
        with open_bundle(scratch / "logs.wandb.zip") as bundle:
            yield tuple(bundle.runs()), read.notes


def _open_stored(
    stack: ExitStack,
    paths: Sequence[RunPath],
    *,
    bundles: Sequence[Named],
    runs: Sequence[str],
    offline: bool,
) -> list[Run]:
    """Open the runs that were named; without names all runs of the bundles, or those of the logs at W&B."""
    from pull_logs.interface import Sources, distinct_runs, open_subjects

    def opened(names: Sequence[str]) -> list[Run]:
        sources = Sources(
            bundles=tuple(bundles), runs=tuple(names), refresh=not (bundles or offline), offline=offline
        )
        return distinct_runs(
            stack.enter_context(open_subjects(sources, report=warn, display=progress_display))
        )

    if bundles or runs:
        return opened(runs)
    names = [_name_at_wandb(path) for path in paths]
    try:
        return opened(names)
    except RunNotFoundError:
        return [run for name in names for run in _if_found(opened, name)]


def _if_found(opened: Any, name: str) -> list[Run]:
    """Return the run of a name; nothing if W&B does not have it."""
    try:
        return list(opened([name]))
    except RunNotFoundError:
        return []


def _name_at_wandb(path: RunPath) -> str:
    """Return how a run of a log is named at W&B: without an entity that the log does not have."""
    from pull_logs.sources import DEFAULT_ENTITY

    return f"{path.project}/{path.run_id}" if path.entity == DEFAULT_ENTITY else str(path)


def _named(logged: Sequence[Run], found: dict[RunPath, Run | None], names: Sequence[str]) -> list[Run]:
    """Return the runs of the logs that were named with -r.

    Raises:
        RunNotFoundError: None of them was.
    """
    chosen = [run for run in logged if found[run.path] is not None]
    if not chosen:
        raise RunNotFoundError(
            f"the logs have none of the runs {', '.join(map(repr, names))}; they have "
            + ", ".join(repr(str(run.path)) for run in logged[:5]),
            hint="name one run folder and one run to compare them whatever their ids",
        )
    return chosen


def _against(bundles: Sequence[Named]) -> list[str]:
    """Return what the logs were compared with: the bundles, or the host of W&B."""
    if bundles:
        return list(map(str, bundles))
    from pull_logs.fetch import load_settings

    return [load_settings().host]


def _require_equal(result: Reconciliation) -> None:
    """Make sure that all that was logged is stored.

    Raises:
        DifferenceError: A run differs, or is not stored.
    """
    of = f"of {counted(len(result['runs']), 'logged run')}"
    different, lost = result["different"], result["not_stored"]
    parts = []
    if different:
        parts.append(f"{different} {of} {numbered(different, 'differs', 'differ')} from what is stored")
    if lost:
        parts.append(f"{lost} {of} {numbered(lost, 'is', 'are')} not stored")
    if parts:
        hint = "--entity and --project name where the runs are, if they are stored elsewhere" if lost else ""
        raise DifferenceError(", and ".join(parts), hint=hint)
