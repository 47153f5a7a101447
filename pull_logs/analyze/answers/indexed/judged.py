"""Which metrics of runs may have a health flag, as the indexes of their bundles say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from pull_logs.analyze.health import metrics_that_can_have_flags
from pull_logs.frames import MetricIndex, NumberColumns, RunLike, by_bundle


def judged_metrics(
    runs: Sequence[RunLike], positions: Iterable[int], names: frozenset[str]
) -> dict[int, frozenset[str]]:
    """Return the metrics that may have a flag, by the position of each run that an index has.

    Args:
        runs: The runs.
        positions: Those of the runs that are judged.
        names: The metrics that are judged.

    Raises:
        DamageError: An index is damaged.
    """
    asked = list(positions)
    found: dict[int, frozenset[str]] = {}
    for together in by_bundle(runs[position].bundle_id for position in asked):
        by_index: dict[MetricIndex, dict[int, list[int]]] = {}
        for position in map(asked.__getitem__, together):
            entry = runs[position].index_entry()
            if entry is not None:
                by_index.setdefault(entry.index, {}).setdefault(entry.number, []).append(position)
                found[position] = frozenset()
        for index, numbers in by_index.items():
            for columns in index.numbers(list(numbers), names):
                for number, judged in _by_run(columns):
                    found |= dict.fromkeys(numbers[number], judged)
    return found


def _by_run(columns: NumberColumns) -> Iterator[tuple[int, frozenset[str]]]:
    """Yield the number of each run that has such metrics, and these; most runs have the same."""
    kept = metrics_that_can_have_flags(columns)
    metrics, runs = columns.name[kept], columns.run[kept]
    starts = np.flatnonzero(np.diff(runs, prepend=-1)).tolist()
    known: dict[bytes, frozenset[str]] = {}
    for start, end in pairwise((*starts, len(runs))):
        codes = metrics[start:end]
        judged = known.get(codes.tobytes())
        if judged is None:
            judged = known[codes.tobytes()] = frozenset(columns.names[code] for code in codes.tolist())
        yield int(runs[start]), judged
