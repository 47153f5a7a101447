"""Find and replace secrets and personal data in the documents and rows of one run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pull_logs.rows.arrays import flat, present_rows, truths
from pull_logs.rows.batches import RESIDUAL, residual_rows, steps_of
from pull_logs.rows.canonical import STEP, canonical_text
from pull_logs.run_fields import RUN_FIELDS
from pull_logs.runs import RunInfo
from pull_logs.snapshot.privacy.patterns import (
    HINT,
    KINDS,
    MARKER,
    SECRETS,
    TEXT_HINT,
    find_spans,
    holds_wandb_key,
    key_kind,
    masked,
    redact_text,
)

Steps: TypeAlias = NDArray[np.int64]

_SCRUBBED = tuple(field for field in RUN_FIELDS if field.scrubbed)

_TRANSPARENT = frozenset({"value", "default"})
"""Keys that do not describe their value: W&B wraps the values of a config in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One kind of sensitive text at one location of a run.

    Attributes:
        run: The path of the run, `entity/project/run_id`.
        location: A path such as `config.api.key`, `tags[0]`, or `history.note` for a column.
        kind: One of `KINDS`.
        step: For a column of a history, the first step with such a text; None elsewhere.
        cells: The number of cells of the column with such a text; 1 elsewhere.
        excerpt: A masked form of the first such text.
    """

    run: str
    location: str
    kind: str
    step: int | None
    cells: int
    excerpt: str

    @property
    def secret(self) -> bool:
        """Whether it is a secret, and not personal data."""
        return self.kind in SECRETS


def matching(texts: pa.Array, pattern: str) -> NDArray[np.bool_]:
    """Return which texts match a regular expression anywhere; a null does not."""
    # Most bundles have no texts to search, and importing it takes longer than searching a few.
    import pyarrow.compute as pc

    found = pc.match_substring_regex(texts, pattern)
    return truths(found) & present_rows(found)


def _describes(key: str) -> bool:
    """Return whether a key says what its values are, so that texts without a hint may have a finding."""
    return key_kind(key, machine=True) is not None or holds_wandb_key(key)


def _member(location: str, key: str) -> str:
    """Return the location of a member; dots in its key are escaped, as in every flat key."""
    escaped = key.replace("\\", "\\\\").replace(".", "\\.")
    return f"{location}.{escaped}"


_LONG = 4096
"""Characters of a text that is searched for a hint first: a search for each kind takes a second per MB."""


class Scrubber:
    """Looks through the texts of one run, collects findings, and returns the texts without them.

    Finding and replacing is one operation, so that what is removed is exactly what is reported.

    Args:
        run: The path of the run, for the findings.
        kinds: The kinds to look for.

    Attributes:
        earlier: The number of markers of each kind in the texts as they were.
        markers: The number of markers of each kind in the texts as they were returned.
    """

    def __init__(self, run: str, *, kinds: Iterable[str] = KINDS) -> None:
        self._run = run
        self._kinds = frozenset(kinds)
        self._found: dict[tuple[str, str], Finding] = {}
        self.earlier: Counter[str] = Counter()
        self.markers: Counter[str] = Counter()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings so far, by location and kind."""
        return tuple(self._found[key] for key in sorted(self._found))

    def info(self, info: RunInfo) -> RunInfo:
        """Scrub the facts of a run; the path, the commit and the host of the API are not changed."""
        facts: dict[str, Any] = {}
        for field in _SCRUBBED:
            name, value, machine = field.name, field.reader(info), field.scrubbed == "machine"
            if field.kind == "tags":
                facts[name] = tuple(self.text(tag, f"{name}[{index}]") for index, tag in enumerate(value))
            else:
                key = name if machine and field.kind == "text" else ""
                facts[name] = self.value(value, name, key=key, machine=machine)
        return replace(info, **facts)

    def value(
        self, value: Any, location: str, *, key: str = "", path: str = "", machine: bool = False
    ) -> Any:
        """Scrub every text in a JSON-like value, each with the key that it is stored under.

        Args:
            value: The value.
            location: The location of the value, for findings.
            key: The key of the value.
            path: The keys that lead to that key, joined by dots.
            machine: As for `key_kind`.
        """
        if isinstance(value, str):
            return self.text(value, location, key=key, path=path, machine=machine)
        if isinstance(value, Mapping):
            inside = f"{path}.{key}" if key else path
            return {
                name: self.value(inner, _member(location, name), key=key, path=path, machine=machine)
                if name in _TRANSPARENT
                else self.value(inner, _member(location, name), key=name, path=inside, machine=machine)
                for name, inner in value.items()
            }
        if isinstance(value, list | tuple):
            # In a list of command-line arguments, a flag is the key of the argument after it.
            flags = ["", *(item if isinstance(item, str) and item.startswith("-") else "" for item in value)]
            return [
                self.value(
                    inner,
                    f"{location}[{index}]",
                    key=flag if "=" not in flag and flag else key,
                    path=path,
                    machine=machine,
                )
                for index, (inner, flag) in enumerate(zip(value, flags, strict=False))
            ]
        return value

    def text(
        self,
        text: str,
        location: str,
        *,
        key: str = "",
        path: str = "",
        machine: bool = False,
        step: int | None = None,
        cells: int = 1,
    ) -> str:
        """Scrub a text.

        Args:
            text: The text.
            location: The location of the text, for findings.
            key: The key that the text is stored under.
            path: The keys that lead to that key, joined by dots.
            machine: As for `key_kind`.
            step: The first step with this text.
            cells: The number of cells with this text.
        """
        if len(text) > _LONG and not _describes(key) and not matching(pa.array([text]), TEXT_HINT)[0]:
            return text
        spans = find_spans(text, key=key, path=path, machine=machine, kinds=self._kinds)
        scrubbed = (
            redact_text(text, key=key, path=path, machine=machine, kinds=self._kinds) if spans else text
        )
        for span in {span.kind: span for span in reversed(spans)}.values():
            excerpt = masked(text[span.start : span.end], span.kind)
            self._add(location, span.kind, excerpt, step=step, cells=cells)
        for counts, marked in ((self.earlier, text), (self.markers, scrubbed)):
            for mark in MARKER.finditer(marked):
                counts[mark[1]] += cells
        return scrubbed

    def probe(self) -> Scrubber:
        """Return a scrubber of the same run and kinds without findings, for text that is not returned."""
        return Scrubber(self._run, kinds=self._kinds)

    def take_findings(self, probe: Scrubber) -> None:
        """Add the findings of another scrubber of the same run."""
        self._found |= probe._found

    def _add(self, location: str, kind: str, excerpt: str, *, step: int | None, cells: int) -> None:
        known = self._found.get((location, kind))
        if known is not None:
            cells += known.cells
            if step is None or (known.step is not None and known.step <= step):
                step, excerpt = known.step, known.excerpt
        self._found[location, kind] = Finding(
            run=self._run, location=location, kind=kind, step=step, cells=cells, excerpt=excerpt
        )

    def batch(self, batch: pa.Table, root: str) -> pa.Table:
        """Scrub the text columns of a batch; a column without findings is returned as the same object.

        Args:
            batch: A batch of a history or of system metrics.
            root: The location of the batch: `history` or `system`.
        """
        steps = steps_of(batch) if STEP in batch.column_names else None
        for index, name in enumerate(batch.column_names):
            if batch.schema.field(index).type != pa.string():
                continue
            array = flat(batch.column(index))
            changed = (
                self._residual(array, root, steps)
                if name == RESIDUAL
                else self._column(array, _member(root, name), name, steps)
            )
            if changed is not None:
                batch = batch.set_column(index, batch.schema.field(index), changed)
        return batch

    def _column(self, array: pa.Array, location: str, name: str, steps: Steps | None) -> pa.Array | None:
        """Scrub the distinct texts of a column; return None if nothing was found."""
        coded = array.dictionary_encode()
        known = coded.dictionary
        suspects = np.ones(len(known), bool) if _describes(name) else matching(known, TEXT_HINT)
        if not suspects.any():
            return None
        codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(codes >= 0)
        present, first, counts = np.unique(codes[rows], return_index=True, return_counts=True)
        texts = known.to_pylist()
        changed = False
        for code, start, count in sorted(
            zip(present.tolist(), first.tolist(), counts.tolist(), strict=True), key=lambda item: item[1]
        ):
            if suspects[code]:
                step = None if steps is None else int(steps[rows[start]])
                scrubbed = self.text(texts[code], location, key=name, step=step, cells=count)
                changed |= scrubbed != texts[code]
                texts[code] = scrubbed
        if not changed:
            return None
        return pa.array(texts, pa.string()).take(coded.indices)

    def _residual(self, array: pa.Array, root: str, steps: Steps | None) -> pa.Array | None:
        """Scrub the residual column; return None if nothing was found."""
        suspects = np.flatnonzero(matching(array, HINT))
        if not len(suspects):
            return None
        changed: dict[int, str] = {}
        for index, text, members in residual_rows(array.take(pa.array(suspects))):
            row = int(suspects[index])
            inner = Scrubber(self._run, kinds=self._kinds)
            scrubbed = canonical_text(inner.value(members, root))
            self.earlier += inner.earlier
            self.markers += inner.markers
            for found in inner.findings:
                step = None if steps is None else int(steps[row])
                self._add(found.location, found.kind, found.excerpt, step=step, cells=found.cells)
            if scrubbed != text and inner.findings:
                changed[row] = scrubbed
        if not changed:
            return None
        texts = array.to_pylist()
        for row, text in changed.items():
            texts[row] = text
        return pa.array(texts, pa.string())
