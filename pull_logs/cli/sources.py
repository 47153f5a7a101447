"""The sources that the options of a command name."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pull_logs.cli.bundle_paths import Named
from pull_logs.errors import UsageError
from pull_logs.interface import TRACKERS, Sources, tracker_sources


def take_sources(options: dict[str, Any]) -> Sources:
    """Remove the sources from the options of a command and return them."""
    names = ("runs", "checkpoints", "bundles", "projects", "sweeps", "keep", "checkpoint_key")
    given = _by_kind({name: options.pop(name) for name in names})
    _refuse_other_files(given)
    given["trackers"] = tracker_sources({kind: options.pop(kind) for kind in TRACKERS if kind in options})
    given["bundles"] = (*map(_bundle_word, options.pop("words", ())), *given["bundles"])
    return Sources(**given, refresh=options.pop("refresh", False), offline=options.pop("offline", False))


def _refuse_other_files(given: Mapping[str, Any]) -> None:
    """Refuse files that belong to another option: a bundle is not a run, and a checkpoint is not a bundle.

    Raises:
        UsageError: There is one.
    """
    from pull_logs.cli.spelling import source_option
    from pull_logs.snapshot.format import BUNDLE_ENDING

    for word in map(str, given["bundles"]):
        if source_option(word) == "-c" and _is_file(word):
            raise UsageError(f"{word!r} is not a bundle", hint=f"write: -c {shlex.quote(word)}")
    for word in given["checkpoints"]:
        # Some programs save checkpoints as `.zip`.
        if word.endswith(BUNDLE_ENDING) and _is_file(word):
            raise UsageError(f"{word!r} is not a checkpoint", hint=f"write: -b {shlex.quote(word)}")
    for word in given["runs"]:
        if _is_file(word):
            _check_run_file(word, option=source_option(word), looked_up=bool(given["bundles"]))


def _is_file(word: str) -> bool:
    return os.path.isfile(word)  # noqa: PTH113 - that of pathlib raises for very long texts


def _check_run_file(word: str, *, option: str | None, looked_up: bool) -> None:
    from pull_logs.interface import is_local

    if is_local(word):
        return
    if option in ("-b", "-c"):
        raise UsageError(f"{word!r} is not a run", hint=f"write: {option} {shlex.quote(word)}")
    if Path(word).suffix and not looked_up:
        raise UsageError(
            f"the file {word!r} is not the log of a run",
            hint="name a run folder, its .wandb file, or a run by entity/project/run_id",
        )


def _bundle_word(word: Named) -> Named:
    """Return a bundle that was given as an argument.

    Raises:
        UsageError: It is a run or a checkpoint, which need their options.
    """
    from pull_logs.cli.spelling import source_option

    option = source_option(str(word))
    if option not in (None, "-b"):
        raise UsageError(f"{str(word)!r} is not a bundle", hint=f"write: {option} {shlex.quote(str(word))}")
    return word


def bundle_sources(bundle: Named, options: dict[str, Any]) -> Sources:
    """Return the runs of a bundle that the options of `pick_options` name."""
    return Sources(bundles=(bundle,), **_by_kind(options))


def _by_kind(options: dict[str, Any]) -> dict[str, Any]:
    """Return sources in which each URL of a page of W&B is where its kind belongs, whatever named it.

    Raises:
        UsageError: A URL is not that of a run, a sweep or a project.
    """
    names = ("runs", "projects", "sweeps")
    if not any(_is_page(text) for name in names for text in options.get(name, ())):
        return options
    from pull_logs.runs import PageUrl

    sorted_by: dict[str, list[str]] = {name: [] for name in names}
    for name in names:
        for text in options.get(name, ()):
            where = f"{PageUrl.parse(text).kind}s" if _is_page(text) else name
            sorted_by[where].append(text)
    return options | {name: tuple(texts) for name, texts in sorted_by.items()}


def _is_page(text: str) -> bool:
    """Return whether a text is a URL, of a page of W&B; that of a tracker's store is a source itself."""
    from pull_logs.interface import is_store_url

    return "://" in text and not is_store_url(text)
