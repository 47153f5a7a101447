"""Check the members of a bundle on an engine: each worker opens the bundle and decodes a part of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pull_logs.executors import Engine
from pull_logs.snapshot.bundle_location import container_at
from pull_logs.snapshot.format import (
    MANIFEST,
    MAX_MANIFEST,
    Container,
    is_url,
    parse_manifest,
    sha256,
)
from pull_logs.snapshot.read import CheckedMember, MemberCheck, check_in_threads
from pull_logs.snapshot.workers.location import BundleLocation, KeptOpen, found_at, refuse_other

_AT_ONCE = 64
"""The members of a task."""


@dataclass(frozen=True, slots=True)
class _Members:
    """Some members of a bundle.

    Attributes:
        bundle: The bundle.
        names: The members.
        deep: Whether histories and console logs are decoded.
    """

    bundle: BundleLocation
    names: tuple[str, ...]
    deep: bool


def check_on(check: MemberCheck, names: Sequence[str], *, engine: Engine) -> dict[str, CheckedMember]:
    """Check members on an engine; what was found is in the order of the names.

    Args:
        check: Checks a member in this process.
        names: The members.
        engine: Where they are checked.

    Raises:
        PullLogsError: A worker ended, or cannot open the bundle.
    """
    if engine.is_serial or engine.shares_memory:
        return check_in_threads(check, names)
    container = check.container
    if engine.copies and not is_url(container.location):
        groups = [names[start : start + _AT_ONCE] for start in range(0, len(names), _AT_ONCE)]
        copied = engine.map_open(lambda group: [check(name) for name in group], groups)
        return dict(zip(names, (one for part in copied for one in part), strict=True))
    manifest = sha256(container.read(MANIFEST, limit=MAX_MANIFEST))
    where = BundleLocation(manifest, str(container.path), container.location)
    parts = (
        _Members(where, tuple(names[start : start + _AT_ONCE]), check.deep)
        for start in range(0, len(names), _AT_ONCE)
    )
    found = (one for part in engine.map(_check_members, parts) for one in part)
    return dict(zip(names, found, strict=True))


def _check_members(part: _Members) -> list[CheckedMember]:
    """Check the members of a task: what a worker does."""
    with _CHECKS.using(part.bundle) as checks:
        return [checks.of(part.deep)(name) for name in part.names]


class _Checks:
    """What checks the members of an open bundle, whose index may be damaged."""

    def __init__(self, container: Container, data: bytes) -> None:
        self._container = container
        resources = parse_manifest(data, path=str(container.path), members=container.sizes).members()
        self._checks = {deep: MemberCheck(container, resources, deep=deep) for deep in (True, False)}

    def of(self, deep: bool) -> MemberCheck:  # noqa: FBT001 - the field of the task
        """Return what checks a member."""
        return self._checks[deep]

    def close(self) -> None:
        """Close the bundle."""
        self._container.close()


def _open(where: BundleLocation) -> _Checks:
    with found_at(where):
        container = container_at(where.location)
    try:
        data = container.read(MANIFEST, limit=MAX_MANIFEST)
        refuse_other(where, sha256(data))
        return _Checks(container, data)
    except BaseException:
        container.close()
        raise


_CHECKS = KeptOpen(_open)


def close_checked() -> None:
    """Close the bundles that are kept open to check their members."""
    _CHECKS.close()
