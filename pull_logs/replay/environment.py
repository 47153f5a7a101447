"""The variables that make a replay server all of W&B there is, for a child process or for this one.

The SDK asks whom the environment names, and its settings files after that. What
it could still find elsewhere is closed off: its cache, configuration and data
folders are the server's own, `.netrc` is empty, and everything that its service
process sends goes by way of the server as a proxy, which answers for itself and
refuses any other address.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_KEPT = frozenset({"WANDB_MODE"})
"""Variables of W&B that stay as they are: they lead nowhere."""
_OTHERS = ("NETRC", "NO_PROXY", "no_proxy")


def variables(url: str, api_key: str, folder: Path, *, outside: Mapping[str, str]) -> dict[str, str]:
    """What to set so that an unmodified `wandb.Api()` reads from the server at `url`, and from nothing else.

    The cache is the server's own, because the SDK never asks again for what
    it has cached (read API facts, section 0). Loopback is taken out of the
    proxies of `outside`, which go on serving everything but W&B.

    Args:
        url: Where the server listens.
        api_key: Its key.
        folder: Where the SDK may keep files.
        outside: The environment that these are added to.
    """
    already = outside.get("NO_PROXY") or outside.get("no_proxy")
    direct = ",".join(filter(None, (already, "127.0.0.1,localhost,::1")))
    return {
        "WANDB_BASE_URL": url,
        "WANDB_API_KEY": api_key,
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "WANDB_CONFIG_DIR": str(folder / "config"),
        "WANDB_DATA_DIR": str(folder / "data"),
        "WANDB_HTTP_PROXY": url,
        "WANDB_HTTPS_PROXY": url,
        # A refused address is asked for once more and then told, where it would be 20 seconds of trying.
        "WANDB_X_GRAPHQL_RETRY_MAX": "1",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "true",
        "NETRC": os.devnull,
        "NO_PROXY": direct,
        "no_proxy": direct,
    }


def without_wandb(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment without the variables that say which W&B, who, and where its files are."""
    return {name: value for name, value in environ.items() if name in _KEPT or not name.startswith("WANDB_")}


@contextmanager
def applied(settings: Mapping[str, str]) -> Iterator[None]:
    """Set variables in this process while the block runs, then put everything back as it was.

    An SDK that is loaded forgets its settings and credentials and ends its
    service process at both ends: it reads the environment once, and its
    service keeps the environment that it was started with. `wandb.Api()`
    objects made outside the block cannot be used inside it, and the other way
    round.
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
    """Let an SDK that is loaded start anew; one that is not loaded stays so."""
    teardown = getattr(sys.modules.get("wandb"), "teardown", None)
    if teardown is not None:
        teardown()
