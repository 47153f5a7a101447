"""The artifacts of all runs of a bundle, found by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pull_logs.errors import FileMissingError
from pull_logs.snapshot.read.logged.artifacts import Artifact
from pull_logs.suggestions import did_you_mean, listed

if TYPE_CHECKING:
    from pull_logs.snapshot.format import ArtifactRecord, Container
    from pull_logs.snapshot.read.logged.artifacts import RunArtifacts

_LATEST = "latest"


class ArtifactIndex:
    """The artifacts of a bundle: each version once, whichever runs logged and used it.

    Args:
        container: The bundle.
        runs: The path of each run that has artifacts, with them.
    """

    def __init__(self, container: Container, runs: Iterable[tuple[str, RunArtifacts]]) -> None:
        records: dict[str, ArtifactRecord] = {}
        used: dict[str, list[str]] = {}
        for run, artifacts in runs:
            for record in artifacts.records:
                known = records.get(record.path)
                if known is None or _rank(record) > _rank(known):
                    records[record.path] = record
                if record.relation == "used":
                    used.setdefault(record.path, []).append(run)
        self._artifacts = {
            path: Artifact(container, records[path], used_by=used.get(path, ()))
            for path in sorted(records, key=lambda path: _order(records[path]))
        }

    def __iter__(self) -> Iterator[Artifact]:
        return iter(self._artifacts.values())

    def find(self, name: str, *, bundle: str) -> Artifact:
        """Return an artifact by `entity/project/name:alias`; a unique end of that suffices.

        Args:
            name: Its name, with a version or an alias; `latest` where it has none.
            bundle: The bundle, for errors.

        Raises:
            FileMissingError: There is no such artifact, or more than one.
        """
        wanted, _, alias = name.partition(":")
        alias = alias or _LATEST
        collections = [one for one in self if _matches(one.record, wanted)]
        found = [one for one in collections if alias == f"v{one.record.version}" or alias in one.aliases]
        names = {(one.record.entity, one.record.project, one.record.collection) for one in found}
        if len(names) > 1:
            paths = sorted("/".join(name) for name in names)
            raise FileMissingError(
                f"{name!r} is the name of {len(paths)} artifacts in {bundle!r}: {listed(paths)}",
                hint="write entity/project/name:alias",
            )
        if not found:
            known = [one.path for one in self]
            otherwise = f"it has {listed(known)}" if known else "it has no artifacts"
            raise FileMissingError(
                f"no artifact {name!r} in {bundle!r}",
                hint=did_you_mean(name, known, otherwise=otherwise, cutoff=0.5),
            )
        # Two versions may have the same alias where they were downloaded at different times.
        return max(found, key=lambda one: (one.record.updated_at or "", one.record.version))


def _rank(record: ArtifactRecord) -> tuple[object, ...]:
    """Return a key that is greater for what is known better, and later."""
    known = record.entries is not None, record.relation == "logged", record.logged_by is not None
    return (record.updated_at or "", *known, record.entries or "")


def _order(record: ArtifactRecord) -> tuple[str, str, str, int]:
    return record.entity, record.project, record.collection, record.version


def _matches(record: ArtifactRecord, name: str) -> bool:
    full = f"{record.entity}/{record.project}/{record.collection}"
    return full == name or (name != "" and full.endswith(f"/{name}"))
