"""Events and the values of their summaries, decoded one by one.

Event          wall_time=1  step=2  file_version=3  summary=5  session_log=7  source_metadata=10
Summary        value=1
Summary.Value  tag=1  simple_value=2  image=4  histo=5  audio=6  tensor=8  metadata=9
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pull_logs.sources.tensorboard.wire import (
    BYTES,
    FIXED32,
    WireError,
    content,
    double,
    fields,
    text,
    whole,
)

START = 1
"""The status of a session log that begins a session, and makes later steps of earlier ones obsolete."""


@dataclass(frozen=True, slots=True)
class SummaryValue:
    """A value of a summary, not yet decoded.

    Attributes:
        tag: Its tag.
        kind: The number of the field that holds it; 0 for none.
        data: The bytes of that field.
        plugin: The name of the plugin in its metadata; None if it has no metadata.
        plugin_data: The content that the plugin stores in its metadata.
    """

    tag: str
    kind: int
    data: bytes
    plugin: str | None = None
    plugin_data: bytes = b""


@dataclass(frozen=True, slots=True)
class Event:
    """An event.

    Attributes:
        wall_time: Its time, in seconds since 1970.
        step: Its step.
        values: The values of its summary.
        file_version: The version of the file, in its first event; None in others.
        writer: The program that wrote the file, if the event names it.
        session: The status of its session log; None without one.
    """

    wall_time: float = 0.0
    step: int = 0
    values: tuple[SummaryValue, ...] = ()
    file_version: str | None = None
    writer: str | None = None
    session: int | None = None


def read_event(data: bytes) -> Event:
    """Return the event of a record.

    Raises:
        WireError: The bytes are not a valid event.
    """
    wall_time, step, session = 0.0, 0, None
    file_version = writer = None
    values: list[SummaryValue] = []
    for field in fields(data):
        if field.number == 1:
            wall_time = double(data, field)
        elif field.number == 2:
            step = whole(field)
        elif field.number == 3:
            file_version = text(data, field)
        elif field.number == 5:
            values += _values(content(data, field))
        elif field.number == 7:
            log = content(data, field)
            session = next((whole(status) for status in fields(log) if status.number == 1), 0)
        elif field.number == 10:
            source = content(data, field)
            writer = next((text(source, name) for name in fields(source) if name.number == 1), None)
    return Event(wall_time, step, tuple(values), file_version, writer, session)


def _values(data: bytes) -> Iterator[SummaryValue]:
    for field in fields(data):
        if field.number == 1:
            yield read_value(content(data, field))


def read_value(data: bytes) -> SummaryValue:
    """Return a value of a summary.

    Raises:
        WireError: The bytes are not a valid value.
    """
    tag, kind, found = "", 0, b""
    plugin: str | None = None
    plugin_data = b""
    for field in fields(data):
        if field.number == 1:
            tag = text(data, field)
        elif field.number == 2:
            if field.kind != FIXED32:
                raise WireError("a scalar is not a float")
            kind, found = 2, data[field.start : field.end]
        elif field.number in (4, 5, 6, 8):
            kind, found = field.number, content(data, field)
        elif field.number == 9:
            plugin, plugin_data = _plugin(content(data, field))
    return SummaryValue(tag, kind, found, plugin, plugin_data)


def _plugin(data: bytes) -> tuple[str, bytes]:
    """Return the name of the plugin of some metadata, and what it stores there."""
    name, stored = "", b""
    for field in fields(data):
        if field.number == 1 and field.kind == BYTES:
            for part in fields(data, field.start, field.end):
                if part.number == 1:
                    name = text(data, part)
                elif part.number == 2:
                    stored = content(data, part)
    return name, stored
