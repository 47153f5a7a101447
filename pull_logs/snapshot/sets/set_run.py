"""A run of a bundle set: its facts are in the catalog, and its member is opened for everything else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pull_logs.errors import BundleDamagedError, DataError, RunNotFoundError
from pull_logs.runs import RunParts, RunPath
from pull_logs.snapshot.format import LIGHT, document_from_text
from pull_logs.snapshot.read import Bundle, Run, RunSource
from pull_logs.snapshot.sets.catalog import Catalog
from pull_logs.snapshot.sets.entries import DOCUMENTS, OPTIONAL, RunLocation

_IN_CATALOG = frozenset({*LIGHT, *OPTIONAL})

OpenMember = Callable[[str, str], Bundle]
"""Opens a member by its name and identity."""


@dataclass(frozen=True, slots=True)
class _MemberSource:
    """Where a run of a set is stored: in a member that is opened when it is needed.

    Attributes:
        path: The run.
        catalog: The catalog.
        row: Its row there.
        open_member: Opens its member.
        set_path: The set.
    """

    path: RunPath
    catalog: Catalog
    row: int
    open_member: OpenMember
    set_path: str

    @property
    def location(self) -> RunLocation:
        """Where the catalog says that it is."""
        return self.catalog.location(self.row)

    def opened(self) -> RunSource:
        """Return where its member has it.

        Raises:
            BundleDamagedError: The member does not have it.
        """
        location = self.location
        try:
            return self.open_member(location.member, location.bundle_id).source_of(self.path)
        except RunNotFoundError as exc:
            raise BundleDamagedError(
                f"{location.member!r} does not have the run {str(self.path)!r} of the catalog",
                path=self.set_path,
                member=location.member,
            ) from exc


class SetRun(Run):
    """A run of a bundle set.

    Args:
        path: The run.
        catalog: The catalog.
        row: Its row there.
        open_member: Opens its member.
        member_location: Returns what opens a member in another process, by its name.
        set_path: The set.
    """

    __slots__ = ("_catalog", "_member_location", "_row", "_set_path")

    def __init__(
        self,
        path: RunPath,
        catalog: Catalog,
        row: int,
        *,
        open_member: OpenMember,
        member_location: Callable[[str], str],
        set_path: str,
    ) -> None:
        self._catalog, self._row, self._set_path = catalog, row, set_path
        self._member_location = member_location
        super().__init__(path, _MemberSource(path, catalog, row, open_member, set_path))

    @property
    def location(self) -> RunLocation:
        """Where it is stored."""
        return self._catalog.location(self._row)

    @property
    def bundle_path(self) -> str:
        """The set that contains it."""
        return self._set_path

    @property
    def bundle_id(self) -> str:
        """The identity of the bytes of its member."""
        return self.location.bundle_id

    @property
    def bundle_location(self) -> str:
        """What opens its member in another process: a path, or the complete URL."""
        return self._member_location(self.location.member)

    @property
    def data_hash(self) -> str:
        """The identity of all its data, from the catalog."""
        return self.location.data_hash

    @property
    def rows_hash(self) -> str:
        """The identity of its rows, from the catalog."""
        return self.location.rows_hash

    @property
    def parts(self) -> RunParts | None:
        """The parts that it was logged in; None where nothing shows that there are more than one."""
        text = self._fact("parts")
        return None if text is None else RunParts.from_object(self._parsed("parts", text))

    def _fact(self, name: str) -> Any:
        return self._catalog.value(name, self._row) if name in _IN_CATALOG else super()._fact(name)

    def _document(self, name: str) -> dict[str, Any]:
        if name not in DOCUMENTS:
            return super()._document(name)
        return self._parsed(name, self._catalog.document(name, self._row))

    def _parsed(self, name: str, text: str) -> dict[str, Any]:
        try:
            return document_from_text(text)
        except DataError as exc:
            raise BundleDamagedError(
                f"{self._catalog.path!r} is damaged: the {name} of run {str(self.path)!r} cannot be read:"
                f" {exc.message}",
                path=self._catalog.path,
            ) from exc
