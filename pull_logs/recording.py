"""Recording: what a test asks for and its bundle lacks is pulled into the bundle, once.

The replay server tells what a query names; runs that are not there are pulled
from W&B as `fetch` pulls them, whole, and added. What is there stays as it is,
byte for byte. The next query, and every later session, is answered by the bundle.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from pull_logs.errors import NotFoundError
from pull_logs.fetch import RunFilter, Selection, Settings, pull_sync, run_async
from pull_logs.fetch.api import Client, default_entity
from pull_logs.replay.data import compile_filter
from pull_logs.replay.graphql import Listing, QueryTarget, Sweep
from pull_logs.runs import RunInfo, RunPath, RunReference
from pull_logs.snapshot import Bundle, merge_bundles, open_bundle


class Recorder:
    """Adds to a bundle the runs that are asked for and that neither it nor the others hold.

    Use it in a `with` block; one at a time for a bundle.

    Args:
        into: The bundle that runs are added to; it need not be there yet.
        others: Bundles that are served with it.
        settings: Which W&B, and as whom.
        asked: What was asked for already; it is not asked for again, and what is asked for is added.
    """

    def __init__(
        self, into: Path, others: Sequence[Path], *, settings: Settings, asked: set[tuple[Path, QueryTarget]]
    ) -> None:
        self._into, self._others = into, others
        self._settings = settings
        self._asked = asked
        self._stack = ExitStack()
        self.bundles: tuple[Bundle, ...] = ()
        self.added: list[RunPath] = []

    def __enter__(self) -> Self:
        """Open the bundles that are there."""
        with ExitStack() as stack:
            self._stack = stack
            self._open()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every bundle that was served."""
        self._stack.close()

    def entity(self) -> str | None:
        """The default entity for a server over bundles that hold no run to take it from."""
        if any(len(bundle) for bundle in self.bundles):
            return None
        return self._settings.entity or run_async(partial(_ask_entity, self._settings))

    def record(self, named: Collection[QueryTarget]) -> Sequence[Bundle] | None:
        """Pull what of this is neither there nor was asked for before; the bundles to serve, if they changed.

        Raises:
            PullLogsError: W&B could not be asked, or the bundle could not be written.
        """
        fresh = {one for one in named if (self._into, one) not in self._asked and not self._holds(one)}
        changed = False
        for one in sorted(fresh, key=str):
            changed |= self._pull(_selection(one, self._holds))
            self._asked.add((self._into, one))
        return self.bundles if changed else None

    def _holds(self, named: QueryTarget) -> bool:
        return isinstance(named, RunPath) and any(str(named) in bundle for bundle in self.bundles)

    def _pull(self, selection: Selection) -> bool:
        """Whether the bundle has more runs now."""
        self._into.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".wandb-record-", dir=self._into.parent) as folder:
            pulled = Path(folder) / "pulled.wandb.zip"
            try:
                report = pull_sync(selection, out=pulled, settings=self._settings)
            except NotFoundError:
                return False  # a miss here as well, of which the server tells
            if self._into.exists():
                with open_bundle(self._into) as old, open_bundle(pulled) as new:
                    merge_bundles([old, new], self._into)
            else:
                pulled.replace(self._into)
        self.added += [outcome.path for outcome in report.runs if outcome.sealed]
        self._open()
        return True

    def _open(self) -> None:
        """Open the bundles as they are now; those that were served stay open for queries under way."""
        paths = [*([self._into] if self._into.exists() else []), *self._others]
        self.bundles = tuple([self._stack.enter_context(open_bundle(path)) for path in paths])


def _selection(named: QueryTarget, held: Callable[[QueryTarget], bool]) -> Selection:
    """What to pull: of a listing or a sweep the runs that are not there yet.

    Raises:
        UsageError: A listing's filter is none of W&B's.
    """
    if isinstance(named, RunPath):
        return Selection(runs=(RunReference(named.run_id, project=named.project, entity=named.entity),))
    project = f"{named.entity}/{named.project}"
    filters = named.filters if isinstance(named, Listing) else "{}"
    keep = compile_filter(filters)

    def wanted(info: RunInfo) -> bool:
        return keep(info) and not held(info.path)

    kept = RunFilter(text=filters, holds=wanted, prefilter=json.loads(filters) or {})
    if isinstance(named, Sweep):
        return Selection(sweeps=(f"{project}/{named.sweep_id}",), filter=kept)
    return Selection(projects=(project,), filter=kept)


async def _ask_entity(settings: Settings) -> str | None:
    async with Client(settings) as client:
        answer = await client.query(default_entity())
    viewer = answer.data.get("viewer")
    entity = viewer.get("entity") if isinstance(viewer, dict) else None
    return entity if isinstance(entity, str) and entity else None
