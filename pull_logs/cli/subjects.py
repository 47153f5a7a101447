"""From the sources on a command line to labelled runs, wherever they are kept.

With `-b` everything is looked up in the bundles and the network is never
touched. Without it, checkpoints and run paths are asked of W&B through the
local cache, and a local W&B run folder is read where it lies.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pull_logs.cli.options import Sources
from pull_logs.errors import RunNotFoundError
from pull_logs.runs import RunReference

if TYPE_CHECKING:
    from pull_logs.analyze import Subject
    from pull_logs.snapshot import Bundle, Run
    from pull_logs.sources import CheckpointRun


@dataclass(frozen=True, slots=True)
class _Found:
    """A run, what it was read from, and the checkpoint that named it."""

    run: Run
    source: str
    checkpoint: CheckpointRun | None = None


@contextmanager
def open_subjects(sources: Sources) -> Iterator[tuple[Subject, ...]]:
    """The runs of `sources`, labelled in the order they were named; closed on leaving.

    Raises:
        UsageError: Nothing was named, or the flags contradict each other.
        NotFoundError: A file, checkpoint or run is not there.
        AccessError: W&B had to be asked and could not be.
        DamageError: A bundle or a checkpoint is damaged or unsafe.
    """
    sources.check()
    with ExitStack() as stack:
        checkpoints = _read_checkpoints(sources)
        found = (
            _from_bundles(sources, checkpoints, stack)
            if sources.bundles
            else _from_elsewhere(sources, checkpoints, stack)
        )
        if sources.keep is not None:
            found = _filtered(found, sources.keep)
        yield _labelled(found)


def _labelled(found: Sequence[_Found]) -> tuple[Subject, ...]:
    from pull_logs.analyze import Subject, label

    return tuple(
        Subject(
            label=label(index),
            run=item.run,
            checkpoint=str(item.checkpoint.file) if item.checkpoint else None,
            checkpoint_step=item.checkpoint.step if item.checkpoint else None,
            source=item.source,
        )
        for index, item in enumerate(found)
    )


def _filtered(found: Sequence[_Found], text: str) -> list[_Found]:
    from pull_logs.analyze import keep_runs

    kept = keep_runs([item.run.info for item in found], text)
    if not any(kept):
        raise RunNotFoundError(
            f"none of the {len(found)} runs holds for --filter {text!r}",
            hint="look at the runs without --filter first",
        )
    return [item for item, keep in zip(found, kept, strict=True) if keep]


def _read_checkpoints(sources: Sources) -> list[CheckpointRun]:
    if not sources.checkpoints:
        return []
    from pull_logs.sources import find_checkpoints, read_checkpoint

    files = [file for pattern in sources.checkpoints for file in find_checkpoints(pattern)]
    return [read_checkpoint(file, key=sources.checkpoint_key) for file in files]


def _from_bundles(sources: Sources, checkpoints: Sequence[CheckpointRun], stack: ExitStack) -> list[_Found]:
    from pull_logs.snapshot import open_bundle

    bundles = [stack.enter_context(open_bundle(path)) for path in sources.bundles]
    found = [
        _look_up(bundles, checkpoint.reference, f"checkpoint {str(checkpoint.file)!r}", checkpoint)
        for checkpoint in checkpoints
    ]
    found += [_look_up(bundles, RunReference.parse(text), f"run {text!r}") for text in sources.runs]
    wanted = {*sources.projects}
    sweeps = {*sources.sweeps}
    everything = not (checkpoints or sources.runs or wanted or sweeps)
    for bundle in bundles:
        for run in bundle.runs():
            sweep = f"{run.path.project_path}/{run.sweep}"
            if everything or run.path.project_path in wanted or sweep in sweeps:
                found.append(_Found(run, str(bundle.path)))
    if not found:
        named = ", ".join([*sorted(wanted), *sorted(sweeps)]) or "any run"
        raise RunNotFoundError(
            f"{', '.join(map(repr, map(str, sources.bundles)))} does not hold {named}",
            hint="`pull-logs info BUNDLE` lists what it holds",
        )
    return found


def _look_up(
    bundles: Sequence[Bundle], reference: RunReference, who: str, checkpoint: CheckpointRun | None = None
) -> _Found:
    """The one run of these bundles that the reference means; `who` says in an error who named it."""
    found: list[_Found] = []
    missed: list[RunNotFoundError] = []
    for bundle in bundles:
        try:
            found.append(_Found(bundle[str(reference)], str(bundle.path), checkpoint))
        except RunNotFoundError as exc:
            missed.append(exc)
    if len(found) == 1:
        return found[0]
    if found:
        places = ", ".join(repr(item.source) for item in found)
        raise RunNotFoundError(
            f"{who} is in {len(found)} bundles: {places}", hint="name the bundle it is meant from alone"
        )
    if checkpoint is None:
        raise missed[0]
    raise RunNotFoundError(f"{who}: {missed[0].message}", hint=missed[0].hint)


def _from_elsewhere(sources: Sources, checkpoints: Sequence[CheckpointRun], stack: ExitStack) -> list[_Found]:
    folders = [text for text in sources.runs if Path(text).is_dir()]
    references = [checkpoint.reference for checkpoint in checkpoints]
    references += [RunReference.parse(text) for text in sources.runs if text not in folders]
    found = _from_folders(folders, stack)
    if references or sources.projects or sources.sweeps:
        from pull_logs.fetch import Selection, open_cached

        runs = open_cached(
            Selection(runs=tuple(references), projects=sources.projects, sweeps=sources.sweeps),
            refresh=sources.refresh,
            offline=sources.offline,
            stack=stack,
        )
        by_reference: list[CheckpointRun | None] = [*checkpoints, *[None] * (len(runs) - len(checkpoints))]
        found += [_Found(run, "W&B", checkpoint) for run, checkpoint in zip(runs, by_reference, strict=True)]
    return found


def _from_folders(folders: Sequence[str], stack: ExitStack) -> list[_Found]:
    if not folders:
        return []
    from pull_logs.snapshot import open_bundle
    from pull_logs.sources import import_runs

    found = []
    for folder in folders:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pull-logs-")))
        import_runs([Path(folder)], out=place / "run.wandb.zip", entity=None, project=None)
        bundle = stack.enter_context(open_bundle(place / "run.wandb.zip"))
        found += [_Found(run, folder) for run in bundle.runs()]
    return found


def refuse_incomplete(subjects: Sequence[Subject]) -> None:
    """Make incomplete runs an error, for `--strict`.

    Raises:
        IncompleteError: A run is not complete.
    """
    from pull_logs.errors import IncompleteError

    missing = [f"{item.label} ({item.run.coverage.reason})" for item in subjects if not item.run.complete]
    if missing:
        raise IncompleteError(
            f"incomplete under --strict: {', '.join(missing)}",
            hint="ask again with --refresh, or without --strict",
        )
