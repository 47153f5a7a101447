"""Network out: a read server that an unmodified `wandb.Api()` takes for W&B, over bundles.

    request -> guard -> app -> documents -> schema -> nodes -> catalog, library -> bundles

`catalog` knows which runs there are (filters and orders over `fields`);
`library` reads their histories once and keeps them in bounds (`bounded`):
`history` makes live pages of them, `exports` whole Parquet files, which
`storage` sends to whoever follows a link out of `links`. `records` encodes
configs and summaries, and `misses` what is said of what is not there. `server` puts the application on a port, `environment`
leads the SDK there and nowhere else, `sharing` keeps servers for a session, and
`asking` tells what a query names, for whoever records it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pull_logs.replay.app import build_app as build_app
    from pull_logs.replay.counting import RequestCounts as RequestCounts
    from pull_logs.replay.server import ReplayServer as ReplayServer
    from pull_logs.replay.server import serve_bundle as serve_bundle
    from pull_logs.replay.server import serve_forever as serve_forever

__all__ = ["ReplayServer", "RequestCounts", "build_app", "serve_bundle", "serve_forever"]

_HOME = {
    "ReplayServer": "server",
    "RequestCounts": "counting",
    "build_app": "app",
    "serve_bundle": "server",
    "serve_forever": "server",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
