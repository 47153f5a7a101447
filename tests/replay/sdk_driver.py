"""Reads a project through an unmodified `wandb.Api()` and prints what it saw, as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import wandb


def attempt(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except Exception as exc:  # noqa: BLE001 - what the SDK says is what the test looks at
        return {"error": f"{type(exc).__name__}: {exc}"}


def read_run(api: wandb.Api, path: str, keys: list[str]) -> dict[str, Any]:
    run = api.run(path)
    return {
        "id": run.id,
        "name": run.name,
        "state": run.state,
        "tags": run.tags,
        "group": run.group,
        "job_type": run.job_type,
        "notes": run.notes,
        "commit": run.commit,
        "created_at": run.created_at,
        "user": run.user.username,
        "config": run.config,
        "rawconfig": run.rawconfig,
        "summary": dict(run.summary_metrics),
        "summary_loss": attempt(lambda: run.summary.get("loss")),
        "system_metrics": run.system_metrics,
        "metadata": run.metadata,
        "files": [file.name for file in run.files()],
        "sweep": run.sweep_name,
        "last_step": run.lastHistoryStep,
        "line_count": run.historyLineCount,
        "scan": list(run.scan_history()),
        "scan_window": list(run.scan_history(min_step=5, max_step=9)),
        "scan_keys": attempt(lambda: list(run.scan_history(keys=keys))),
        "history": run.history(pandas=False),
        "history_few": run.history(samples=7, pandas=False),
        "history_keys": run.history(keys=keys[1:], samples=11, pandas=False),
        "history_columns": list(run.history().columns),
        "events": run.history(stream="system", samples=10, pandas=False),
    }


def read_listings(api: wandb.Api) -> dict[str, Any]:
    def ids(**options: Any) -> list[str]:
        return [run.id for run in api.runs("acme/nano", **options)]

    return {
        "all": ids(),
        "length": len(api.runs("acme/nano")),
        "paged": ids(per_page=2),
        "newest": ids(order="-created_at"),
        "by_config": ids(order="+config.lr.value"),
        "by_summary": ids(order="-summary_metrics.loss"),
        "finished": ids(filters={"state": "finished"}),
        "mongo": ids(filters={"$or": [{"config.lr": {"$gte": 0.3}}, {"display_name": {"$regex": "^zes"}}]}),
        "eager": [run.config.get("lr") for run in api.runs("acme/nano", lazy=False)],
        "lazy": [dict(run.summary_metrics).get("loss") for run in api.runs("acme/nano")],
        "projects": [project.name for project in api.projects("acme")],
        "project": api.project("nano", "acme").name,
        "sweep_runs": [run.id for run in api.sweep("acme/nano/sweep1").runs],
        "default_entity": api.default_entity,
        "without_entity": api.run("nano/plain01").path,
        "missing_run": attempt(lambda: api.run("acme/nano/gone")),
        "missing_project": attempt(lambda: list(api.runs("acme/gone"))),
        "bad_filter": attempt(lambda: ids(filters={"$xor": []})),
        "read_only": attempt(api.run("acme/nano/plain01").update),
        "viewer": api.viewer.username,
    }


def main() -> None:
    api = wandb.Api()
    paths: list[str] = json.loads(sys.argv[1])
    seen = {
        "runs": {path: read_run(api, path, ["_step", "loss"]) for path in paths},
        "listings": read_listings(api),
        "columns": list(api.run("acme/nano/hist01").scan_history(keys=["_step", "weights", "opt.lr"])),
        "exports": [
            str(path)
            for path in attempt(lambda: api.run(paths[0]).download_history_exports(sys.argv[2]).paths)
        ],
    }
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()
