"""A script as people write them: which settings of a project's runs differ, and what came of it."""

from __future__ import annotations

import sys

import pandas as pd
import wandb

runs = wandb.Api().runs(sys.argv[1], filters={"config.lr": {"$exists": True}}, order="+config.lr.value")
table = pd.DataFrame(
    [
        {"run": run.name, "lr": run.config.get("lr"), "loss": run.summary.get("loss"), "state": run.state}
        for run in runs
    ]
).set_index("run")
differing = [name for name in table if len(table[name].unique()) > 1]
sys.stdout.write(table[differing].to_csv())
