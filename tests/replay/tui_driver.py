"""Drive the data layer of wandb-tui against the address in the first argument; print its data as JSON.

wandb-tui has W&B's address as a constant: it is set from here, and nothing else of it is changed.
"""

from __future__ import annotations

import json
import sys

import wandb_tui


def miss() -> str:
    try:
        wandb_tui.fetch_run("acme", "nano", "plain1")
    except RuntimeError as exc:
        return str(exc)
    return ""


def main() -> None:
    wandb_tui.GRAPHQL_URL = f"{sys.argv[1]}/graphql"
    runs = wandb_tui.fetch_project_runs("acme", "nano")
    found = {
        "entities": [entity["name"] for entity in wandb_tui.fetch_viewer_entities()],
        "projects": [project["name"] for project in wandb_tui.fetch_entity_projects("acme")],
        "rows": {run["name"]: wandb_tui.parse_history(run) for run in runs},
        "metrics": sorted(metric["name"] for metric in wandb_tui.build_multi_metrics(runs)),
        "configs": {run["name"]: wandb_tui.run_config(run) for run in runs},
        "miss": miss(),
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
