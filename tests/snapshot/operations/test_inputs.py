"""What operations are given: bundles or their paths, runs or the bundle that has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from bundlekit import bundle_run, make_bundle

from pull_logs.errors import FileMissingError, UsageError
from pull_logs.snapshot import (
    Bundle,
    Run,
    diff_bundles,
    export_runs,
    merge_bundles,
    open_bundle,
    subset_bundle,
)


@pytest.fixture
def bundles(tmp_path: Path) -> list[Path]:
    names = ("a", "b")
    return [make_bundle(tmp_path / f"{name}.wandb.zip", [bundle_run(f"acme/nano/{name}")]) for name in names]


def test_bundles_that_are_open_and_their_paths_are_merged_and_compared_alike(
    bundles: list[Path], tmp_path: Path
) -> None:
    with open_bundle(bundles[0]) as first, open_bundle(bundles[1]) as second:
        merge_bundles([first, second], tmp_path / "open.zip")
        merge_bundles((path for path in (str(bundles[0]), bundles[1])), str(tmp_path / "paths.zip"))
        merge_bundles([first, bundles[1]], tmp_path / "mixed.zip")
        assert diff_bundles(first, second) == diff_bundles(str(bundles[0]), bundles[1])
        assert len(list(first.runs())) == 1  # it is still open
    written = {(tmp_path / f"{name}.zip").read_bytes() for name in ("open", "paths", "mixed")}
    assert len(written) == 1


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_bundle_stands_for_all_its_runs(bundles: list[Path], tmp_path: Path) -> None:
    both = tmp_path / "both.zip"
    merge_bundles(bundles, both)
    given: dict[str, Callable[[Bundle], Bundle | Sequence[Run]]] = {
        "bundle": lambda bundle: bundle,
        "runs": lambda bundle: list(bundle.runs()),
    }
    for name, runs in given.items():
        with open_bundle(both) as bundle:
            subset_bundle(runs(bundle), str(tmp_path / f"{name}.zip"))
            export_runs(runs(bundle), str(tmp_path / name), to="ndjson")
    assert (tmp_path / "bundle.zip").read_bytes() == (tmp_path / "runs.zip").read_bytes() == both.read_bytes()
    assert files_of(tmp_path / "bundle") == files_of(tmp_path / "runs")


def test_one_bundle_for_several_is_refused(bundles: list[Path], tmp_path: Path) -> None:
    with open_bundle(bundles[0]) as bundle:
        for one in (str(bundles[0]), bundles[0], bundle):
            with pytest.raises(UsageError) as refused:
                merge_bundles(one, tmp_path / "c.zip")  # type: ignore[arg-type]
            assert refused.value.message == "bundles is one bundle, not a list of bundles"
            assert refused.value.hint == "put it in a list"
    assert not (tmp_path / "c.zip").exists()


def test_a_bundle_that_does_not_exist_is_named(bundles: list[Path], tmp_path: Path) -> None:
    missing = str(tmp_path / "none.zip")
    with pytest.raises(FileMissingError) as failed:
        merge_bundles([bundles[0], missing], tmp_path / "c.zip")
    assert failed.value.message == f"no file or folder at {missing!r}"
    assert not (tmp_path / "c.zip").exists()
