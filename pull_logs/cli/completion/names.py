"""The names that a shell completes: runs, metrics and config keys, from the index of a bundle alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from pull_logs.snapshot import Run

Kind: TypeAlias = Literal["run", "metric", "key", "field"]
"""What an option takes: a run, a metric, a config key, or any field of a run."""

_MOST_BUNDLES = 20
_MOST_RUNS = 2_000
_SAFE = re.compile(r"[\w@%+./][\w@%+./-]*")
"""Names that no shell acts on, nor splits at a colon; others are not completed."""

_FIELDS = ("state", "name", "id", "tags", "group", "job_type", "created_at", "duration", "rows", "last_step")


def names_in(bundles: Iterable[str], kinds: Sequence[Kind]) -> list[str]:
    """Return the names of some kinds in bundles, sorted; a URL is not opened.

    Args:
        bundles: The bundles, as they are named on the command line.
        kinds: What to name.

    Raises:
        PullLogsError: A bundle cannot be read.
    """
    from pull_logs.interface import find_bundles
    from pull_logs.snapshot import open_bundle
    from pull_logs.snapshot.format import is_url

    paths = [Path(name).expanduser() for name in bundles if not is_url(name)]
    found: set[str] = set(_FIELDS) if "field" in kinds else set()
    with ExitStack() as opened:
        for path in islice(find_bundles(paths) if paths else (), _MOST_BUNDLES):
            bundle = opened.enter_context(open_bundle(path))
            for run in islice(bundle.runs(), _MOST_RUNS):
                found.update(name for kind in kinds for name in _names(run, kind))
    return sorted(name for name in found if _SAFE.fullmatch(name))


def _names(run: Run, kind: Kind) -> Iterator[str]:
    match kind:
        case "run":
            yield run.path.run_id
        case "metric":
            yield from run.indexed_names() or ()
        case "key":
            yield from _flat("config", run.info.config)
        case "field":
            yield from _flat("config", run.info.config)
            yield from _flat("summary", run.info.summary)


def _flat(prefix: str, record: object) -> Iterator[str]:
    from pull_logs.frames import flatten

    yield from (f"{prefix}.{key}" for key in flatten(record))  # type: ignore[arg-type]
