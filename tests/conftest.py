"""What every test stands on: both async backends, and an environment without anybody's W&B settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from checkout import ROOT
from hypothesis import HealthCheck, settings
from openfiles import is_under_the_interface, refuse_open_files

settings.register_profile(
    "default",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("default")

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def clean_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of the test's own, and none of the variables that point W&B anywhere."""
    for name in list(os.environ):
        if name.startswith(("WANDB_", "PULL_LOGS_")) or name.upper() in _PROXIES:
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(home / "wandb-cache"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(home / "wandb-config"))
    monkeypatch.setenv("NETRC", str(home / "netrc"))
    return home


@pytest.fixture(autouse=True)
def files_as_on_windows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is replaced or removed while it is open, in the tests of what writes files."""
    posix = request.node.get_closest_marker("open_files") is not None
    if not posix and is_under_the_interface(request.path, ROOT):
        refuse_open_files(monkeypatch)
