"""The values of summaries as values of a history: numbers, lists, text, histograms, and media.

A histogram becomes one of W&B's, `{"_type": "histogram", "bins": [...], "values": [...]}`. An image or a
sound becomes a value that points to a file, as W&B's do, and the bytes of that file. See
docs/other-trackers.md, "TensorBoard".
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

from pull_logs.sources.tensorboard.events import SummaryValue
from pull_logs.sources.tensorboard.tensors import Tensor, read_tensor
from pull_logs.sources.tensorboard.wire import (
    BYTES,
    FIXED64,
    WireError,
    content,
    double,
    fields,
    single,
    text,
    whole,
)

SIMPLE, IMAGE, HISTOGRAM, AUDIO, TENSOR = 2, 4, 5, 6, 8
_FLOAT = struct.Struct("<f")
_DOUBLE = struct.Struct("<d")
_WITHOUT_VALUES = frozenset(
    {"hparams", "custom_scalars", "projector", "mesh", "graphs", "graph_run_metadata"}
)
"""The plugins whose summaries are not values of a metric."""

_IMAGE_TYPES = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpg"), (b"GIF8", "gif"), (b"BM", "bmp"))
_AUDIO_TYPES = ((b"RIFF", "wav"), (b"OggS", "ogg"), (b"fLaC", "flac"), (b"ID3", "mp3"))


@dataclass(frozen=True, slots=True)
class Media:
    """An image or a sound.

    Attributes:
        kind: Which of the two.
        format: The ending of its file.
        data: The bytes of the file.
        facts: Width and height, or sample rate and so on.
    """

    kind: Literal["image", "audio"]
    format: str
    data: bytes
    facts: dict[str, Any]


Decoded: TypeAlias = float | str | dict[str, Any] | list[Any] | tuple[Media, ...]


def read_value(value: SummaryValue, plugin: str) -> Decoded | None:
    """Return what a value of a summary means; None if it is not a value of a metric.

    Args:
        value: The value.
        plugin: The plugin of its tag; empty if no value of the tag named one.

    Raises:
        WireError: The bytes of the value are not valid.
    """
    if plugin in _WITHOUT_VALUES or not value.tag:
        return None
    if value.kind == SIMPLE:
        return float(_FLOAT.unpack(value.data)[0])
    if value.kind == IMAGE:
        return (_old_image(value.data),)
    if value.kind == HISTOGRAM:
        return _old_histogram(value.data)
    if value.kind == AUDIO:
        return (_old_audio(value.data),)
    return _of_tensor(read_tensor(value.data), plugin) if value.kind == TENSOR else None


def _of_tensor(tensor: Tensor, plugin: str) -> Decoded | None:
    if tensor.strings is not None:
        return _of_strings(tensor.strings, tensor.shape, plugin)
    assert tensor.numbers is not None  # noqa: S101 - for the type checker: a tensor has one of the two
    if plugin == "histograms" and len(tensor.shape) == 2 and tensor.shape[1] == 3:
        rows = tensor.numbers.tolist()
        return histogram([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])
    numbers: Any = tensor.numbers.tolist()
    return float(numbers) if isinstance(numbers, (int, float)) else numbers  # a bool is a number here


def _of_strings(strings: Sequence[bytes], shape: tuple[int, ...], plugin: str) -> Decoded | None:
    if plugin == "images":
        # Width and height as text, then one file per image.
        if len(strings) < 2 or not (strings[0].isdigit() and strings[1].isdigit()):
            raise WireError("images have no size")
        facts = {"width": int(strings[0]), "height": int(strings[1])}
        return tuple(
            Media("image", _format(image, _IMAGE_TYPES, "png"), image, facts) for image in strings[2:]
        )
    if plugin == "audio":
        sounds = strings[:: shape[-1]] if len(shape) == 2 and shape[-1] else strings
        return tuple(Media("audio", _format(sound, _AUDIO_TYPES, "wav"), sound, {}) for sound in sounds)
    if plugin not in ("", "text"):
        return None
    texts = [item.decode(errors="replace") for item in strings]
    return texts[0] if len(texts) == 1 else texts


def histogram(lefts: Sequence[float], rights: Sequence[float], counts: Sequence[float]) -> Decoded:
    """Return a histogram; one whose bins do not join is a list of `[left, right, count]`."""
    if any(right != left for right, left in zip(rights, lefts[1:], strict=False)):
        return [list(row) for row in zip(lefts, rights, counts, strict=True)]
    bins = [*lefts, rights[-1]] if lefts else []
    return {"_type": "histogram", "bins": bins, "values": list(counts)}


def _old_histogram(data: bytes) -> Decoded:
    """Return a histogram of the older form: the right edge and the count of each bin, and the range."""
    low = high = 0.0
    rights: list[float] = []
    counts: list[float] = []
    for field in fields(data):
        if field.number == 1:
            low = double(data, field)
        elif field.number == 2:
            high = double(data, field)
        elif field.number in (6, 7):
            if field.kind not in (BYTES, FIXED64) or (field.end - field.start) % 8:
                raise WireError("a list of doubles is not complete")
            found = [pair[0] for pair in _DOUBLE.iter_unpack(data[field.start : field.end])]
            (rights if field.number == 6 else counts).extend(found)
    if len(rights) != len(counts):
        raise WireError(f"a histogram has {len(rights)} edges and {len(counts)} counts")
    if counts and len(counts) > 1 and counts[0] == 0:
        # The first edge is then the left one of the first bin, and the bin before it is empty.
        return {"_type": "histogram", "bins": _clipped(rights, high), "values": counts[1:]}
    left = min([low, *rights[:1]])
    bins = _clipped([left, *rights], high) if rights else []
    return {"_type": "histogram", "bins": bins, "values": counts}


def _clipped(edges: list[float], high: float) -> list[float]:
    """Return edges of which the last is not the greatest double, which stands for no limit."""
    if len(edges) > 1 and edges[-1] > high >= edges[-2]:
        return [*edges[:-1], high] if all(a <= b for a, b in pairwise(edges)) else edges
    return edges


def _old_image(data: bytes) -> Media:
    facts: dict[str, Any] = {}
    image = b""
    for field in fields(data):
        if field.number == 1:
            facts["height"] = whole(field)
        elif field.number == 2:
            facts["width"] = whole(field)
        elif field.number == 4:
            image = content(data, field)
    return Media("image", _format(image, _IMAGE_TYPES, "png"), image, facts)


def _old_audio(data: bytes) -> Media:
    facts: dict[str, Any] = {}
    sound, mediatype = b"", ""
    for field in fields(data):
        if field.number == 1:
            facts["sample_rate"] = single(data, field)
        elif field.number == 4:
            sound = content(data, field)
        elif field.number == 5:
            mediatype = text(data, field)
    otherwise = mediatype.rpartition("/")[2].removeprefix("x-")
    return Media(
        "audio", _format(sound, _AUDIO_TYPES, otherwise if otherwise.isalnum() else "wav"), sound, facts
    )


def _format(data: bytes, known: Sequence[tuple[bytes, str]], otherwise: str) -> str:
    return next((ending for start, ending in known if data.startswith(start)), otherwise)
