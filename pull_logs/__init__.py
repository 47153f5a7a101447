"""Pull many Weights & Biases runs, whole and unsampled, into one verified file; read it anywhere.

    import pull_logs

    bundle = pull_logs.open_bundle("sweep.wandb.zip")
    run = bundle["acme/nano/3fk2a"]
    run.config, run.summary, run.history(columns=["train/loss"])

Names are loaded when they are first used, so that importing the package, and
every command that does not need them, stays free of pandas, pyarrow and httpx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pull_logs.errors import (
    AccessError,
    AssertionNotHeldError,
    BundleDamagedError,
    DamageError,
    DataError,
    ExpressionError,
    FileMissingError,
    FormatTooNewError,
    IncompleteError,
    MergeConflictError,
    MetricNotFoundError,
    NetworkError,
    NotFoundError,
    ProjectNotFoundError,
    PullLogsError,
    RunNotFoundError,
    ServerError,
    SignInError,
    UnknownNameError,
    UnsafeFileError,
    UsageError,
)
from pull_logs.runs import Coverage, RunInfo, RunPath, RunReference

if TYPE_CHECKING:
    from pull_logs.fetch import PullReport, Selection, pull, pull_sync
    from pull_logs.snapshot import (
        Bundle,
        Run,
        diff_bundles,
        export_runs,
        merge_bundles,
        open_bundle,
        subset_bundle,
        verify_bundle,
    )

__version__ = "0.1.0"

__all__ = [
    "AccessError",
    "AssertionNotHeldError",
    "Bundle",
    "BundleDamagedError",
    "Coverage",
    "DamageError",
    "DataError",
    "ExpressionError",
    "FileMissingError",
    "FormatTooNewError",
    "IncompleteError",
    "MergeConflictError",
    "MetricNotFoundError",
    "NetworkError",
    "NotFoundError",
    "ProjectNotFoundError",
    "PullLogsError",
    "PullReport",
    "Run",
    "RunInfo",
    "RunNotFoundError",
    "RunPath",
    "RunReference",
    "Selection",
    "ServerError",
    "SignInError",
    "UnknownNameError",
    "UnsafeFileError",
    "UsageError",
    "diff_bundles",
    "export_runs",
    "merge_bundles",
    "open_bundle",
    "pull",
    "pull_sync",
    "subset_bundle",
    "verify_bundle",
]

_HOME = {
    "Bundle": "snapshot",
    "PullReport": "fetch",
    "Run": "snapshot",
    "Selection": "fetch",
    "diff_bundles": "snapshot",
    "export_runs": "snapshot",
    "merge_bundles": "snapshot",
    "open_bundle": "snapshot",
    "pull": "fetch",
    "pull_sync": "fetch",
    "subset_bundle": "snapshot",
    "verify_bundle": "snapshot",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
