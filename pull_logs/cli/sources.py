"""The sources that the options of a command name."""

from __future__ import annotations

import shlex
from typing import Any

from pull_logs.cli.bundle_paths import Named
from pull_logs.errors import UsageError
from pull_logs.interface import TRACKERS, Sources, tracker_sources


def take_sources(options: dict[str, Any]) -> Sources:
    """Remove the sources from the options of a command and return them."""
    names = ("runs", "checkpoints", "bundles", "projects", "sweeps", "keep", "checkpoint_key")
    given = _by_kind({name: options.pop(name) for name in names})
    given["trackers"] = tracker_sources({kind: options.pop(kind) for kind in TRACKERS if kind in options})
    given["bundles"] = (*map(_bundle_word, options.pop("words", ())), *given["bundles"])
    return Sources(**given, refresh=options.pop("refresh", False), offline=options.pop("offline", False))


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
