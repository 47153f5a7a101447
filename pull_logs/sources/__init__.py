"""Other sources of runs: checkpoints, which name a run, local W&B folders, and other trackers.

    checkpoints/    a checkpoint file, folder or glob -> a reference to its run
    wandb_folders/  run folders and `.wandb` logs -> a bundle
    tensorboard/    event files -> runs
    mlflow/         a database, a file store or a server -> runs
    trackio/        databases and exported files -> runs
    metric_files/   CSV, JSON Lines, `trainer_state.json` -> runs

`checkpoints.read` finds the run that a checkpoint names, without running code in it; `checkpoints.search`
matches patterns. `wandb_folders.find` finds logs, `wandb_folders.run_log` reads one, and
`wandb_folders.import_runs` joins the logs of each run in a bundle. The other packages are trackers: objects
of the form `tracked_runs.Tracker`, which `locations` recognizes by what is at a path.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
