"""The program that reads runs with `wandb.Api()`; it prints a line of JSON for each thing that it read.

The paths of the runs come as a JSON list on stdin. For each run there is `{"run": path, "node": {...}}`, then
`{"rows": [...]}` until `{"end": path}`; or `{"failed": path, "error": text}`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any

ROWS_IN_A_LINE = 500


def main() -> None:
    """Read the runs that stdin names."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace")
    os.dup2(2, 1)  # the SDK prints notes, which must not be between the lines
    paths = json.load(sys.stdin)
    import wandb

    api = wandb.Api()
    with out:
        for path in paths:
            for line in read(api, path):
                out.write(json.dumps(line) + "\n")
            out.flush()


def read(api: Any, path: str) -> Iterator[dict[str, Any]]:
    """Yield what the SDK reads of a run."""
    try:
        run = api.run(path)
        yield {"run": path, "node": node_of(run)}
        rows = (row for row in run.scan_history())  # the scan starts over at each `iter`
        while part := list(islice(rows, ROWS_IN_A_LINE)):
            yield {"rows": part}
    except Exception as exc:  # noqa: BLE001 - whatever the SDK raises is the answer about this run
        yield {"failed": path, "error": f"{type(exc).__name__}: {exc}"}
        return
    yield {"end": path}


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
        "historyKeys": {"lastStep": run.lastHistoryStep},
        "historyLineCount": getattr(run, "history_line_count", None),
    }


if __name__ == "__main__":
    main()
