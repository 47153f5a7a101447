"""Network in: runs of W&B, whole, into a bundle.

    settings -> client -> discovery -> history (shards, live) -> pieces -> spool -> bundle

`settings` finds whom to ask and as whom. `client` asks GraphQL with the key and `storage`
downloads without it, over `wire`, at the pace of `pacing`; `faults` tells what may pass
from what is final. `discovery` finds runs by `queries`, `nodes` reads them into `plan`.
`history` reads one run by way of `shards` and `live` (`windows` cuts its steps into
requests, `decode` makes batches, `tally` counts lines, `pieces` keeps them), and `sweeps`
the config of each sweep. `files` brings the files that a run logged: `wantedfiles` says
which, `filelists` what W&B tells of them, `filebytes` downloads one. `refreshing`
brings a run up to date that an earlier bundle has, one of those that `leftovers` finds.
`pipeline` is the whole pull, `dryrun` tells what one would take, `cache` keeps single runs for views,
and `progress` and `reports` are what is told meanwhile and at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pull_logs.fetch.cache import open_cached as open_cached
    from pull_logs.fetch.dryrun import survey as survey
    from pull_logs.fetch.dryrun import survey_sync as survey_sync
    from pull_logs.fetch.pacing import RetryPolicy as RetryPolicy
    from pull_logs.fetch.pipeline import pull as pull
    from pull_logs.fetch.pipeline import pull_sync as pull_sync
    from pull_logs.fetch.progress import PullProgress as PullProgress
    from pull_logs.fetch.reports import PullReport as PullReport
    from pull_logs.fetch.reports import RunOutcome as RunOutcome
    from pull_logs.fetch.reports import Survey as Survey
    from pull_logs.fetch.selection import RunFilter as RunFilter
    from pull_logs.fetch.selection import Selection as Selection
    from pull_logs.fetch.settings import Settings as Settings
    from pull_logs.fetch.settings import load_settings as load_settings
    from pull_logs.fetch.wantedfiles import WantedFiles as WantedFiles

__all__ = [
    "PullProgress",
    "PullReport",
    "RetryPolicy",
    "RunFilter",
    "RunOutcome",
    "Selection",
    "Settings",
    "Survey",
    "WantedFiles",
    "load_settings",
    "open_cached",
    "pull",
    "pull_sync",
    "survey",
    "survey_sync",
]

_HOME = {
    "PullProgress": "progress",
    "PullReport": "reports",
    "RetryPolicy": "pacing",
    "RunFilter": "selection",
    "RunOutcome": "reports",
    "Selection": "selection",
    "Settings": "settings",
    "Survey": "reports",
    "WantedFiles": "wantedfiles",
    "load_settings": "settings",
    "open_cached": "cache",
    "pull": "pipeline",
    "pull_sync": "pipeline",
    "survey": "dryrun",
    "survey_sync": "dryrun",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
