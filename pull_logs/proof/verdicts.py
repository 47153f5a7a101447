"""The verdict about a run: what of it is in the bundle, what is not, and whether it is safe to delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pull_logs.runs import RunPath

Verdict = Literal["safe", "not safe", "gone"]
"""`safe`: all of the run is in the bundle. `gone`: W&B no longer has the run."""

PARTS = (
    "facts",
    "config",
    "summary",
    "rows",
    "last step",
    "metrics",
    "values",
    "system metrics",
    "files",
    "media",
    "console",
    "logged artifacts",
    "used artifacts",
)
"""The parts of a run, each of which has to be proved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartProof:
    """One part of a run in the bundle, compared with what W&B has.

    Attributes:
        part: One of `PARTS`.
        wandb: How much of it W&B has: a count, or the last step; None if W&B does not report it.
        bundle: How much of it the bundle has; None if there is none.
        reason: Why it is not proved that the bundle has all of it; empty if that is proved.
        digest: The digest of it in the bundle; None if there is none.
        wandb_digest: The same digest of what W&B sent for this proof; None if it was not requested.
        names: The first names of what is missing or differs, other aliases of an artifact included.
    """

    part: str
    wandb: int | None = None
    bundle: int | None = None
    reason: str = ""
    digest: str | None = None
    wandb_digest: str | None = None
    names: tuple[str, ...] = ()

    @property
    def proved(self) -> bool:
        """Whether it is proved that the bundle has all of it."""
        return not self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProof:
    """The verdict about one run.

    Attributes:
        path: The run.
        gone: Whether W&B no longer has it.
        obstacles: What makes it not safe besides its parts, as clauses.
        parts: Its parts; none where it could not be requested.
        state: Its state on W&B; None where that is not known.
        heartbeat_at: When W&B last saw it; None where that is not known.
    """

    path: RunPath
    gone: bool = False
    obstacles: Sequence[str] = ()
    parts: Sequence[PartProof] = ()
    state: str | None = None
    heartbeat_at: str | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether the run is safe to delete: every part is proved and nothing else is against it."""
        if self.gone:
            return "gone"
        return "safe" if not self.reasons and tuple(part.part for part in self.parts) == PARTS else "not safe"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not safe, as clauses, each once; empty for a safe run and for one that is gone."""
        if self.gone:
            return ()
        found = dict.fromkeys((*self.obstacles, *(part.reason for part in self.parts if not part.proved)))
        return tuple(found) or (() if self.parts else ("it was not asked for",))


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleProof:
    """The verdicts about the runs of a bundle.

    Attributes:
        path: The bundle; of a URL, the part that may be shown.
        bundle_id: The identity of the bundle.
        host: The host of the W&B that was asked.
        runs: The verdict about each run, in path order.
        requests: The requests that were sent, including retries.
        compared: Whether the rows were read again and compared, not only counted.
    """

    path: str
    bundle_id: str
    host: str
    runs: Sequence[RunProof]
    requests: int
    compared: bool

    def paths(self, verdict: Verdict) -> list[RunPath]:
        """Return the runs with a verdict."""
        return [run.path for run in self.runs if run.verdict == verdict]
