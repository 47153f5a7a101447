"""Tests for the tests of the pytest plugin: each sees the bundles it names, and no settings of the user."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pull_logs.replay import ReplayServer

BEFORE = dict(os.environ)
SEEN: list[str] = []

if "wandb" in sys.modules:
    raise AssertionError("the plugin has loaded the SDK")


def names(project: str) -> list[str]:
    import wandb

    return sorted(run.id for run in wandb.Api().runs(project))


@pytest.fixture(scope="module")
def of_the_module() -> list[str]:
    return names("acme/one")


def test_unmarked_tests_keep_their_environment() -> None:
    assert dict(os.environ) == BEFORE | {"PYTEST_CURRENT_TEST": os.environ["PYTEST_CURRENT_TEST"]}


@pytest.mark.wandb_bundle("one.wandb.zip")
def test_one(wandb_bundle: ReplayServer, of_the_module: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    assert of_the_module == names("acme/one") == ["a"]
    assert os.environ["WANDB_BASE_URL"] == wandb_bundle.url
    assert not {"WANDB_IDENTITY_TOKEN_FILE", "WANDB_ENTITY", "WANDB_PROJECT"} & os.environ.keys()
    run = wandb.Api().run("acme/one/a")
    assert [row["loss"] for row in run.scan_history()] == [1, 0.5, 1 / 3]
    assert [row["loss"] for row in run.scan_history(keys=["_step", "loss"])] == [1, 0.5, 1 / 3]
    SEEN.append(wandb_bundle.url)
    monkeypatch.setenv("WANDB_BASE_URL", "http://changed.example")  # taken back before the plugin's own


@pytest.mark.wandb_bundle("data/two.wandb.zip")
def test_the_same_path_in_another_bundle_is_another_run() -> None:
    import wandb

    assert names("acme/one") == ["a", "b"]
    assert [row["loss"] for row in wandb.Api().run("acme/one/a").scan_history()] == [1, 0.5, 1 / 3, 0.25]


@pytest.mark.wandb_bundle(Path("one.wandb.zip"), "data/two.wandb.zip")
class TestBoth:
    def test_both(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert names("acme/one") == ["a", "b"]
        assert names("acme/two") == ["c"]
        monkeypatch.delenv("WANDB_API_KEY")

    @pytest.mark.wandb_bundle("one.wandb.zip")
    def test_the_nearest_marker_counts(self, wandb_bundle: ReplayServer) -> None:
        assert names("acme/one") == ["a"]
        assert SEEN in ([], [wandb_bundle.url])  # the same server, where the other test ran in this process


@pytest.mark.wandb_bundle("one.wandb.zip")
def test_code_may_log_in_with_a_key_of_its_own() -> None:
    import wandb

    key = "0123456789" * 4
    assert wandb.login(key=key)
    assert names("acme/one") == [run.id for run in wandb.Api(api_key=key).runs("acme/one")] == ["a"]


@pytest.mark.wandb_bundle("one.wandb.zip")
def test_no_other_wandb_is_reached(wandb_bundle: ReplayServer) -> None:
    import wandb

    for url in ("https://api.wandb.ai", "http://127.0.0.1:1"):
        with pytest.raises(Exception, match="Failed to verify credentials"):
            wandb.Api(overrides={"base_url": url})
    assert {"api.wandb.ai:443", "127.0.0.1:1"} <= wandb_bundle.refused.as_dict().keys()


def test_everything_is_put_back() -> None:
    assert dict(os.environ) == BEFORE | {"PYTEST_CURRENT_TEST": os.environ["PYTEST_CURRENT_TEST"]}
    if "wandb" in sys.modules:
        import wandb

        assert wandb.sdk.wandb_setup._singleton is None
