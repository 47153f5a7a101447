"""Which runs a command is about, as the user named them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pull_logs.cli.bundle_paths import Named
from pull_logs.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Which runs a command is about, as the user wrote them.

    Attributes:
        runs: Run paths, run URLs or local W&B run folders (`-r`).
        checkpoints: Checkpoint files, folders or globs (`-c`).
        bundles: Bundle files, unzipped bundles or URLs of bundles (`-b`).
        projects: `entity/project` (`-p`).
        sweeps: `entity/project/sweep` (`--sweep`).
        keep: A run expression (`--filter`).
        checkpoint_key: Where a checkpoint holds its run (`--checkpoint-key`).
        refresh: Ask W&B again instead of the local cache.
        offline: Never touch the network.
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
        """Whether any source was given at all."""
        return bool(self.runs or self.checkpoints or self.bundles or self.projects or self.sweeps)

    def check(self) -> None:
        """Refuse combinations that contradict themselves.

        Raises:
            UsageError: No source at all, or `--refresh` where nothing may be asked.
        """
        if not self.named:
            raise UsageError(
                "no source was given",
                hint="name one with -b BUNDLE, -c CHECKPOINT, -r RUN or -p ENTITY/PROJECT",
            )
        if self.refresh and (self.offline or self.bundles):
            other = "-b" if self.bundles else "--offline"
            raise UsageError(f"--refresh asks W&B and {other} never does", hint="leave one of the two out")


def take_sources(options: dict[str, Any]) -> Sources:
    """The sources among a command's options, taken out of them."""
    names = ("runs", "checkpoints", "bundles", "projects", "sweeps", "keep", "checkpoint_key")
    given = {name: options.pop(name) for name in names}
    return Sources(**given, refresh=options.pop("refresh", False), offline=options.pop("offline", False))


def bundle_sources(bundle: Named, options: dict[str, Any]) -> Sources:
    """The runs of a bundle that the pick options name."""
    return Sources(bundles=(bundle,), **options)
