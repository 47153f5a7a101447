"""Disk: rows, columns, Parquet, the bundle and its checks; knows no network.

    rows -> canon -> columns -> merging -> parquet -> stored -> seal -> bundle -> run
                                  |                    |
            frames -> sweep ----- spool (while a pull goes on)

`canon` is the law of a row, `columns` the batches that rows travel in,
`merging` the law of one row a step, `parquet` the bytes of a history and
`identity` their hashes. `naming`, `ziplayout`, `zipdirectory` and `container`
are the ZIP, `manifest` and `runtable` its index. `spool` is a bundle in the
making, `frames` the pages that it keeps, `sweep` their merge in bounded memory,
`seal` the moment it becomes one, `bundle` and `run` what readers hold,
and `verify` the check of every byte. `filerecords` are what is known of the files
that runs logged, `runfiles` those files, `filetexts` what of them should not be
shared. Of whole bundles, `differences` tells what
changed, `combining` makes one of several, `subsetting` takes a part, and
`exporting` writes plain files; `alignment` walks through two histories at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pull_logs.snapshot.bundle import Bundle as Bundle
    from pull_logs.snapshot.bundle import open_bundle as open_bundle
    from pull_logs.snapshot.combining import MergeReport as MergeReport
    from pull_logs.snapshot.combining import merge_bundles as merge_bundles
    from pull_logs.snapshot.differences import BundleDifference as BundleDifference
    from pull_logs.snapshot.differences import RunDifference as RunDifference
    from pull_logs.snapshot.differences import diff_bundles as diff_bundles
    from pull_logs.snapshot.exporting import ExportReport as ExportReport
    from pull_logs.snapshot.exporting import export_runs as export_runs
    from pull_logs.snapshot.run import Run as Run
    from pull_logs.snapshot.runfiles import RunFile as RunFile
    from pull_logs.snapshot.seal import BundleRun as BundleRun
    from pull_logs.snapshot.seal import SealReport as SealReport
    from pull_logs.snapshot.seal import write_bundle as write_bundle
    from pull_logs.snapshot.spool import Spool as Spool
    from pull_logs.snapshot.subsetting import subset_bundle as subset_bundle
    from pull_logs.snapshot.verify import Damage as Damage
    from pull_logs.snapshot.verify import VerifyReport as VerifyReport
    from pull_logs.snapshot.verify import verify_bundle as verify_bundle

__all__ = [
    "Bundle",
    "BundleDifference",
    "BundleRun",
    "Damage",
    "ExportReport",
    "MergeReport",
    "Run",
    "RunDifference",
    "RunFile",
    "SealReport",
    "Spool",
    "VerifyReport",
    "diff_bundles",
    "export_runs",
    "merge_bundles",
    "open_bundle",
    "subset_bundle",
    "verify_bundle",
    "write_bundle",
]

_HOME = {
    "Bundle": "bundle",
    "BundleDifference": "differences",
    "BundleRun": "seal",
    "Damage": "verify",
    "ExportReport": "exporting",
    "MergeReport": "combining",
    "Run": "run",
    "RunDifference": "differences",
    "RunFile": "runfiles",
    "SealReport": "seal",
    "Spool": "spool",
    "VerifyReport": "verify",
    "diff_bundles": "differences",
    "export_runs": "exporting",
    "merge_bundles": "combining",
    "open_bundle": "bundle",
    "subset_bundle": "subsetting",
    "verify_bundle": "verify",
    "write_bundle": "seal",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
