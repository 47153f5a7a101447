"""What all answers have in common: their context, pages of items, and ids."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pull_logs.errors import UsageError
from pull_logs.replay.data import Library, ProjectKey, Table
from pull_logs.replay.graphql.work import Work
from pull_logs.runs import RunPath
from pull_logs.snapshot import Run

MAX_PAGE = 1000
"""The most edges of one page; a client that requests more finds the rest on the next page."""

DEFAULT_PAGE = 50
UNKNOWN_TIME = "1970-01-01T00:00:00Z"

Node = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Context:
    """The data and the address that the answers of one request are made from, and what they cost.

    Attributes:
        library: What is read.
        base_url: The beginning of links.
        work: Counts what the request costs.
        on_run: Called with the path of each run that is in the answer.
        project: Returns the names of a project.
    """

    library: Library
    base_url: str
    work: Work
    on_run: Callable[[RunPath], None]
    project: Callable[[ProjectKey], Node]

    def table(self, run: Run) -> Table:
        """Return the history of a run; reading it again in one request, since it is not kept, is counted."""
        return self.library.table(run, on_read=lambda: self.work.add_reading(run.path, run.rows))

    def look_at(self, key: ProjectKey) -> None:
        """Count the runs of a project, of which some are looked for."""
        self.work.add_runs(self.library.catalog.count(key))


def connection(
    items: Sequence[T],
    node: Callable[[T], Node | None],
    *,
    after: str | None,
    first: int | None,
    count: str = "",
    most: int = MAX_PAGE,
) -> Node:
    """Return a page of items as edges with cursors; a cursor has the index of an item in the list.

    Args:
        items: All items.
        node: Returns the object of an item.
        after: The cursor of the item before the page; None for the first page.
        first: The number of items in the page; None for the default.
        count: The name of the field with the number of all items; empty for none.
        most: The most items in a page.
    """
    start = 0 if not after else cursor_index(after) + 1
    stop = start + min(max(DEFAULT_PAGE if first is None else first, 0), most)
    shown = range(start, min(stop, len(items)))
    edges = [{"cursor": opaque("Cursor", str(at)), "node": node(items[at])} for at in shown]
    info = {
        "end_cursor": edges[-1]["cursor"] if edges else None,
        "has_next_page": stop < len(items),
    }
    return {"edges": edges, "page_info": info, **({count: len(items)} if count else {})}


def cursor_index(cursor: str) -> int:
    """Return the index in a cursor.

    Raises:
        UsageError: It is not a cursor of this server.
    """
    try:
        kind, _, index = base64.b64decode(cursor, validate=True).decode().partition(":")
        if kind == "Cursor":
            return max(int(index), 0)
    except ValueError:
        pass
    raise UsageError(f"{cursor!r} is not a cursor of this server")


def opaque(kind: str, text: str) -> str:
    """Return an id that a client must not look into."""
    return base64.b64encode(f"{kind}:{text}".encode()).decode()


def internal_id(key: ProjectKey) -> str:
    """Return a number for the project, which the SDK requires; it is the same in every process."""
    return str(zlib.crc32("/".join(key).encode()))
