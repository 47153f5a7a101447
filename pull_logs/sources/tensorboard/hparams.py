"""Hyperparameters: what the hparams plugin stores in the metadata of its summaries.

HParamsPluginData   session_start_info=3  session_end_info=4
SessionStartInfo    hparams=1 (map of google.protobuf.Value)  group_name=4  start_time_secs=5
SessionEndInfo      status=1  end_time_secs=2
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pull_logs.sources.tensorboard.wire import Field, WireError, content, double, fields, text, whole

PLUGIN = "hparams"
_STATES: Mapping[int, str] = {1: "finished", 2: "failed", 3: "running"}
_MOST_DEPTH = 32


@dataclass(slots=True)
class Hyperparameters:
    """The hyperparameters of a session.

    Attributes:
        values: The hyperparameters by name.
        group: The name of the group of sessions.
        state: The state that the session ended with, as W&B calls it; None if it is not recorded.
    """

    values: dict[str, Any] = field(default_factory=dict)
    group: str | None = None
    state: str | None = None

    def add(self, data: bytes) -> None:
        """Add the content of one summary.

        Raises:
            WireError: The bytes are not valid.
        """
        for part in fields(data):
            if part.number == 3:
                self._start(content(data, part))
            elif part.number == 4:
                ended = content(data, part)
                for end in fields(ended):
                    if end.number == 1:
                        self.state = _STATES.get(whole(end), self.state)

    def _start(self, data: bytes) -> None:
        for part in fields(data):
            if part.number == 1:
                self._entry(content(data, part))
            elif part.number == 4:
                self.group = text(data, part) or None

    def _entry(self, data: bytes) -> None:
        name, value = "", None
        for part in fields(data):
            if part.number == 1:
                name = text(data, part)
            elif part.number == 2:
                value = _value(content(data, part), 0)
        self.values[name] = value


def _value(data: bytes, depth: int) -> Any:
    """Return a `google.protobuf.Value`."""
    if depth > _MOST_DEPTH:
        raise WireError("a hyperparameter is nested too deep")
    found: Any = None
    for part in fields(data):
        found = _member(data, part, depth)
    return found


def _member(data: bytes, part: Field, depth: int) -> Any:
    if part.number == 2:
        return double(data, part)
    if part.number == 3:
        return text(data, part)
    if part.number == 4:
        return bool(whole(part))
    inner = content(data, part) if part.number in (5, 6) else b""
    if part.number == 6:
        return [_value(content(inner, item), depth + 1) for item in fields(inner)]
    if part.number == 5:
        entries = (content(inner, entry) for entry in fields(inner))
        return dict(_struct_entry(entry, depth) for entry in entries)
    return None


def _struct_entry(data: bytes, depth: int) -> tuple[str, Any]:
    name, value = "", None
    for part in fields(data):
        if part.number == 1:
            name = text(data, part)
        elif part.number == 2:
            value = _value(content(data, part), depth + 1)
    return name, value
