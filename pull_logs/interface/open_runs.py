"""Opens the runs that sources name.

With `-b`, runs are looked up in the bundles and the network is not used. Without it, the runs of run paths
and checkpoints are downloaded from W&B through the local cache. Local W&B run folders and the stores of other
trackers are read directly, with and without `-b`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pull_logs.errors import RunNotFoundError, UsageError
from pull_logs.interface.find_bundles import find_bundles
from pull_logs.interface.local_runs import is_local, is_store_url, read_local_runs
from pull_logs.interface.run_sources import Sources
from pull_logs.runs import PageUrl, RunPath, RunReference, label_runs, position_of_letter
from pull_logs.suggestions import counted, did_you_mean

if TYPE_CHECKING:
    from pull_logs.analyze import Checkpoint, Subject
    from pull_logs.fetch import ProgressHook
    from pull_logs.snapshot import Bundle, Run
    from pull_logs.sources import CheckpointRun, CheckpointScan

Report = Callable[[str], None]

Display = Callable[[], AbstractContextManager["ProgressHook | None"]]
"""Opens what shows the progress of a download while it runs."""

_MOST_REASONS = 3
"""The skipped checkpoints that are reported one by one."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A run, its source, and the checkpoints that name it."""

    run: Run
    source: str
    checkpoints: tuple[CheckpointRun, ...] = ()


@contextmanager
def open_subjects(
    sources: Sources, *, report: Report, display: Display = nullcontext
) -> Iterator[tuple[Subject, ...]]:
    """Open the runs that the sources name, in the order of the sources; they are closed on leaving.

    A run that is named several times, for example by checkpoints of a folder, is returned once.

    Args:
        sources: Which runs.
        report: Called with a sentence about checkpoints of a folder or a glob that were skipped.
        display: Shows the progress of a download.

    Raises:
        UsageError: No source was given, or options contradict each other.
        NotFoundError: A file, checkpoint or run does not exist.
        AccessError: W&B could not be reached, or refused access.
        DamageError: A bundle or a checkpoint is damaged or unsafe.
    """
    sources.check()
    with ExitStack() as stack:
        yield _labelled(_find(sources, stack, report, display))


def _find(sources: Sources, stack: ExitStack, report: Report, display: Display) -> list[_Found]:
    scan = read_checkpoints(sources, report=report)
    found = [_Found(run, source) for run, source in read_local_runs((), sources.trackers, stack)]
    filtered = False
    if sources.bundles:
        bundles = _open_bundles(sources, stack)
        chosen = _chosen_by_catalog(sources, bundles, report)
        filtered = chosen is not None
        named = _from_bundles(sources, bundles, scan, stack, report) if chosen is None else chosen
        found = [*named, *found]
    else:
        checkpoints = usable_checkpoints(scan, report=report) if scan else ()
        found = [*_from_elsewhere(sources, checkpoints, stack, report, display), *found]
    found = _merged([*(_Found(run, run.bundle_path) for run in sources.opened), *found])
    if sources.keep is not None and not filtered:
        found = _filtered(found, sources.keep, report)
    return found


def _merged(found: Sequence[_Found]) -> list[_Found]:
    """Merge repeated runs of one source, with all of their checkpoints, in the order they were named."""
    if len({(item.source, item.run.path) for item in found}) == len(found):
        return list(found)
    merged: dict[tuple[str, RunPath], _Found] = {}
    for item in found:
        key = item.source, item.run.path
        known = merged.get(key)
        merged[key] = replace(known, checkpoints=(*known.checkpoints, *item.checkpoints)) if known else item
    return list(merged.values())


def _labelled(found: Sequence[_Found]) -> tuple[Subject, ...]:
    from pull_logs.analyze import Subject

    subjects = []
    labels = label_runs([item.run.path for item in found])
    for label, item in zip(labels, found, strict=True):
        if not item.checkpoints:
            subjects.append(Subject(label=label, run=item.run, source=item.source))
            continue
        checkpoints = _by_progress(item.checkpoints)
        furthest = checkpoints[-1]
        subjects.append(
            Subject(
                label=label,
                run=item.run,
                checkpoint=furthest.file,
                checkpoint_step=furthest.step,
                checkpoints=checkpoints,
                source=item.source,
            )
        )
    return tuple(subjects)


def _by_progress(found: Sequence[CheckpointRun]) -> tuple[Checkpoint, ...]:
    """Return the checkpoints of one run as answers use them, the furthest last."""
    from pull_logs.analyze import Checkpoint
    from pull_logs.analyze.answers import progress_of

    checkpoints = [
        Checkpoint(
            file=str(item.file),
            step=item.step,
            epoch=item.epoch,
            step_key=item.step_key,
            epoch_key=item.epoch_key,
        )
        for item in found
    ]
    return tuple(sorted(checkpoints, key=progress_of))


def _filtered(found: Sequence[_Found], text: str, report: Report) -> list[_Found]:
    from pull_logs.analyze import keep_runs, list_note, search_advice

    runs = [item.run for item in found]
    kept = keep_runs(runs, text)
    if not any(kept):
        raise RunNotFoundError(
            f"--filter {text!r} holds for none of the {len(found)} runs",
            hint=search_advice(runs, text) or "run the command without --filter to see the runs",
        )
    if note := list_note(runs, text):
        report(f"--filter: {note}")
    return [item for item, keep in zip(found, kept, strict=True) if keep]


def read_checkpoints(sources: Sources, *, report: Report) -> CheckpointScan | None:
    """Read the checkpoints that the sources name; return None if they name none.

    Raises:
        NotFoundError: A checkpoint does not exist, or names no run.
        DamageError: It is damaged or unsafe.
    """
    if not sources.checkpoints:
        return None
    from pull_logs.sources import scan_checkpoints

    scan = scan_checkpoints(sources.checkpoints, key=sources.checkpoint_key)
    if scan.passed_over:
        _report_skipped([why for _, why in scan.passed_over], report)
    for note in scan.notes():
        report(note)
    return scan


def usable_checkpoints(scan: CheckpointScan, *, report: Report) -> tuple[CheckpointRun, ...]:
    """Return the checkpoints whose runs are on the configured host; of folders and globs, others are skipped.

    Raises:
        UsageError: The run of a checkpoint that was named by itself, or of every one, is on another host.
    """
    if all(checkpoint.reference.host is None for checkpoint in scan.found):
        return scan.found
    from pull_logs.fetch import load_settings

    settings = load_settings()
    usable: list[CheckpointRun] = []
    refused: list[UsageError] = []
    for checkpoint in scan.found:
        try:
            settings.check_reference(checkpoint.reference)
        except UsageError as exc:
            known = UsageError(f"checkpoint {str(checkpoint.file)!r}: {exc.message}", hint=exc.hint)
            if checkpoint.file in scan.alone:
                raise known from exc
            refused.append(known)
        else:
            usable.append(checkpoint)
    if refused and not usable:
        raise refused[0]
    if refused:
        _report_skipped([exc.message for exc in refused], report)
    return tuple(usable)


def _report_skipped(reasons: Sequence[str], report: Report) -> None:
    more = len(reasons) - _MOST_REASONS
    verb = "was" if len(reasons) == 1 else "were"
    shown = [*reasons[:_MOST_REASONS], *([f"and {more} more"] if more > 0 else [])]
    report(f"{counted(len(reasons), 'checkpoint')} {verb} skipped: {'; '.join(shown)}")


def _open_bundles(sources: Sources, stack: ExitStack) -> list[Bundle]:
    from pull_logs.snapshot import Bundle, open_bundle

    bundles = [bundle for bundle in sources.bundles if isinstance(bundle, Bundle)]
    named = [bundle for bundle in sources.bundles if not isinstance(bundle, Bundle)]
    return [*bundles, *(stack.enter_context(open_bundle(path)) for path in find_bundles(named))]


_FILTER_SAMPLE = 256
"""The runs of a set that are searched for what to say about a filter."""


def _chosen_by_catalog(sources: Sources, bundles: Sequence[Bundle], report: Report) -> list[_Found] | None:
    """Return the runs of a set for which the filter holds, from its catalog; None if it has to be applied.

    Raises:
        ExpressionError: The filter is not a valid expression.
        RunNotFoundError: It holds for no run.
    """
    only = bundles[0] if len(bundles) == 1 else None
    if sources.keep is None or not sources.only_bundles:
        return None
    from pull_logs.snapshot import BundleSet

    if not isinstance(only, BundleSet):
        return None
    from pull_logs.analyze import list_note, rows_where, search_advice

    rows = rows_where(only.catalog, sources.keep)
    if rows is None:
        return None
    if not len(rows):
        sample = list(islice(only.runs(), _FILTER_SAMPLE))
        raise RunNotFoundError(
            f"--filter {sources.keep!r} holds for none of the {len(only)} runs",
            hint=search_advice(sample, sources.keep) or "run the command without --filter to see the runs",
        )
    runs = list(only.runs_at(rows.tolist()))
    if note := list_note(runs[:_FILTER_SAMPLE], sources.keep):
        report(f"--filter: {note}")
    return [_Found(run, str(only.path)) for run in runs]


def _from_bundles(
    sources: Sources,
    bundles: Sequence[Bundle],
    scan: CheckpointScan | None,
    stack: ExitStack,
    report: Report,
) -> list[_Found]:
    found = _of_checkpoints(bundles, scan, report) if scan else []
    local = _local_runs(bundles, sources.runs) if sources.reads_paths else []
    found += [
        _look_up(bundles, RunReference.parse(text), f"run {text!r}")
        for text in sources.runs
        if text not in local
    ]
    found += [_Found(run, source) for run, source in read_local_runs(local, (), stack)]
    wanted = set(map(_plain, sources.projects))
    sweeps = set(map(_plain, sources.sweeps))
    everything = not (scan or len(sources.runs) > len(local) or wanted or sweeps)
    for bundle in bundles:
        source = str(bundle.path)
        if everything:
            found += [_Found(run, source) for run in bundle.runs()]
            continue
        for run in bundle.runs():
            project = run.path.project_path
            if project in wanted or (sweeps and f"{project}/{run.sweep}" in sweeps):
                found.append(_Found(run, source))
    if not found:
        missing = ", ".join([*sorted(wanted), *sorted(sweeps)]) or "any run"
        raise RunNotFoundError(
            f"{', '.join(repr(str(bundle.path)) for bundle in bundles)} does not contain {missing}",
            hint=_nearest_project(bundles, wanted) or "`pull-logs info BUNDLE` lists its runs",
        )
    return found


def _local_runs(bundles: Sequence[Bundle], texts: Sequence[str]) -> list[str]:
    """Return which texts name a folder or file of runs, and no run of the bundles."""
    return [
        text
        for text in texts
        if (is_store_url(text) or _exists(text))
        and not any(_has_run(bundle, text) for bundle in bundles)
        and is_local(text)
    ]


def _exists(text: str) -> bool:
    """Whether a text is the path of something; one that no file system takes as a path is not."""
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False


def _has_run(bundle: Bundle, text: str) -> bool:
    try:
        _in_bundle(bundle, RunReference.parse(text))
    except (RunNotFoundError, UsageError):
        return False
    return True


def _nearest_project(bundles: Sequence[Bundle], wanted: Collection[str]) -> str:
    """Return the hint with the projects that are called nearly as one that no bundle has."""
    projects = {run.path.project_path for bundle in bundles for run in bundle.runs()}
    return next((hint for name in sorted(wanted) if (hint := did_you_mean(name, sorted(projects)))), "")


def _plain(text: str) -> str:
    """Return the path of a project or a sweep that may be given as a URL."""
    return str(PageUrl.parse(text)) if "://" in text else text


def _of_checkpoints(bundles: Sequence[Bundle], scan: CheckpointScan, report: Report) -> list[_Found]:
    """Look up the runs of checkpoints; those of folders and globs are skipped if no bundle contains the run.

    Raises:
        RunNotFoundError: No bundle contains the run of a checkpoint that was named by itself, or any of the
            runs.
    """
    found: list[_Found] = []
    missed: list[RunNotFoundError] = []
    looked_up: dict[RunReference, _Found | RunNotFoundError] = {}
    for checkpoint in scan.found:
        who = f"checkpoint {str(checkpoint.file)!r}"
        known = looked_up.get(checkpoint.reference)
        if known is None or isinstance(known, RunNotFoundError):
            try:
                known = _of_checkpoint(bundles, checkpoint, who, report)
            except RunNotFoundError as exc:
                known = RunNotFoundError(
                    exc.message if exc.message.startswith(who) else f"{who}: {exc.message}", hint=exc.hint
                )
                missed.append(known)
                if checkpoint.file in scan.alone:
                    raise known from exc
        looked_up[checkpoint.reference] = known
        if isinstance(known, _Found):
            found.append(replace(known, checkpoints=(checkpoint,)))
    if missed and not found:
        raise missed[0]
    if missed:
        _report_skipped([exc.message for exc in missed], report)
    return found


def _of_checkpoint(bundles: Sequence[Bundle], checkpoint: CheckpointRun, who: str, report: Report) -> _Found:
    """Look up the run of a checkpoint; a project or entity that is only a guess never hides a unique id.

    Raises:
        RunNotFoundError: No bundle contains it, or several do.
    """
    try:
        return _look_up(bundles, checkpoint.reference, who)
    except RunNotFoundError:
        if not checkpoint.guessed:
            raise
    found = _look_up(bundles, checkpoint.certain, who)
    keys = " and ".join(map(repr, checkpoint.guessed))
    report(
        f"{who} names the run {checkpoint.reference.run_id!r}; no run {str(checkpoint.reference)!r} was"
        " found, so"
        f" {keys} in it was ignored and the run was looked up by its id: {str(found.run.path)!r}"
    )
    return found


def _look_up(bundles: Sequence[Bundle], reference: RunReference, who: str) -> _Found:
    """Return the run that a reference means: one with this id or path, else the one at this letter.

    Args:
        bundles: The bundles to look in.
        reference: The reference.
        who: What named the run, for the message.

    Raises:
        RunNotFoundError: No bundle contains it, or several do.
    """
    found: list[_Found] = []
    missed: list[RunNotFoundError] = []
    for bundle in bundles:
        try:
            found.append(_Found(_in_bundle(bundle, reference), str(bundle.path)))
        except RunNotFoundError as exc:
            missed.append(exc)
    if len(found) == 1:
        return found[0]
    if found:
        sources = ", ".join(repr(item.source) for item in found)
        raise RunNotFoundError(f"{who} is in {len(found)} bundles: {sources}", hint="name only one of them")
    position = position_of_letter(str(reference))
    listed = () if position is None else ((run, bundle) for bundle in bundles for run in bundle.runs())
    for run, bundle in islice(listed, position, None):
        return _Found(run, str(bundle.path))
    raise missed[0]


def _in_bundle(bundle: Bundle, reference: RunReference) -> Run:
    """Return the run of a bundle that a reference means.

    Raises:
        RunNotFoundError: The bundle has no such run, or more than one.
    """
    if reference.entity is None or reference.project is not None:
        return bundle[str(reference)]
    # `entity/run_id` has the form of `project/run_id`.
    paths = [path for path in bundle.run_paths if reference.matches(RunPath(*path.split("/")))]
    if len(paths) == 1:
        return bundle[paths[0]]
    many = f"{len(paths)} runs" if paths else "no run"
    raise RunNotFoundError(
        f"{str(bundle.path)!r} has {many} with the id {reference.run_id!r} of the entity"
        f" {reference.entity!r}",
        hint="write entity/project/run_id",
    )


def _from_elsewhere(
    sources: Sources,
    checkpoints: Sequence[CheckpointRun],
    stack: ExitStack,
    report: Report,
    display: Display,
) -> list[_Found]:
    folders = [text for text in sources.runs if is_local(text)]
    named: dict[RunReference, list[CheckpointRun]] = {}
    for checkpoint in checkpoints:
        named.setdefault(checkpoint.reference, []).append(checkpoint)
    references = [*named, *(RunReference.parse(text) for text in sources.runs if text not in folders)]
    found = [_Found(run, folder) for run, folder in read_local_runs(folders, (), stack)]
    if references or sources.projects or sources.sweeps:
        from pull_logs.fetch import Selection, open_cached

        with display() as hook:
            runs = open_cached(
                Selection(runs=tuple(references), projects=sources.projects, sweeps=sources.sweeps),
                refresh=sources.refresh,
                offline=sources.offline,
                stack=stack,
                report=report,
                progress=hook,
            )
        named_by = [*map(tuple, named.values()), *[()] * (len(runs) - len(named))]
        found += [_Found(run, "W&B", checkpoints) for run, checkpoints in zip(runs, named_by, strict=True)]
    return found


def distinct_runs(subjects: Iterable[Subject]) -> list[Run]:
    """Return each run once."""
    from pull_logs.snapshot import Run

    runs = [subject.run for subject in subjects]
    return list({run.path: run for run in runs if isinstance(run, Run)}.values())


def runs_of_one_source(subjects: Iterable[Subject]) -> list[Run]:
    """Return each run, of which no two have the same path.

    Raises:
        UsageError: A run is in several sources.
    """
    from pull_logs.snapshot import Run

    found: dict[RunPath, Run] = {}
    for run in (subject.run for subject in subjects):
        if isinstance(run, Run) and found.setdefault(run.path, run) is not run:
            raise UsageError(
                f"run {str(run.path)!r} is in {found[run.path].bundle_path!r} and in {run.bundle_path!r}",
                hint="name one of them, or merge them with `pull-logs merge`",
            )
    return [*found.values()]
