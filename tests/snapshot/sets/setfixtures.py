"""Fixtures of tests of sets, for the `pytest_plugins` of their modules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from objectserver import ObjectServer, lab_server
from writerkit import fill


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a set, and `given` beside it."""
    folder = tmp_path_factory.mktemp("writers")
    (folder / "given").mkdir()
    fill(folder / "set", folder / "given")
    return folder


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[ObjectServer]:
    """Object storage with the bucket `lab`: S3, or that of `every_service`."""
    with lab_server(getattr(request, "param", "s3")) as server:
        yield server


@pytest.fixture
def lab(running: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectServer]:
    """The same, without faults and with an empty bucket; a request that fails is not sent again."""
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    running.fault = lambda _method, _path: ""
    yield running
    running.fault = lambda _method, _path: ""
    running.clear()
