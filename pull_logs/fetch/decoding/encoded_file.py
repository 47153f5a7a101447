"""An exported file that holds a complete history, decoded and encoded at once.

Its form between processes:

size of the header | header (JSON) | the steps and the times of its lines | history.parquet
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import accumulate, pairwise

import numpy as np
import orjson

from pull_logs.fetch.decoding.decode import batches_of_bytes
from pull_logs.fetch.decoding.received_lines import Lines
from pull_logs.rows.batches import select_keys
from pull_logs.rows.merge import Lane, LanedBatch, merge_batches
from pull_logs.snapshot.format import Encoded
from pull_logs.snapshot.write import EncodedHistory, encode_history

MOST_DECODED = 64 << 20
"""Bytes of decoded columns up to which a file is decoded at once."""

_HEADER = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """The history of an exported file as a bundle has it.

    Attributes:
        history: The encoded history.
        lines: The lines of the file, before rows of one step were merged.
        rows: The number of rows that were decoded.
    """

    history: EncodedHistory
    lines: Lines
    rows: int


def encode_file(data: bytes, *, keep: Callable[[str], bool] | None) -> EncodedFile | None:
    """Decode an exported file and encode the history that it holds.

    Args:
        data: The bytes of the file.
        keep: Returns whether a key is kept; None for all keys.

    Returns:
        The history; None if the file is too large to be decoded at once, or has no rows.

    Raises:
        DataError: The file cannot be read, or holds a value that no history can hold.
    """
    batches = batches_of_bytes(data, most=MOST_DECODED)
    if batches is None or not any(batch.num_rows for batch in batches):
        return None
    lines = [Lines.of(batch) for batch in batches]
    kept = batches if keep is None else [select_keys(batch, keep) for batch in batches]
    merged = list(merge_batches([LanedBatch(Lane.SHARD, batch) for batch in kept]))
    return EncodedFile(
        history=encode_history(lambda: merged),
        lines=Lines(
            np.concatenate([part.steps for part in lines]), np.concatenate([part.stamps for part in lines])
        ),
        rows=sum(batch.num_rows for batch in batches),
    )


def to_bytes(file: EncodedFile) -> bytes:
    """Return an encoded file as bytes for another process."""
    history = file.history
    parts = (
        np.ascontiguousarray(file.lines.steps, dtype=np.int64).tobytes(),
        np.ascontiguousarray(file.lines.stamps, dtype=np.float64).tobytes(),
        history.data,
    )
    header = orjson.dumps(
        {
            "rows": file.rows,
            "encoded": asdict(history.encoded),
            "facts": history.facts,
            "writer": history.writer,
            "sizes": [len(part) for part in parts],
        }
    )
    return b"".join((_HEADER.pack(len(header)), header, *parts))


def from_bytes(data: bytes) -> EncodedFile:
    """Return the encoded file that another process of this program wrote as bytes."""
    (size,) = _HEADER.unpack_from(data)
    start = _HEADER.size + size
    header = orjson.loads(data[_HEADER.size : start])
    steps, stamps, history = (
        data[begin:end] for begin, end in pairwise(accumulate(header["sizes"], initial=start))
    )
    return EncodedFile(
        history=EncodedHistory(
            data=history,
            encoded=Encoded(**header["encoded"]),
            facts=header["facts"],
            writer=header["writer"],
        ),
        lines=Lines(np.frombuffer(steps, np.int64), np.frombuffer(stamps, np.float64)),
        rows=header["rows"],
    )
