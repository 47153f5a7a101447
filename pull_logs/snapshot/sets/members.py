"""The open members of a set: a bounded number of indexes is kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from pull_logs.errors import BundleDamagedError
from pull_logs.snapshot.format import Container
from pull_logs.snapshot.read import Bundle, load_index

MOST_OPEN = 32
"""The members whose indexes are kept in memory at most."""

MOST_RUNS = 30_000
"""With as many runs together, some are dropped before another is opened: a run has 1.5 kB in an index."""


class Members:
    """Opens members when they are needed.

    Args:
        open_member: Opens the file of a member by its name.
    """

    def __init__(self, open_member: Callable[[str], Container]) -> None:
        self._open_member = open_member
        self._lock = Lock()
        self._open: OrderedDict[str, Bundle] = OrderedDict()

    def bundle(self, name: str, bundle_id: str) -> Bundle:
        """Return an open member; it can be read as long as the caller keeps it, or one of its runs.

        Args:
            name: The name of the member.
            bundle_id: The identity that it has to have.

        Raises:
            FileMissingError: There is none of that name.
            BundleDamagedError: It is damaged, or another bundle.
        """
        with self._lock:
            found = self._open.get(name)
            if found is None:
                # Before, so that the next one takes the memory of these.
                while self._open and (len(self._open) >= MOST_OPEN or self._runs() >= MOST_RUNS):
                    self._open.popitem(last=False)
                found = self._open[name] = self._load(name, bundle_id)
            self._open.move_to_end(name)
            return found

    def _runs(self) -> int:
        return sum(map(len, self._open.values()))

    def _load(self, name: str, bundle_id: str) -> Bundle:
        container = self._open_member(name)
        try:
            bundle = Bundle(container, load_index(container))
        except BaseException:
            container.close()
            raise
        if bundle.bundle_id != bundle_id:
            container.close()
            raise BundleDamagedError(
                f"{str(container.path)!r} is another bundle than the catalog says", path=str(container.path)
            )
        return bundle

    def close(self) -> None:
        """Close all members; none of their runs can be read afterwards, until it is opened again."""
        with self._lock:
            for bundle in self._open.values():
                bundle.close()
            self._open.clear()
