"""A run of a bundle set: its facts are in the catalog, and its member is opened for everything else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from pull_logs.errors import BundleDamagedError, DataError, RunNotFoundError
from pull_logs.runs import RunParts, RunPath
from pull_logs.snapshot.format import LIGHT, document_from_text
from pull_logs.snapshot.read import Bundle, Run, RunSource
from pull_logs.snapshot.sets.catalog import Catalog
from pull_logs.snapshot.sets.entries import DOCUMENTS, OPTIONAL, RunLocation

_IN_CATALOG = frozenset({*LIGHT, *OPTIONAL})


@dataclass(frozen=True, slots=True, eq=False)
class SetParts:
    """What all runs of an open set are read from.

    Attributes:
        catalog: The catalog.
        open_member: Opens a member by its name and identity.
        member_location: Returns what opens a member in another process, by its name.
        path: The set.
    """

    catalog: Catalog
    open_member: Callable[[str, str], Bundle]
    member_location: Callable[[str], str]
    path: str


class SetSource(NamedTuple):
    """Where a run of a set is stored: in a member that is opened when it is needed.

    Attributes:
        parts: The set.
        row: The row of the run in the catalog.
        path: The run.
    """

    parts: SetParts
    row: int
    path: RunPath

    def opened(self) -> RunSource:
        """Return where its member has it.

        Raises:
            BundleDamagedError: The member does not have it.
        """
        member, bundle_id = self.parts.catalog.member_of(self.row)
        try:
            return self.parts.open_member(member, bundle_id).source_of(self.path)
        except RunNotFoundError as exc:
            raise BundleDamagedError(
                f"{member!r} does not have the run {str(self.path)!r} of the catalog",
                path=self.parts.path,
                member=member,
            ) from exc


class SetRun(Run):
    """A run of a bundle set."""

    __slots__ = ()
    _source: SetSource

    @property
    def _catalog(self) -> Catalog:
        return self._source.parts.catalog

    @property
    def _row(self) -> int:
        return self._source.row

    @property
    def location(self) -> RunLocation:
        """Where it is stored."""
        return self._catalog.location(self._row)

    @property
    def bundle_path(self) -> str:
        """The set that contains it."""
        return self._source.parts.path

    @property
    def bundle_id(self) -> str:
        """The identity of the bytes of its member."""
        return self._catalog.member_of(self._row)[1]

    @property
    def bundle_location(self) -> str:
        """What opens its member in another process: a path, or the complete URL."""
        return self._source.parts.member_location(self._catalog.member_of(self._row)[0])

    @property
    def data_hash(self) -> str:
        """The identity of all its data, from the catalog."""
        return str(self._catalog.value("data_hash", self._row))

    @property
    def rows_hash(self) -> str:
        """The identity of its rows, from the catalog."""
        return str(self._catalog.value("rows_hash", self._row))

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
