"""The program that reads runs with `wandb.Api()`: commands on stdin, answers on stdout, as lines of JSON.

A command is `{"command": name, ...}`. Its answer is any number of objects, then `{"end": true}`, or
`{"failed": text, "kind": kind}` where the SDK raised an exception. Rows are written to the file that the
command names, because they would fill the pipe.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from pull_logs.fetch.sdk import program_parts

ROWS_IN_A_LINE = 500
PAGE, MOST_PAGES = 1_000, 1_000
"""The steps in a page of a scan, and the most pages: the SDK pages by step, however few rows there are."""

_MISSING = re.compile(r"could not find|not found|has no (run|project)", re.IGNORECASE)
_DENIED = re.compile(
    r"authenticat|permission denied|not authori[sz]ed|unauthori[sz]ed|forbidden|api[ _]key", re.IGNORECASE
)

Answer = Iterator[dict[str, Any]]


class Reader:
    """Answers commands with what the SDK reads."""

    def __init__(self) -> None:
        self._api: Any = None
        self._path, self._run = "", None

    @property
    def api(self) -> Any:
        """The SDK's client, which is created for the first command."""
        if self._api is None:
            import wandb

            self._api = wandb.Api()
        return self._api

    def run(self, path: str) -> Any:
        """Return a run, which is requested once for the commands about it in a row."""
        if path != self._path or self._run is None:
            self.api.flush()
            self._path, self._run = path, self.api.run(path)
        return self._run

    def entity(self) -> Answer:
        """Answer with the default entity of the user."""
        yield {"entity": self.api.default_entity}

    def runs(self, project: str, filters: dict[str, Any]) -> Answer:
        """Answer with the number of the runs of a project, and the facts of each, oldest first."""
        found = self.api.runs(project, filters=filters, order="+created_at", lazy=False)
        total = None
        for run in found:
            if total is None:
                total = len(found)
                yield {"total": total}
            yield {"node": node_of(run)}

    def facts(self, path: str) -> Answer:
        """Answer with the current facts of a run."""
        self._run = None
        yield {"node": node_of(self.run(path))}

    def rows(self, path: str, file: str) -> Answer:
        """Write the rows of a run to a file, and answer with the number of each part."""
        run = self.run(path)
        last = _last_step(run)
        page = max(PAGE, -(-(last + 1) // MOST_PAGES))
        scan = run.scan_history(page_size=page) if last >= 0 else ()
        rows = (row for row in scan)  # the scan starts over at each `iter`
        with open(file, "w", encoding="ascii") as out:  # noqa: PTH123 - a path as text is all that is needed
            while part := list(islice(rows, ROWS_IN_A_LINE)):
                out.write(json.dumps(part) + "\n")
                yield {"rows": len(part)}

    def events(self, path: str, samples: int, file: str) -> Answer:
        """Write samples of the system metrics of a run to a file, and answer with their number."""
        found = self.run(path).history(stream="events", pandas=False, samples=samples)
        with open(file, "w", encoding="ascii") as out:  # noqa: PTH123 - likewise
            out.write(json.dumps(found) + "\n")
        yield {"rows": len(found)}

    def sweep(self, path: str) -> Answer:
        """Answer with the config of a sweep."""
        yield {"config": self.api.sweep(path).config}

    def files(self, path: str, names: list[str] | None) -> Answer:
        """Answer with the files of a run."""
        return program_parts.files(self.run(path), names)

    def download(self, path: str, name: str, folder: str) -> Answer:
        """Download a file of a run below a folder, and answer with its path."""
        return program_parts.download(self.run(path), name, folder)

    def console(self, path: str) -> Answer:
        """Answer with the lines of the console log of a run."""
        return program_parts.console(self.run(path))

    def artifacts(self, path: str, used: bool) -> Answer:  # noqa: FBT001 - a word of a command
        """Answer with the artifacts that a run logged or used."""
        return program_parts.artifacts(self.run(path), used=used)

    def query(self, text: str, variables: dict[str, Any]) -> Answer:
        """Answer with the data of a GraphQL query."""
        return program_parts.query(self.api, text, variables)

    def manifest(self, artifact: str, file: str) -> Answer:
        """Write the manifest of an artifact to a file."""
        return program_parts.manifest(self.api, artifact, file)

    def entry(self, artifact: str, entry: str, folder: str) -> Answer:
        """Download a file of an artifact below a folder, and answer with its path."""
        return program_parts.entry(self.api, artifact, entry, folder)


def node_of(run: Any) -> dict[str, Any]:
    """Return the facts of a run under the names of W&B's GraphQL type `Run`."""
    return {
        "name": run.id,
        "displayName": run.name,
        "state": run.state,
        "tags": list(run.tags or ()),
        "group": run.group,
        "jobType": run.job_type,
        "sweepName": getattr(run, "sweep_name", None),
        "notes": run.notes,
        "commit": run.commit,
        "createdAt": run.created_at,
        "heartbeatAt": run.heartbeat_at,
        "user": {"username": getattr(run.user, "username", None)},
        "config": {key: {"value": value} for key, value in run.rawconfig.items()},
        "summaryMetrics": dict(run.summary_metrics or {}),
        "systemMetrics": dict(run.system_metrics or {}),
        "historyKeys": {"lastStep": _last_step(run)},
        "historyLineCount": getattr(run, "history_line_count", None),
    }


def _last_step(run: Any) -> int:
    """Return the last step of a run; -1 without rows."""
    keys = getattr(run, "history_keys", None)
    if isinstance(keys, str):
        keys = json.loads(keys or "null")
    if isinstance(keys, dict) and "lastStep" in keys:
        return int(keys["lastStep"])
    return int(run.lastHistoryStep)


def kind_of(error: Exception) -> str:
    """Return what an exception of the SDK means: `missing`, `denied`, or `failed`."""
    name, text = type(error).__name__, str(error)
    if name == "RunNotFoundError" or _MISSING.search(text):
        return "missing"
    return "denied" if name in ("AuthenticationError", "UsageError") or _DENIED.search(text) else "failed"


def answer(reader: Reader, command: dict[str, Any]) -> Answer:
    """Yield the answer to a command."""
    action: Callable[..., Answer] = getattr(reader, command.pop("command"))
    try:
        yield from action(**command)
    except Exception as exc:  # noqa: BLE001 - whatever the SDK raises is the answer
        yield {"failed": f"{type(exc).__name__}: {exc}", "kind": kind_of(exc)}
        return
    yield {"end": True}


def main() -> None:
    """Answer commands until stdin ends."""
    out = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # the SDK prints notes, which must not be between the lines
    reader = Reader()
    with out:
        for line in sys.stdin:
            for part in answer(reader, json.loads(line)):
                out.write(json.dumps(part) + "\n")
                out.flush()


if __name__ == "__main__":
    main()
