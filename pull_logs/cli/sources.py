"""Which runs a command is about, as the command line names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pull_logs.cli.bundle_paths import Named
from pull_logs.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Which runs a command is about, as the command line names them.

    Attributes:
        runs: Run paths, run URLs or local W&B run folders (`-r`).
        checkpoints: Checkpoint files, folders or globs (`-c`).
        bundles: Bundle files, unzipped bundles or URLs of bundles (`-b`).
        projects: `entity/project` (`-p`).
        sweeps: `entity/project/sweep` (`--sweep`).
        keep: A run expression (`--filter`).
        checkpoint_key: The key of the run path in a checkpoint (`--checkpoint-key`).
        refresh: Download again what the cache has.
        offline: Never use the network.
    """

    runs: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    bundles: tuple[Named, ...] = ()
    projects: tuple[str, ...] = ()
    sweeps: tuple[str, ...] = ()
    keep: str | None = None
    checkpoint_key: str | None = None
    refresh: bool = False
    offline: bool = False

    @property
    def named(self) -> bool:
        """Whether any source was given."""
        return bool(self.runs or self.checkpoints or self.bundles or self.projects or self.sweeps)

    def check(self) -> None:
        """Refuse contradictory combinations.

        Raises:
            UsageError: No source was given, or `--refresh` with an option that excludes the network.
        """
        if not self.named:
            raise UsageError(
                "no source was given",
                hint="name one with -b BUNDLE, -c CHECKPOINT, -r RUN or -p ENTITY/PROJECT",
            )
        if self.refresh and (self.offline or self.bundles):
            other = "-b" if self.bundles else "--offline"
            raise UsageError(f"--refresh uses the network and {other} never does", hint="omit one of the two")


def take_sources(options: dict[str, Any]) -> Sources:
    """Remove the sources from the options of a command and return them."""
    names = ("runs", "checkpoints", "bundles", "projects", "sweeps", "keep", "checkpoint_key")
    given = _by_kind({name: options.pop(name) for name in names})
    return Sources(**given, refresh=options.pop("refresh", False), offline=options.pop("offline", False))


def bundle_sources(bundle: Named, options: dict[str, Any]) -> Sources:
    """Return the runs of a bundle that the options of `pick_options` name."""
    return Sources(bundles=(bundle,), **_by_kind(options))


def _by_kind(options: dict[str, Any]) -> dict[str, Any]:
    """Return sources in which each URL of a page of W&B is where its kind belongs, whatever named it.

    Raises:
        UsageError: A URL is not that of a run, a sweep or a project.
    """
    names = ("runs", "projects", "sweeps")
    if not any("://" in text for name in names for text in options.get(name, ())):
        return options
    from pull_logs.runs import PageUrl

    sorted_by: dict[str, list[str]] = {name: [] for name in names}
    for name in names:
        for text in options.get(name, ()):
            where = f"{PageUrl.parse(text).kind}s" if "://" in text else name
            sorted_by[where].append(text)
    return options | {name: tuple(texts) for name, texts in sorted_by.items()}
