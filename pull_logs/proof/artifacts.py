"""Compares the artifacts of a run with those that W&B lists: each by its name, version, digest and files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pull_logs.proof.verdicts import PartProof
from pull_logs.suggestions import MOST_NAMES, counted, joined

if TYPE_CHECKING:
    from pull_logs.fetch import RemoteRun
    from pull_logs.snapshot import Artifact, Run
    from pull_logs.snapshot.format import ArtifactRecord, Relation

_COMPARED = ("digest", "state", "size", "file_count", "type", "description", "metadata")
_NOTED = ("aliases", "tags")
"""What moves on W&B when other runs log, and is named without making a run not safe."""

_DELETED = "DELETED"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Related:
    """The artifacts of one relation, in the bundle and on W&B.

    Attributes:
        relation: Whether the run logged or used them.
        here: Those in the bundle.
        count: How many W&B has; None if that is not known.
        there: Those that W&B lists; None if they were not listed.
        unasked: Why something about them could not be requested; None if everything could.
    """

    relation: Relation
    here: Sequence[Artifact]
    count: int | None
    there: Sequence[ArtifactRecord] | None
    unasked: str | None

    @property
    def missing(self) -> bool:
        """Whether W&B has some and the bundle has none at all."""
        return bool(self.count) and not self.here

    @property
    def text(self) -> str:
        """How many of them are missing where all are."""
        return f"{self.count or 0:,} that it {self.relation}"


def artifact_parts(run: Run, remote: RemoteRun) -> Iterator[PartProof]:
    """Compare the artifacts that a run logged, then those that it used.

    Where the reason is the same for both, both parts have the same sentence.
    """
    logged = _Related(
        relation="logged",
        here=run.logged_artifacts(),
        count=remote.logged_artifacts,
        there=remote.artifacts.get("logged"),
        unasked=remote.unasked.get("logged artifacts"),
    )
    used = _Related(
        relation="used",
        here=run.used_artifacts(),
        count=remote.used_artifacts,
        there=remote.artifacts.get("used"),
        unasked=remote.unasked.get("used artifacts"),
    )
    both = _reason_of_both(logged, used)
    for related in (logged, used):
        problems = dict(_problems(related))
        yield PartProof(
            part=f"{related.relation} artifacts",
            wandb=related.count,
            bundle=len(related.here),
            reason=both or _general_reason(related) or _specific_reason(related, problems),
            names=tuple([*problems, *_noted(related)][:MOST_NAMES]),
        )


def _reason_of_both(logged: _Related, used: _Related) -> str:
    """Return a reason that holds for both relations; empty if there is none."""
    if logged.missing and used.missing:
        return (
            f"{counted(logged.count or 0, 'artifact')} that it logged and {used.text} are not in the bundle"
        )
    reason = _general_reason(logged, "logged and used")
    return reason if reason == _general_reason(used, "logged and used") else ""


def _general_reason(related: _Related, how: str = "") -> str:
    """Return why nothing is known about the artifacts; empty if they can be compared."""
    how = how or related.relation
    if related.count is None or related.unasked is not None:
        what = f"{'how many' if related.count is None else 'which'} artifacts it {how}"
        if related.unasked is None:
            return f"W&B does not report {what}"
        return f"{what} could not be requested: {related.unasked}"
    if related.count and related.there is None and related.count <= len(related.here):
        return f"the artifacts that it {how} were counted and not compared"
    return ""


def _specific_reason(related: _Related, problems: Mapping[str, str]) -> str:
    count, here = related.count or 0, len(related.here)
    if related.there is None or related.missing:
        lacking = count - here
        shown = f"{lacking:,} of {counted(count, 'artifact')}" if here else counted(count, "artifact")
        verb = "is" if lacking == 1 else "are"
        return f"{shown} that it {related.relation} {verb} not in the bundle" if lacking > 0 else ""
    found = [f"{path!r} {problem}" for path, problem in problems.items()]
    if len(related.there) < count:
        found.append(f"W&B lists {len(related.there):,} of {count:,}")
    return f"artifacts that it {related.relation}: {joined(found)}" if found else ""


def _problems(related: _Related) -> Iterator[tuple[str, str]]:
    """Yield each artifact of W&B that the bundle does not have completely, and why."""
    for listed in related.there or ():
        problem = _problem(listed, _held(listed, related.here))
        if problem:
            yield listed.path, problem


def _held(listed: ArtifactRecord, here: Sequence[Artifact]) -> Artifact | None:
    """Return the artifact of the bundle with the name and version of one of W&B."""
    named = [artifact for artifact in here if artifact.path == listed.path]
    return next((one for one in named if one.record.id == listed.id), named[0] if named else None)


def _problem(listed: ArtifactRecord, held: Artifact | None) -> str:
    if held is None:
        return "is not in the bundle"
    if listed.state == _DELETED and held.record.digest == listed.digest:
        return ""  # W&B keeps the name of a deleted version and none of its files.
    if listed.digest is None or listed.state not in (None, "COMMITTED"):
        return "has no digest on W&B" if listed.digest is None else f"is {listed.state} on W&B"
    changed = [name for name in _COMPARED if getattr(held.record, name) != getattr(listed, name)]
    if changed:
        return f"has another {', '.join(name.replace('_', ' ') for name in changed)} on W&B"
    return _lack(held)


def _lack(held: Artifact) -> str:
    """Return what of its files the bundle lacks; a reference is recorded, which is all that W&B has of it."""
    if held.record.entries is None:
        return "has no list of its files in the bundle"
    files = [entry for entry in held.entries.values() if entry.ref is None]
    lacking = [entry.path for entry in files if entry.content is None]
    if lacking:
        return f"lacks {len(lacking):,} of {counted(len(files), 'file')}, {min(lacking)!r} first"
    return ""


def _noted(related: _Related) -> Iterator[str]:
    """Yield the artifacts whose aliases or tags are others on W&B."""
    for listed in related.there or ():
        held = _held(listed, related.here)
        if held is not None and any(getattr(held.record, name) != getattr(listed, name) for name in _NOTED):
            yield listed.path
