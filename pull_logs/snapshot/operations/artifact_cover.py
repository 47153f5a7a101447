"""Whether one version of a run has all artifacts that another version has."""

from __future__ import annotations

from pull_logs.snapshot.read import Artifact, Run


def why_artifacts_not_covered(less: Run, more: Run) -> str | None:
    """Return which artifact one version of a run has and another has not, as a sentence; else None.

    An artifact is covered by one of the same relation, version and digest with the bytes of as many entries.
    Aliases move, so that they do not matter.

    Args:
        less: The version that may be covered.
        more: The version that may cover it.

    Raises:
        BundleDamagedError: A bundle is damaged.
    """
    if less.artifacts_hash in (None, more.artifacts_hash):
        return None
    here, there = repr(less.bundle_path), repr(more.bundle_path)
    known = {_key(artifact): artifact for artifact in _artifacts(more)}
    for artifact in _artifacts(less):
        other = known.get(_key(artifact))
        shown = f"artifact {artifact.path!r} ({artifact.record.relation})"
        if other is None:
            return f"{here} has {shown} and {there} has not"
        lost = _hashes(artifact) - _hashes(other)
        if lost:
            return f"{here} has the bytes of {min(lost)[0]!r} of {shown} and {there} has not"
    return None


def _artifacts(run: Run) -> list[Artifact]:
    return [*run.logged_artifacts(), *run.used_artifacts()]


def _key(artifact: Artifact) -> tuple[str, str, str | None]:
    return artifact.record.relation, artifact.path, artifact.record.digest


def _hashes(artifact: Artifact) -> set[tuple[str, str]]:
    """Return the paths and the hashes of the entries of which the bundle has the bytes."""
    if artifact.record.entries is None:
        return set()
    return {
        (path, entry.entry.hash) for path, entry in artifact.entries.items() if entry.entry.hash is not None
    }
