"""Where a bundle is, for a worker that opens it itself.

A worker keeps a few bundles open, because the tasks of a question are about the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, Protocol, TypeVar

from pull_logs.errors import FileMissingError
from pull_logs.snapshot.read import Bundle, Run, open_bundle

_MOST_OPEN = 8


@dataclass(frozen=True, slots=True)
class BundleLocation:
    """A bundle, and where it is.

    Attributes:
        bundle_id: The identity of its bytes.
        shown: How messages name it.
        location: Its absolute path or its URL, which may contain a password.
    """

    bundle_id: str
    shown: str
    location: str = field(repr=False)

    @classmethod
    def of(cls, run: Run) -> BundleLocation:
        """Return where the bundle of a run is."""
        return cls(run.bundle_id, run.bundle_path, run.bundle_location)


class _Closes(Protocol):
    """What is open, and can be closed."""

    def close(self) -> None:
        """Close it."""


OpenT = TypeVar("OpenT", bound=_Closes)


@dataclass(slots=True)
class _Held(Generic[OpenT]):
    """What is open.

    Attributes:
        opened: The bundle.
        users: How many threads use it now.
    """

    opened: OpenT
    users: int = 0


class KeptOpen(Generic[OpenT]):
    """Bundles that stay open in this process, because the next task is about the same ones.

    Args:
        opens: Opens a bundle.
    """

    def __init__(self, opens: Callable[[BundleLocation], OpenT]) -> None:
        self._opens = opens
        self._lock = Lock()
        self._held: dict[BundleLocation, _Held[OpenT]] = {}

    @contextmanager
    def using(self, where: BundleLocation) -> Iterator[OpenT]:
        """Open a bundle unless it is open, and keep it open while the block runs."""
        with self._lock:
            held = self._held.pop(where, None) or _Held(self._opens(where))
            held.users += 1
            self._held[where] = held
        try:
            yield held.opened
        finally:
            with self._lock:
                held.users -= 1
                self._close(len(self._held) - _MOST_OPEN)

    def close(self) -> None:
        """Close every bundle that is not in use."""
        with self._lock:
            self._close(len(self._held))

    def _close(self, most: int) -> None:
        """Close as many as this of those that are not in use, the ones used last at the end."""
        unused = [where for where, held in self._held.items() if not held.users]
        for where in unused[: max(most, 0)]:
            self._held.pop(where).opened.close()


def located(where: BundleLocation) -> AbstractContextManager[Bundle]:
    """Open the bundle at a location, or take the one that an earlier task has opened.

    Raises:
        FileMissingError: There is nothing at the location that this process can see, or another bundle.
        AccessError: The URL cannot be reached.
        DamageError: The bundle is damaged.
    """
    return _BUNDLES.using(where)


def close_located() -> None:
    """Close the bundles that `located` keeps open."""
    _BUNDLES.close()


@contextmanager
def found_at(where: BundleLocation) -> Iterator[None]:
    """Explain that a worker does not find a bundle.

    Raises:
        FileMissingError: The block raises it.
    """
    try:
        yield
    except FileMissingError as exc:
        raise FileMissingError(
            f"a worker does not find {where.shown!r}",
            hint="put the bundle where every worker can read it, such as a shared folder or s3://",
        ) from exc


def refuse_other(where: BundleLocation, bundle_id: str) -> None:
    """Make another bundle than the one that was expected an error.

    Raises:
        FileMissingError: It is another one.
    """
    if bundle_id != where.bundle_id:
        raise FileMissingError(
            f"a worker finds another bundle at {where.shown!r} than this process",
            hint="it was replaced while it was read, or the worker has another file of this name",
        )


def _open(where: BundleLocation) -> Bundle:
    with found_at(where):
        bundle = open_bundle(where.location)
    try:
        refuse_other(where, bundle.bundle_id)
    except FileMissingError:
        bundle.close()
        raise
    return bundle


_BUNDLES = KeptOpen(_open)
