"""Environment variables that make the W&B SDK use a replay server only, in this process or a child.

The SDK reads its server and key from the environment first and from its settings files second. Its other
ways out are closed: its cache, configuration and data folders belong to the server, `.netrc` is empty,
and its service process uses the server as its proxy, which answers requests for itself and refuses any
other address.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

_KEPT = frozenset({"WANDB_MODE"})
"""Variables of W&B that are left as they are: they name no server, user or folder."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_OTHERS = ("NETRC", "NO_PROXY", "no_proxy")


def variables(url: str, api_key: str, folder: Path, *, outside: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with which an unmodified `wandb.Api()` reads from the server at `url` only.

    The cache folder is the server's, because the SDK never revalidates what it has cached
    (docs/protocol.md, "Ten traps"). The server and loopback are exempted from the proxies in `outside`; for
    everything but W&B they stay in use.

    Args:
        url: The address of the server.
        api_key: Its key.
        folder: A folder for the files of the SDK.
        outside: The environment that the variables are added to.
    """
    already = outside.get("NO_PROXY") or outside.get("no_proxy")
    direct = ",".join(dict.fromkeys(filter(None, (already, *_LOOPBACK, urlsplit(url).hostname))))
    return {
        "WANDB_BASE_URL": url,
        "WANDB_API_KEY": api_key,
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "WANDB_CONFIG_DIR": str(folder / "config"),
        "WANDB_DATA_DIR": str(folder / "data"),
        "WANDB_HTTP_PROXY": url,
        "WANDB_HTTPS_PROXY": url,
        # A refused address is retried once, then reported; the SDK would otherwise retry for 20 seconds.
        "WANDB_X_GRAPHQL_RETRY_MAX": "1",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "true",
        "NETRC": os.devnull,
        "NO_PROXY": direct,
        "no_proxy": direct,
    }


def without_wandb(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the variables that name W&B's server, its user and its folders."""
    return {name: value for name, value in environ.items() if name in _KEPT or not name.startswith("WANDB_")}


@contextmanager
def applied(settings: Mapping[str, str]) -> Iterator[None]:
    """Set variables in this process while the block runs, then restore the environment.

    A loaded SDK is reset at both ends, which ends its service process: it reads the environment only once,
    and the service keeps the environment that it was started with. A `wandb.Api()` object made outside the
    block cannot be used inside it, nor one made inside it afterwards.
    """
    _reset_sdk()
    before = {name: value for name, value in os.environ.items() if _is_ours(name)}
    for name in before.keys() - _KEPT - set(_OTHERS):
        del os.environ[name]
    os.environ.update(settings)
    try:
        yield
    finally:
        _reset_sdk()
        for name in [name for name in os.environ if _is_ours(name)]:
            del os.environ[name]
        os.environ.update(before)


def _is_ours(name: str) -> bool:
    return name.startswith("WANDB_") or name in _OTHERS


def _reset_sdk() -> None:
    """Reset the SDK if it is loaded."""
    teardown = getattr(sys.modules.get("wandb"), "teardown", None)
    if teardown is not None:
        teardown()
