"""Other ways in: which run a checkpoint belongs to, and runs that lie in local W&B folders.

    checkpoint file -> contents | distributed -> layouts -> runkeys -> checkpoints -> a reference to a run
    patterns of files -> checkpointsearch -> checkpoints
    run folders -> rundirs -> transactionlog -> logschema -> logitems -> runlog -> localruns -> a bundle

`pickles` reads what a pickle holds without running it (`pickleglobals` knows
which names mean harm), `contents` a file of any format, `layouts` how tools lay
checkpoints out; `runkeys` has the names under which people write their run. `transactionlog` is the framing of a `.wandb` log, `logschema` and
`logitems` its records, `metricdefs` the metrics that it defines, `runlog` one log, and `localruns` puts the logs of a
run together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pull_logs.sources.checkpoints import CheckpointRun as CheckpointRun
    from pull_logs.sources.checkpoints import read_checkpoint as read_checkpoint
    from pull_logs.sources.checkpointsearch import CheckpointScan as CheckpointScan
    from pull_logs.sources.checkpointsearch import find_checkpoints as find_checkpoints
    from pull_logs.sources.checkpointsearch import scan_checkpoints as scan_checkpoints
    from pull_logs.sources.localruns import ImportReport as ImportReport
    from pull_logs.sources.localruns import LocalImport as LocalImport
    from pull_logs.sources.localruns import import_runs as import_runs
    from pull_logs.sources.localruns import read_run_dirs as read_run_dirs
    from pull_logs.sources.rundirs import is_run_folder as is_run_folder

__all__ = [
    "CheckpointRun",
    "CheckpointScan",
    "ImportReport",
    "LocalImport",
    "find_checkpoints",
    "import_runs",
    "is_run_folder",
    "read_checkpoint",
    "read_run_dirs",
    "scan_checkpoints",
]

_HOME = {
    "CheckpointRun": "checkpoints",
    "CheckpointScan": "checkpointsearch",
    "ImportReport": "localruns",
    "LocalImport": "localruns",
    "find_checkpoints": "checkpointsearch",
    "import_runs": "localruns",
    "is_run_folder": "rundirs",
    "read_checkpoint": "checkpoints",
    "read_run_dirs": "localruns",
    "scan_checkpoints": "checkpointsearch",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
