"""Sets on object storage: S3, Google and Azure on loopback, with faults and several writers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from objectserver import ObjectServer, every_service
from setkit import grown_bundle, held

from pull_logs.cli.main import main
from pull_logs.errors import FileMissingError, NetworkError, UsageError
from pull_logs.snapshot import BundleSet, add_bundles, drop_runs, open_bundle, open_bundle_set, open_store
from pull_logs.snapshot.sets.compaction import compact_set

URL = "s3://lab/sets/night/"


pytest_plugins = ["setfixtures"]


def given(folder: Path, name: str, **runs: int) -> Path:
    return grown_bundle(
        folder / f"{name}.wandb.zip", {f"acme/nano/{run}": rows for run, rows in runs.items()}
    )


@every_service
def test_a_set_on_object_storage_is_added_to_read_dropped_from_and_compacted(
    lab: ObjectServer, tmp_path: Path
) -> None:
    """Everything that a set in a folder does, with requests for ranges."""
    url = lab.at("sets/night/")
    store = open_store(url, create=True)
    lab.system().pipe_file("lab/sets/night2/c.wandb.zip", b"of another prefix")
    add_bundles(store, [given(tmp_path, "a", a=2, b=1)])
    report = add_bundles(store, [given(tmp_path, "b", b=3, c=4)])
    assert not list(tmp_path.iterdir())
    assert [str(choice.path) for choice in report.replaced] == ["acme/nano/b"]
    with open_bundle(url) as opened:
        assert isinstance(opened, BundleSet)
        assert opened["b"].remote
        assert held(opened) == {"acme/nano/a": 2, "acme/nano/b": 3, "acme/nano/c": 4}
        content = opened.content_id
    compacted = compact_set(store, grace=0)
    assert len(compacted.members) == 1
    assert len(compacted.removed) == 2
    assert list(store.members()) == list(compacted.members)
    drop_runs(store, ["c"])
    with open_bundle_set(url) as opened:
        assert held(opened) == {"acme/nano/a": 2, "acme/nano/b": 3}
        assert opened.content_id != content
    assert main(["compare", "-b", url, "--filter", "rows > 1"]) == 0
    assert main(["verify", url]) == 0


@every_service
def test_writers_of_one_prefix_lose_no_run(lab: ObjectServer, tmp_path: Path) -> None:
    """A version is published by a conditional request, so that one of two writers tries again."""
    url = lab.at("sets/night/")
    files = [given(tmp_path, f"w{number}", **{f"r{number}": 1, "all": number}) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda file: add_bundles(open_store(url), [file]), files))
    with open_bundle_set(url) as opened:
        assert held(opened) == {"acme/nano/all": 3} | {f"acme/nano/r{number}": 1 for number in range(4)}
        assert opened.version >= 4


@every_service
@pytest.mark.parametrize("part", ["catalog-", ".wandb.zip"])
def test_an_upload_that_fails_changes_nothing(lab: ObjectServer, tmp_path: Path, part: str) -> None:
    """The set is the former one, the file is still there, and the same call completes it."""
    store = open_store(lab.at("sets/night/"))
    add_bundles(store, [given(tmp_path, "a", a=2)])
    later = given(tmp_path, "b", b=3)
    lab.fault = lambda method, path: "503" if method == "PUT" and part in path else ""
    with pytest.raises(NetworkError):
        add_bundles(store, [later])
    lab.fault = lambda _method, _path: ""
    with open_bundle_set(lab.at("sets/night/")) as opened:
        assert held(opened) == {"acme/nano/a": 2}
    assert later.exists()
    add_bundles(store, [later])
    with open_bundle_set(lab.at("sets/night/")) as opened:
        assert held(opened) == {"acme/nano/a": 2, "acme/nano/b": 3}


@pytest.mark.parametrize("attempts", ["1", "2"])
def test_a_catalog_whose_upload_has_no_answer_is_recognised(
    lab: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempts: str
) -> None:
    """The request is sent again and refused, or it is an error; the report says what was added."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", attempts)
    lab.requests.clear()
    lost: list[str] = []

    def fault(method: str, path: str) -> str:
        if method != "PUT" or "catalog-" not in path or lost:
            return ""
        lost.append(path)
        return "lost"

    lab.fault = fault
    report = add_bundles(open_store(URL), [given(tmp_path, "a", a=2)])
    assert (report.version, [path.run_id for path in report.added], report.unchanged) == (1, ["a"], 0)
    assert [path for method, path in lab.requests if method == "PUT" and "catalog-" in path] == lost * int(
        attempts
    )


def test_a_prefix_without_a_catalog_is_not_a_set(lab: ObjectServer) -> None:
    """The error names the command that makes one."""
    with pytest.raises(FileMissingError) as caught:
        open_bundle_set("s3://lab/none/")
    assert str(caught.value) == (
        "'s3://lab/none/' is not a bundle set: it has no catalog; `pull-logs set add SET BUNDLE` makes one"
    )
    with pytest.raises(UsageError) as refused:
        open_bundle_set("https://example.org/lab/")
    assert str(refused.value) == (
        "'https://example.org/lab/' is not object storage, so that its bundles cannot be listed; name a"
        " folder, or a prefix such as s3://bucket/lab/"
    )
