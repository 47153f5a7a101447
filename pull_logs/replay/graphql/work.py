"""The work of one request, counted in units and bounded.

Aliases multiply: a short query can name one long history hundreds of times. So what a request computes is
counted while it is computed, by its size and not by a clock: fields, and values of rows and texts. A request
that exceeds a limit is answered with one error. See docs/replay.md, "Limits of a request".
"""

from __future__ import annotations

from graphql import GraphQLResolveInfo

from pull_logs.errors import UsageError
from pull_logs.replay.graphql.documents import selected_fields
from pull_logs.runs import RunPath

MAX_LISTED = 300_000
"""The most fields of listed objects, and runs looked at to list them, in one request."""
MAX_VALUES = 1_000_000
"""The most values of rows in one request, besides those of its largest field."""

_ROW = 4
"""What a row costs in addition to its values."""
_TEXT = 64
"""Bytes of text that cost as much as one value."""
_CHEAP = 16
"""Runs that are looked at, or keys that are looked up, for the cost of one field or value."""
_MOST_SUGGESTIONS = 8


class RequestTooLargeError(UsageError):
    """A request exceeds a limit on its work."""


class Work:
    """Counts the work of one request. After a limit is exceeded, nothing more is computed for the request.

    One field with rows may be of any size: a client may read a complete history at once, which is bounded
    by the bundle. It is the repetition that a limit bounds.

    Attributes:
        listed: Fields of listed objects, and runs looked at.
        values: Values of rows.
        largest: The values of the largest field.
        exceeded: The error of the request, if it exceeded a limit.
    """

    def __init__(self, *, max_listed: int | None = None, max_values: int | None = None) -> None:
        self._max_listed = MAX_LISTED if max_listed is None else max_listed
        self._max_values = MAX_VALUES if max_values is None else max_values
        self.listed = 0
        self.values = 0
        self.largest = 0
        self.exceeded: RequestTooLargeError | None = None
        self._misses = 0
        self._selected: dict[int, int] = {}
        self._read: set[RunPath] = set()

    def may_suggest(self) -> bool:
        """Count something that was not found, and return whether names near it are looked for."""
        self._misses += 1
        return self._misses <= _MOST_SUGGESTIONS

    def check(self) -> None:
        """Raise the error again if a limit was exceeded.

        Raises:
            RequestTooLargeError: A limit was exceeded before.
        """
        if self.exceeded is not None:
            raise self.exceeded

    def fields_of(self, info: GraphQLResolveInfo) -> int:
        """Return the number of fields that a request selects of the objects in a list."""
        first = info.field_nodes[0]
        if id(first) not in self._selected:
            self._selected[id(first)] = selected_fields(info.field_nodes, info.fragments)
        return self._selected[id(first)]

    def add_objects(self, objects: int, *, fields: int) -> None:
        """Count the objects of a list, each of which is answered with `fields` fields.

        Raises:
            RequestTooLargeError: A limit is exceeded.
        """
        self._list(objects * max(fields, 1))

    def add_runs(self, runs: int) -> None:
        """Count runs that are looked at to list, filter, sort or suggest some of them.

        Raises:
            RequestTooLargeError: A limit is exceeded.
        """
        self._list(1 + runs // _CHEAP)

    def _list(self, units: int) -> None:
        self.check()
        self.listed += units
        if self.listed > self._max_listed:
            self._exceed(
                f"this request lists more than {self._max_listed} fields",
                hint="request fewer objects per page, fewer fields or fewer aliases",
            )

    def add_rows(self, rows: int, *, keys: int) -> None:
        """Count the rows of a field, each of which has up to `keys` values.

        Raises:
            RequestTooLargeError: A limit is exceeded.
        """
        self._add(rows * (keys + _ROW))

    def add_reading(self, path: RunPath, rows: int) -> None:
        """Count the reading of a history. The first one is free: all together they are bounded by the bundle.

        Raises:
            RequestTooLargeError: A limit is exceeded.
        """
        if path in self._read:
            self._add(rows)
        self._read.add(path)

    def add_lookups(self, lookups: int) -> None:
        """Count keys that are looked up in rows.

        Raises:
            RequestTooLargeError: A limit is exceeded.
        """
        self._add(1 + lookups // _CHEAP)

    def add_text(self, text: str | None) -> str | None:
        """Count a text, and return it.

        Raises:
            RequestTooLargeError: A limit is exceeded.
        """
        self._add(1 + len(text or "") // _TEXT)
        return text

    def _add(self, units: int) -> None:
        self.check()
        self.values += units
        self.largest = max(self.largest, units)
        if self.values - self.largest > self._max_values:
            self._exceed(
                f"this request reads more than {self._max_values} values besides its largest field",
                hint="request fewer runs, keys, samples or aliases at once",
            )

    def _exceed(self, message: str, *, hint: str) -> None:
        self.exceeded = RequestTooLargeError(message, hint=hint)
        raise self.exceeded
