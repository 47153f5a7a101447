"""What should not be shared in the documents and rows of one run: finding it and removing it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pull_logs.rows.arrays import flat
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
    key_kind,
    masked,
    redact_text,
)

_SCRUBBED = tuple(field for field in RUN_FIELDS if field.scrubbed)


_INHERITED = frozenset({"value", "default"})
"""Keys that say nothing of their own: W&B wraps config values so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something in one place of a run that should not be shared.

    Attributes:
        run: `entity/project/run_id`.
        place: A path like `config.api.key`, `tags[0]`, or `history.note` for a column.
        kind: One of `sensitive.KINDS`.
        step: The first step that has it, for a history; None elsewhere.
        cells: How many cells of the column have it; 1 elsewhere.
        excerpt: A hint at the first one that does not give it away.
    """

    run: str
    place: str
    kind: str
    step: int | None
    cells: int
    excerpt: str

    @property
    def secret(self) -> bool:
        """Whether it lets somebody in, rather than telling who somebody is."""
        return self.kind in SECRETS


def _joined(place: str, name: str) -> str:
    """A key behind a place, its own dots escaped as in every flat key."""
    escaped = name.replace("\\", "\\\\").replace(".", "\\.")
    return f"{place}.{escaped}"


def _hinted(array: pa.Array, hint: str) -> Any:
    """Which cells of a text column are worth a look."""
    return pc.match_substring_regex(array, hint).fill_null(False).to_numpy(zero_copy_only=False)


class Scrubber:
    """Looks through the texts of one run, remembers what is in them, and gives them back without it.

    Args:
        run: The path of the run, for the findings.
        kinds: The kinds to look for.

    Attributes:
        earlier: Per kind, the markers in what was looked at.
        markers: Per kind, the markers in what was given back.
        unread: The files that are text too long to be looked at.
    """

    def __init__(self, run: str, *, kinds: Iterable[str] = KINDS) -> None:
        self._run = run
        self._kinds = frozenset(kinds)
        self._found: dict[tuple[str, str], Finding] = {}
        self.earlier: Counter[str] = Counter()
        self.markers: Counter[str] = Counter()
        self.unread: list[str] = []

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found so far, by place and kind."""
        return tuple(self._found[key] for key in sorted(self._found))

    def info(self, info: RunInfo) -> RunInfo:
        """A run's facts, each text of them looked at; the path, the commit and the API's host stay as they are."""
        facts: dict[str, Any] = {}
        for field in _SCRUBBED:
            name, value, machine = field.name, field.reader(info), field.scrubbed == "machine"
            if field.kind == "tags":
                facts[name] = tuple(self.text(tag, f"{name}[{index}]") for index, tag in enumerate(value))
            else:
                key = name if machine and field.kind == "text" else ""
                facts[name] = self.value(value, name, key=key, machine=machine)
        return replace(info, **facts)

    def value(self, value: Any, place: str, *, key: str = "", machine: bool = False) -> Any:
        """A JSON-like value, every text in it looked at under the key that it stands under."""
        if isinstance(value, str):
            return self.text(value, place, key=key, machine=machine)
        if isinstance(value, Mapping):
            return {
                name: self.value(
                    inner, _joined(place, name), key=key if name in _INHERITED else name, machine=machine
                )
                for name, inner in value.items()
            }
        if isinstance(value, list | tuple):
            # In a list of arguments, a flag names the word behind it.
            flags = ["", *(item if isinstance(item, str) and item.startswith("-") else "" for item in value)]
            return [
                self.value(
                    inner, f"{place}[{index}]", key=flag if "=" not in flag and flag else key, machine=machine
                )
                for index, (inner, flag) in enumerate(zip(value, flags, strict=False))
            ]
        return value

    def text(
        self,
        text: str,
        place: str,
        *,
        key: str = "",
        machine: bool = False,
        step: int | None = None,
        cells: int = 1,
    ) -> str:
        """A text without what was found in it.

        Args:
            text: The text.
            place: Where it stands, for the finding.
            key: The key that it stands under.
            machine: As for `sensitive.key_kind`.
            step: The first step that has it.
            cells: How many cells have it.
        """
        spans = find_spans(text, key=key, machine=machine, kinds=self._kinds)
        scrubbed = redact_text(text, key=key, machine=machine, kinds=self._kinds) if spans else text
        for span in {span.kind: span for span in reversed(spans)}.values():
            excerpt = masked(text[span.start : span.end], span.kind)
            self._note(place, span.kind, excerpt, step=step, cells=cells)
        for counts, marked in ((self.earlier, text), (self.markers, scrubbed)):
            for mark in MARKER.finditer(marked):
                counts[mark[1]] += cells
        return scrubbed

    def _note(self, place: str, kind: str, excerpt: str, *, step: int | None, cells: int) -> None:
        known = self._found.get((place, kind))
        if known is not None:
            cells += known.cells
            if step is None or (known.step is not None and known.step <= step):
                step, excerpt = known.step, known.excerpt
        self._found[place, kind] = Finding(
            run=self._run, place=place, kind=kind, step=step, cells=cells, excerpt=excerpt
        )

    def batch(self, batch: pa.Table, root: str) -> pa.Table:
        """A batch with its text columns looked at; columns without findings stay the very ones they were.

        Args:
            batch: Of a history or of system metrics.
            root: `history` or `system`: where its columns stand.
        """
        steps = steps_of(batch) if STEP in batch.column_names else None
        for place, name in enumerate(batch.column_names):
            if batch.schema.field(place).type != pa.string():
                continue
            array = flat(batch.column(place))
            changed = (
                self._residual(array, root, steps)
                if name == RESIDUAL
                else self._column(array, _joined(root, name), name, steps)
            )
            if changed is not None:
                batch = batch.set_column(place, batch.schema.field(place), changed)
        return batch

    def _column(self, array: pa.Array, place: str, name: str, steps: Any) -> pa.Array | None:
        """The column without what was found, or None where nothing was."""
        coded = array.dictionary_encode()
        named = key_kind(name) is not None
        suspects = np.ones(len(coded.dictionary), bool) if named else _hinted(coded.dictionary, TEXT_HINT)
        if not suspects.any():
            return None
        codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(codes >= 0)
        present, first, counts = np.unique(codes[rows], return_index=True, return_counts=True)
        texts = coded.dictionary.to_pylist()
        changed = False
        for code, start, count in sorted(
            zip(present.tolist(), first.tolist(), counts.tolist(), strict=True), key=lambda item: item[1]
        ):
            if suspects[code]:
                step = None if steps is None else int(steps[rows[start]])
                scrubbed = self.text(texts[code], place, key=name, step=step, cells=count)
                changed |= scrubbed != texts[code]
                texts[code] = scrubbed
        if not changed:
            return None
        return pa.array(texts, pa.string()).take(coded.indices)

    def _residual(self, array: pa.Array, root: str, steps: Any) -> pa.Array | None:
        """The residual column without what was found, or None where nothing was."""
        hinted = np.flatnonzero(_hinted(array, HINT))
        if not len(hinted):
            return None
        texts: dict[int, str] = {}
        for place, text, members in residual_rows(array.take(pa.array(hinted))):
            row = int(hinted[place])
            inner = Scrubber(self._run, kinds=self._kinds)
            scrubbed = canonical_text(inner.value(members, root))
            self.earlier += inner.earlier
            self.markers += inner.markers
            for found in inner.findings:
                step = None if steps is None else int(steps[row])
                self._note(found.place, found.kind, found.excerpt, step=step, cells=found.cells)
            if scrubbed != text and inner.findings:
                texts[row] = scrubbed
        if not texts:
            return None
        whole = array.to_pylist()
        for row, text in texts.items():
            whole[row] = text
        return pa.array(whole, pa.string())
