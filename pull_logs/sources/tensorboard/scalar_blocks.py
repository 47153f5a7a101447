"""Scalars, decoded many at a time.

The events of one scalar differ in three things only: the time, the step, and the number. So the records of a
block are grouped by their length and the length of their step; in each group, those that are equal outside
the number have one tag, which is decoded once. They are found by a hash, and compared byte by byte. A record
that does not have this form is left to `events`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pull_logs.rows.arrays import Ints
from pull_logs.sources.point_rows import Points, select
from pull_logs.sources.tensorboard.checksums import Bytes, pieces_at
from pull_logs.sources.tensorboard.record_framing import RecordBlock
from pull_logs.sources.tensorboard.tensors import read_tensor
from pull_logs.sources.tensorboard.wire import BYTES, FIXED32, WireError, fields, text

_STEP_AT = 10
"""The offset of the step: after the time, which is a key and 8 bytes, and the key of the step."""

_MOST_STEP = 10
_SHORTEST = _STEP_AT + _MOST_STEP
_MOST_LENGTH = 512
"""The most bytes of a record that is taken for a scalar."""

_FEWEST = 4
"""Fewer records of one length are decoded one by one."""

_MOST_KNOWN = 2**16
_SLOT_BITS = 12
_SLOTS = 2**_SLOT_BITS
_MULTIPLIERS = np.random.default_rng(5).integers(2**63, size=_MOST_LENGTH // 8 + 1, dtype=np.uint64) * 2 + 1
_PLAIN = ("", "scalars")
"""The plugins whose tensors are plain numbers."""


@dataclass(frozen=True, slots=True)
class _Form:
    """The bytes of a scalar after its step.

    Attributes:
        tag: The tag.
        offset: The offset of the number.
        dtype: The type of the number.
    """

    tag: str
    offset: int
    dtype: str

    @property
    def end(self) -> int:
        return self.offset + np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class _Found:
    """The scalars of a block, at the indices of their records."""

    points: Points

    @classmethod
    def empty(cls, size: int) -> _Found:
        """Return arrays for the scalars of that many records."""
        tags, steps = np.empty(size, np.int64), np.empty(size, np.int64)
        return cls(Points(tags, steps, np.empty(size, np.float64), np.empty(size, np.float64)))

    def add(self, indices: Ints, records: Bytes, tags: Ints, width: int, form: _Form) -> None:
        """Add the scalars of records of one form."""
        steps = np.zeros(len(records), dtype=np.uint64)
        for index in range(width):
            byte = records[:, _STEP_AT + index].astype(np.uint64)
            steps |= (byte & np.uint64(0x7F)) << np.uint64(7 * index)
        start = _STEP_AT + width
        numbers = np.ascontiguousarray(records[:, start + form.offset : start + form.end]).view(form.dtype)
        self.points.tags[indices] = tags
        self.points.steps[indices] = steps.view(np.int64)
        self.points.times[indices] = np.ascontiguousarray(records[:, 1:9]).view("<f8")[:, 0]
        self.points.values[indices] = numbers[:, 0]

    def without(self, others: Ints) -> Points:
        """Return the scalars, without the records that are others."""
        keep = np.ones(len(self.points.tags), dtype=np.bool_)
        keep[others] = False
        return self.points if keep.all() else select(self.points, keep)


class _Templates:
    """The bodies of one length that are known, without their numbers, found by their hashes."""

    def __init__(self, width: int) -> None:
        self._slots = np.zeros(_SLOTS, dtype=np.int16)
        # The first template is none: no tag has its number.
        self._words = np.zeros((1, width), dtype=np.uint64)
        self._tags = np.full(1, -1, dtype=np.int64)

    def tags_of(self, words: NDArray[np.uint64], hashes: NDArray[np.uint64]) -> Ints:
        """Return the tag of each body that equals a template, and -1 for the others."""
        numbers = self._slots[hashes >> np.uint64(64 - _SLOT_BITS)]
        equal = words[:, 0] == self._words[:, 0][numbers]
        for column in range(1, words.shape[1]):
            equal &= words[:, column] == self._words[:, column][numbers]
        found: Ints = np.where(equal, self._tags[numbers], -1)
        return found

    def add(self, words: NDArray[np.uint64], code: np.uint64, tag: int) -> None:
        """Add a template, unless there are too many."""
        if len(self._tags) < _SLOTS:
            self._slots[code >> np.uint64(64 - _SLOT_BITS)] = len(self._tags)
            self._words = np.vstack([self._words, words])
            self._tags = np.append(self._tags, tag)


@dataclass(slots=True)
class ScalarDecoder:
    """Decodes the scalars of the blocks of a file.

    Attributes:
        tags: The index of each tag.
    """

    tags: dict[str, int] = field(default_factory=dict)
    _known: dict[tuple[int, bytes], _Form | None] = field(default_factory=dict)
    _templates: dict[tuple[int, int, str], _Templates] = field(default_factory=dict)

    def decode(self, block: RecordBlock) -> tuple[Points, Ints]:
        """Return the scalars of a block, in the order of the file, and the indices of its other records."""
        raw = np.frombuffer(block.data, dtype=np.uint8)
        lengths = block.ends - block.starts
        others: list[Ints] = []
        found = _Found.empty(len(lengths))
        able = (lengths >= _SHORTEST) & (lengths <= _MOST_LENGTH)
        able[able] = (raw[block.starts[able]] == 0x09) & (raw[block.starts[able] + 9] == 0x10)
        others.append(np.flatnonzero(~able))
        counts = np.bincount(lengths[able], minlength=1)
        for length in np.flatnonzero(counts).tolist():
            indices = np.flatnonzero(able & (lengths == length))
            if len(indices) < _FEWEST:
                others.append(indices)
                continue
            records = pieces_at(raw, block.starts[indices], length)
            widths = _step_widths(records)
            for width in np.flatnonzero(np.bincount(widths)).tolist():
                some = np.flatnonzero(widths == width)
                if not width:
                    others.append(indices[some])
                elif len(some) == len(indices):
                    others.append(self._group(records, width, indices, found))
                else:
                    others.append(self._group(records[some], width, indices[some], found))
        left = np.sort(np.concatenate(others))
        return found.without(left), left

    def _group(self, records: Bytes, width: int, indices: Ints, found: _Found) -> Ints:
        """Add the scalars of records of one length whose steps have one length; return the other indices."""
        others: list[Ints] = []
        while len(records):
            bodies = records[:, _STEP_AT + width :]
            form = _form_of(bodies[0].tobytes())
            if form is None:
                others.append(indices[:1])
                records, indices = records[1:], indices[1:]
                continue
            tags = self._tags(bodies, form)
            left = np.flatnonzero(tags < 0)
            if not len(left):
                found.add(indices, records, tags, width, form)
                break
            chosen = np.flatnonzero(tags >= 0)
            found.add(indices[chosen], records[chosen], tags[chosen], width, form)
            records, indices = records[left], indices[left]
        return np.concatenate([indices[:0], *others])

    def _tags(self, bodies: Bytes, form: _Form) -> Ints:
        """Return the tag of each body that has its number where a form has it, and -1 for the others."""
        blank = np.zeros((len(bodies), -(-bodies.shape[1] // 8) * 8), dtype=np.uint8)
        blank[:, : bodies.shape[1]] = bodies
        blank[:, form.offset : form.end] = 0
        words = blank.view(np.uint64)
        hashes = words[:, 0] * _MULTIPLIERS[0]
        for column in range(1, words.shape[1]):
            hashes += words[:, column] * _MULTIPLIERS[column]
        key = bodies.shape[1], form.offset, form.dtype
        known = self._templates.setdefault(key, _Templates(words.shape[1]))
        tags = known.tags_of(words, hashes)
        left = np.flatnonzero(tags < 0)
        if len(left):
            tags[left] = self._new_tags(blank[left], bodies[left], hashes[left], form, known)
        if tags[0] < 0:
            # The form is that of the first body, so each round decodes one at least.
            tags[0] = self.tags.setdefault(form.tag, len(self.tags))
        return tags

    def _new_tags(
        self, blank: Bytes, bodies: Bytes, hashes: NDArray[np.uint64], form: _Form, known: _Templates
    ) -> Ints:
        """Return the tags of bodies that are like none before, as `_tags` does."""
        words = blank.view(np.uint64)
        _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        equal = (words == words[first][inverse]).all(axis=1)
        tags = np.full(len(first), -1, dtype=np.int64)
        for number, index in enumerate(first.tolist()):
            own = self._known_form(form.offset, blank[index].tobytes(), bodies[index].tobytes())
            if own is not None and (own.offset, own.dtype) == (form.offset, form.dtype):
                tags[number] = self.tags.setdefault(own.tag, len(self.tags))
                known.add(words[index], hashes[index], int(tags[number]))
        found: Ints = np.where(equal, tags[inverse], -1)
        return found

    def _known_form(self, offset: int, blank: bytes, body: bytes) -> _Form | None:
        """Return the form of a body, which is decoded once for all that are equal outside the number."""
        key = offset, blank
        if key not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[key] = _form_of(body)
        return self._known[key]


def _step_widths(records: Bytes) -> Ints:
    """Return how many bytes each step has; 0 if it has more than any number."""
    widths = np.ones(len(records), dtype=np.int64)
    goes_on = records[:, _STEP_AT] >= 0x80
    for index in range(1, _MOST_STEP):
        if not goes_on.any():
            return widths
        widths += goes_on
        goes_on &= records[:, _STEP_AT + index] >= 0x80
    widths[goes_on] = 0
    return widths


def _form_of(body: bytes) -> _Form | None:
    """Return the form of what follows the step of an event; None if it is not one scalar."""
    try:
        summaries = list(fields(body))
        if len(summaries) != 1 or (summaries[0].number, summaries[0].kind) != (5, BYTES):
            return None
        values = list(fields(body, summaries[0].start, summaries[0].end))
        if len(values) != 1 or (values[0].number, values[0].kind) != (1, BYTES):
            return None
        return _scalar_form(body, values[0].start, values[0].end)
    except WireError:
        return None


def _scalar_form(body: bytes, start: int, end: int) -> _Form | None:
    tag, form, plugin = "", None, ""
    seen: set[int] = set()
    for part in fields(body, start, end):
        if part.number in seen:
            return None
        seen.add(part.number)
        if part.number == 1:
            tag = text(body, part)
        elif part.number == 2 and part.kind == FIXED32:
            form = part.start, "<f4"
        elif part.number == 8 and part.kind == BYTES:
            form = _number_in_tensor(body, part.start, part.end)
        elif part.number == 9 and part.kind == BYTES:
            plugin = _plugin_name(body, part.start, part.end)
        else:
            return None
    if form is None or not tag or plugin not in _PLAIN or {2, 8} <= seen:
        return None
    return _Form(tag, *form)


def _plugin_name(body: bytes, start: int, end: int) -> str:
    for part in fields(body, start, end):
        if part.number == 1 and part.kind == BYTES:
            return next(
                (text(body, name) for name in fields(body, part.start, part.end) if name.number == 1), ""
            )
    return ""


def _number_in_tensor(body: bytes, start: int, end: int) -> tuple[int, str] | None:
    """Return where a tensor has its only number, and its type."""
    tensor = read_tensor(body[start:end])
    if tensor.numbers is None or tensor.shape or tensor.numbers.dtype not in ("<f4", "<f8"):
        return None
    places = [part for part in fields(body, start, end) if part.number in (4, 5, 6) and part.end > part.start]
    if len(places) != 1 or places[0].end - places[0].start != tensor.numbers.dtype.itemsize:
        return None
    return places[0].start, tensor.numbers.dtype.str
