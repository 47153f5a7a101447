"""Asks an unmodified `wandb.Api()` everything that a bundle answers and prints what it saw, as JSON.

Runs in an environment of its own, with whatever release of the SDK is installed
there: nothing of this project is imported. The plan comes as JSON on stdin.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import wandb


def attempt(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except Exception as exc:  # noqa: BLE001 - what the SDK says is what the test looks at
        return {"error": f"{type(exc).__name__}: {exc}"}


def read_run(api: wandb.Api, path: str, folder: str) -> dict[str, Any]:
    run = api.run(path)
    return {
        "id": run.id,
        "name": run.name,
        "path": run.path,
        "entity": run.entity,
        "project": run.project,
        "url": run.url,
        "state": run.state,
        "tags": run.tags,
        "group": run.group,
        "job_type": run.job_type,
        "notes": run.notes,
        "commit": run.commit,
        "created_at": run.created_at,
        "heartbeat_at": run.heartbeat_at,
        "user": run.user.username,
        "config": run.config,
        "rawconfig": run.rawconfig,
        "summary": plain(run.summary),
        "summary_metrics": dict(run.summary_metrics),
        "system_metrics": run.system_metrics,
        "metadata": run.metadata,
        "files": [file.name for file in run.files()],
        "downloads": [read_file(file, folder) for file in run.files()],
        "sweep": run.sweep_name,
        "last_step": run.lastHistoryStep,
        "scan": list(run.scan_history()),
        "scan_small_pages": list(run.scan_history(page_size=700)),
        "scan_window": list(run.scan_history(min_step=5, max_step=9)),
        "scan_keys": attempt(lambda: list(run.scan_history(keys=["_step", "loss"]))),
        "history": run.history(pandas=False),
        "history_few": run.history(samples=7, pandas=False),
        "history_keys": run.history(keys=["loss"], samples=11, pandas=False),
        "history_x_axis": run.history(keys=["loss"], x_axis="_timestamp", samples=11, pandas=False),
        "history_frame": frame(run.history(samples=7)),
        "events": run.history(stream="system", samples=10, pandas=False),
    }


def plain(summary: Any) -> Any:
    """Return a summary, which the SDK does not keep as a dict, as nested dicts."""
    return {key: plain(summary[key]) for key in list(summary.keys())} if hasattr(summary, "keys") else summary


def read_file(file: Any, folder: str) -> dict[str, Any]:
    with file.download(root=folder, replace=True) as opened, open(opened.name, "rb") as whole:  # noqa: PTH123
        content = whole.read().decode("latin-1")
    return {
        "name": file.name,
        "size": file.size,
        "content": content,
        "md5": file.md5,
        "mimetype": file.mimetype,
        "url": file.url,
    }


def read_file_queries(api: wandb.Api) -> dict[str, Any]:
    run = api.run("acme/nano/hist01")

    def names(**options: Any) -> list[str]:
        return [file.name for file in run.files(**options)]

    return {
        "length": len(run.files()),
        "paged": names(per_page=1),
        "names": names(names=["output.log", "none.txt", "empty.txt"]),
        "pattern": attempt(lambda: names(pattern="%.log")),
        "one": run.file("media/images/a b%2F.png").size,
        "metadata": run.metadata,
    }


def read_console(api: wandb.Api) -> dict[str, Any]:
    run, silent = api.run("acme/nano/plain01"), api.run("acme/nano/odd01")

    def lines(**options: Any) -> list[list[Any]]:
        return [
            [line.number, line.timestamp and line.timestamp.isoformat(), line.level, line.label, line.content]
            for line in run.console_logs(**options)
        ]

    return {
        "all": attempt(lines),
        "paged": attempt(lambda: lines(per_page=7)),
        "last": attempt(lambda: lines(last=3)),
        "more_than_all": attempt(lambda: lines(last=5000)),
        "silent": attempt(lambda: list(silent.console_logs())),
        "elsewhere": attempt(lambda: list(api.run("beta/nano/twin01").console_logs())),
    }


def frame(data: Any) -> Any:
    """A DataFrame as rows; what the SDK gives for no rows is an empty list."""
    return data.to_dict("records") if len(data) else []


def read_listings(api: wandb.Api, plan: dict[str, Any]) -> dict[str, Any]:
    def ids(**options: Any) -> list[str]:
        return [run.id for run in api.runs("acme/nano", **options)]

    runs = api.runs("acme/nano", per_page=2)
    sweep = api.sweep("acme/nano/sweep1")
    return {
        "all": ids(),
        "length": len(api.runs("acme/nano")),
        "paged": ids(per_page=2),
        "slice": [run.id for run in runs[1:3]],
        "second": runs[1].id,
        "filters": [attempt(partial(ids, filters=wanted)) for wanted in plan["filters"]],
        "orders": [attempt(partial(ids, order=order)) for order in plan["orders"]],
        "eager": attempt(lambda: [run.config.get("lr") for run in api.runs("acme/nano", lazy=False)]),
        "lazy": [dict(run.summary_metrics).get("loss") for run in api.runs("acme/nano")],
        "sweeps_along": [
            getattr(run.sweep, "id", None) for run in api.runs("acme/nano", include_sweeps=True)
        ],
        "histories": api.runs("acme/nano").histories(samples=3),
        "histories_keys": api.runs("acme/nano").histories(samples=3, keys=["loss"]),
        "histories_frame": frame(api.runs("acme/nano").histories(samples=3, format="pandas")),
        "projects": [project.name for project in api.projects("acme")],
        "project": [api.project("nano", "acme").name, api.project("nano", "acme").url],
        "sweeps": [found.id for found in api.project("nano", "acme").sweeps()],
        "sweep": [sweep.id, sweep.state, sweep.entity, sweep.project],
        "sweep_config": [sweep.config, sweep.name, sweep.order],
        "sweep_of_a_run": next(
            run.sweep.config for run in api.runs("acme/nano", include_sweeps=True) if run.id == "hist01"
        ),
        "sweep_method": attempt(lambda: sweep.method),
        "sweep_expected": sweep.expected_run_count,
        "best_run_by_config": sweep.best_run().id,
        "sweep_runs": [run.id for run in sweep.runs],
        "best_run": sweep.best_run(order="+summary_metrics.loss").id,
        "worst_run": sweep.best_run(order="-summary_metrics.loss").id,
    }


def read_account(api: wandb.Api) -> dict[str, Any]:
    named = wandb.Api(overrides={"entity": "acme", "project": "nano"})
    return {
        "default_entity": api.default_entity,
        "viewer": [api.viewer.username, api.viewer.entity, sorted(api.viewer.teams)],
        "without_entity": api.run("nano/plain01").path,
        "by_id": named.run("plain01").path,
        "by_url": api.run("acme/nano/runs/plain01").path,
    }


def read_misses(api: wandb.Api) -> dict[str, Any]:
    run = api.run("acme/nano/plain01")
    return {
        "run": attempt(lambda: api.run("acme/nano/plain1")),
        "display_name": attempt(lambda: api.run("acme/nano/eager-fox-1")),
        "project": attempt(lambda: list(api.runs("acme/nan"))),
        "entity": attempt(lambda: list(api.projects("acne"))),
        "sweep": attempt(lambda: api.sweep("acme/nano/sweep9")),
        "file": attempt(lambda: run.file("model.pt").size),
        "artifacts": attempt(lambda: list(run.logged_artifacts())),
        "team": attempt(lambda: api.team("acme")),
        "filter": attempt(lambda: list(api.runs("acme/nano", filters={"colour": 1}))),
        "operator": attempt(lambda: list(api.runs("acme/nano", filters={"state": {"$near": 1}}))),
        "metric": attempt(lambda: run.history(keys=["losss"], pandas=False)),
    }


def try_writes(api: wandb.Api) -> dict[str, Any]:
    run = api.run("acme/nano/plain01")

    def start() -> None:
        wandb.init(entity="acme", project="nano", settings=wandb.Settings(init_timeout=60)).finish()

    return {
        "update": attempt(run.update),
        "summary": attempt(lambda: run.summary.update({"loss": 1})),
        "delete": attempt(run.delete),
        "delete_file": attempt(lambda: run.file("wandb-metadata.json").delete()),
        "create_project": attempt(lambda: api.create_project("new", "acme")),
        "create_run": attempt(lambda: api.create_run(project="nano", entity="acme")),
        "init": attempt(start),
    }


def main() -> None:
    plan = json.load(sys.stdin)
    api = wandb.Api()
    export = api.run(plan["paths"][0])
    seen = {
        "version": wandb.__version__,
        "runs": {path: read_run(api, path, f"{plan['folder']}/{path}") for path in plan["paths"]},
        "listings": read_listings(api, plan),
        "account": read_account(api),
        "misses": read_misses(api),
        "files": read_file_queries(api),
        "console": read_console(api),
        "columns": list(api.run("acme/nano/hist01").scan_history(keys=["_step", "weights", "opt.lr"])),
        "exports": attempt(
            lambda: [str(path) for path in export.download_history_exports(f"{plan['folder']}/exports").paths]
        ),
        "writes": try_writes(api),
    }
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()
