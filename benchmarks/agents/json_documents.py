"""`wandb.Api()` over JSON documents such as a server of tools gives an agent, which counts what was read.

The limits are those that wandb-mcp-server documents for release 0.4 (its page "Query Capability Matrix"): a
listing of runs has the selected keys of config and summary, and a history has at most `samples` rows in all,
500 by default, merged over the keys. Its tools give no system metrics, files or metadata of runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pull_logs.snapshot import Bundle, Run

SAMPLES = 500
"""The rows of a history, unless a caller asks for others."""


class NotOfferedError(Exception):
    """No tool gives this."""


@dataclass(slots=True)
class Read:
    """What an agent asked for and was sent.

    Attributes:
        listed: For each run of the listing, the keys of the config and the summary that were used.
        histories: The calls for histories, with their answers.
    """

    listed: dict[str, dict[str, Any]] = field(default_factory=dict)
    histories: dict[tuple[str, ...], str] = field(default_factory=dict)

    @property
    def calls(self) -> int:
        """The number of calls."""
        return bool(self.listed) + len(self.histories)

    @property
    def text(self) -> str:
        """All calls and answers, as an agent has them in its context."""
        listing = json.dumps({"resource": "runs", "runs": self.listed}) if self.listed else ""
        return "\n".join([listing, *self.histories.values()])


class DocumentApi:
    """Stands in for `wandb.Api()`."""

    def __init__(self, bundle: Bundle, read: Read) -> None:
        self._bundle, self._read = bundle, read

    def runs(self, path: str) -> list[DocumentRun]:
        """Return the runs of a project."""
        return [
            DocumentRun(run, self._read)
            for run in self._bundle.runs()
            if str(run.path).rpartition("/")[0] == path
        ]


class _Selected(Mapping[str, Any]):
    """A config or a summary of which only the keys that are used were sent."""

    def __init__(self, values: Mapping[str, Any], sent: dict[str, Any]) -> None:
        self._values, self._sent = values, sent

    def __getitem__(self, key: str) -> Any:
        self._sent[key] = self._values[key]
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class DocumentRun:
    """A run of the listing."""

    def __init__(self, run: Run, read: Read) -> None:
        self._run, self._read = run, read
        self.id = run.path.run_id
        self.state = run.info.state
        self.tags = list(run.info.tags)
        self.commit = run.info.commit
        self._sent = read.listed.setdefault(self.id, {"state": self.state})
        self.config = _Selected(run.config, self._sent.setdefault("config", {}))
        self.summary = _Selected(run.summary, self._sent.setdefault("summary", {}))

    @property
    def lastHistoryStep(self) -> int:  # noqa: N802 - the name of the API
        """The last step of the history that the listing gives."""
        last = self._run.coverage.promised_last_step
        self._sent["historyLastStep"] = last
        return -1 if last is None else last

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Refuse: no tool gives what `wandb-metadata.json` has."""
        raise NotOfferedError("metadata")

    def history(self, *, stream: str) -> Any:
        """Refuse: no tool gives system metrics."""
        raise NotOfferedError(stream)

    def scan_history(self, keys: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the rows of a history, as many as one call gives."""
        names = tuple(keys or self._run.column_names())
        rows = [row for row in self._run.scan_history(keys) if keys is None or row.keys() >= set(names)]
        stride = max(1, -(-len(rows) // SAMPLES))
        rows = rows[::stride]
        call = {"tool": "get_run_history_tool", "run": self.id, "keys": list(names), "samples": SAMPLES}
        self._read.histories[self.id, *names] = json.dumps(call) + json.dumps({"rows": rows})
        yield from rows
