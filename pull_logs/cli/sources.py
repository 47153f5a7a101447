"""The sources that the options of a command name."""

from __future__ import annotations

from typing import Any

from pull_logs.cli.bundle_paths import Named
from pull_logs.interface import Sources


def take_sources(options: dict[str, Any]) -> Sources:
    """Remove the sources from the options of a command and return them."""
    names = ("runs", "checkpoints", "bundles", "projects", "sweeps", "keep", "checkpoint_key")
    given = {name: options.pop(name) for name in names}
    return Sources(**given, refresh=options.pop("refresh", False), offline=options.pop("offline", False))


def bundle_sources(bundle: Named, options: dict[str, Any]) -> Sources:
    """Return the runs of a bundle that the options of `pick_options` name."""
    return Sources(bundles=(bundle,), **options)
