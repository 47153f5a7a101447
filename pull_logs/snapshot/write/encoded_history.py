"""A history that is encoded before its run is stored, by this process or another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias

import pyarrow as pa

from pull_logs.frames import FactsBuilder, MetricFacts, facts_from_text, facts_text
from pull_logs.rows.canonical import INT_LIMIT, INT_MIN
from pull_logs.snapshot.format import WRITER, Encoded, encode_table, write_table

Batches: TypeAlias = Callable[[], Iterable[pa.Table]]
"""Returns the batches of a run in step order, from the first one on each time it is called."""

FactsField: TypeAlias = str | list[list[Any]]
"""Facts as the record of a stored run keeps them: as JSON if it keeps all their values, else as text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedHistory:
    """An encoded history, in memory.

    Attributes:
        data: The bytes of `history.parquet`.
        encoded: Their size and hashes, and the number of rows.
        facts: The facts about the columns.
        writer: The library that encoded them.
    """

    data: bytes
    encoded: Encoded
    facts: FactsField
    writer: str = WRITER


def encode_history(batches: Batches) -> EncodedHistory:
    """Encode a history in memory.

    Raises:
        DataError: A value cannot be stored.
    """
    facts = FactsBuilder()
    data, encoded = encode_table(batches, facts=facts)
    return EncodedHistory(data=data, encoded=encoded, facts=facts_field(facts.facts()))


def write_history(batches: Batches, out: BinaryIO) -> tuple[Encoded, FactsField]:
    """Encode a history into a file; return its sizes and hashes, and the facts about its columns.

    Raises:
        DataError: A value cannot be stored.
        OSError: The file cannot be written.
    """
    facts = FactsBuilder()
    encoded = write_table(batches, out, describe=facts.add)
    return encoded, facts_field(facts.facts())


def facts_field(facts: Sequence[MetricFacts]) -> FactsField:
    """Return facts for a record: as they are if JSON keeps all their values, as most are; else as text."""
    plain = all(not one.nonfinite and all(map(_is_kept, one)) for one in facts)
    return [list(one) for one in facts] if plain else facts_text(facts)


def _is_kept(value: Any) -> bool:
    """Return whether JSON keeps a value as it is; a long integer is not one for every reader."""
    return type(value) is not int or INT_MIN <= value < INT_LIMIT


def facts_from_field(field: FactsField) -> tuple[MetricFacts, ...]:
    """Return the facts of a record."""
    return facts_from_text(field) if isinstance(field, str) else tuple(map(MetricFacts._make, field))
