"""Finding logs: at any depth, each once, and what was left out is reported."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logwriting import run, write_run_folder

from pull_logs.errors import FileMissingError, MachineLimitError
from pull_logs.sources.wandb_folders.find import find_logs


def _run_folder(parent: Path, run_id: str, *, kind: str = "offline-run") -> Path:
    return write_run_folder(parent, f"{kind}-20260101_000000-{run_id}", [run(run_id)])


def _ids(*paths: Path) -> list[str]:
    return sorted(file.stem.removeprefix("run-") for file in find_logs(paths).files)


def test_the_folders_of_hydra_are_searched_to_their_end(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    _run_folder(outputs / "2023-11-10" / "00-36-37" / "wandb", "aaaa1111")
    _run_folder(outputs / "2023-11-10" / "01-00-00" / "wandb", "bbbb2222")
    assert _ids(outputs) == ["aaaa1111", "bbbb2222"]
    assert find_logs([outputs]).notes == (f"2 logs in 2 folders below {str(outputs)!r}",)


@pytest.mark.parametrize(
    "folders",
    [
        pytest.param(("wandb/exp-one/wandb",), id="an-experiment-below-wandb"),
        pytest.param(("wandb/wandb",), id="wandb-below-wandb"),
        pytest.param(("wandb", "wandb/wandb"), id="runs-beside-wandb-below-wandb"),
        pytest.param((".", "wandb"), id="runs-beside-wandb"),
        pytest.param((".wandb", "wandb"), id="both-names-of-the-folder"),
        pytest.param(("a/b/c/d/e", "a/b"), id="any-depth"),
    ],
)
def test_all_run_folders_are_found(tmp_path: Path, folders: tuple[str, ...]) -> None:
    for number, folder in enumerate(folders):
        _run_folder(tmp_path / folder, f"run{number}")
    assert _ids(tmp_path) == [f"run{number}" for number in range(len(folders))]


def test_a_run_below_a_run_folder_is_found(tmp_path: Path) -> None:
    log = _run_folder(tmp_path / "wandb", "outer")
    _run_folder(log.parent / "files" / "wandb", "inner")
    assert _ids(tmp_path) == ["inner", "outer"]
    assert _ids(log.parent) == ["inner", "outer"]


_PARTS = st.lists(st.sampled_from(["wandb", "run", "a"]), max_size=4).map("/".join)


@given(st.dictionaries(_PARTS, st.integers(1, 2), min_size=1, max_size=5))
def test_every_log_is_found_once_from_any_folder_above(
    tmp_path_factory: pytest.TempPathFactory, counts: dict[str, int]
) -> None:
    top = tmp_path_factory.mktemp("law")
    made = [
        _run_folder(top / folder, f"{number}{index}").resolve()
        for number, (folder, count) in enumerate(counts.items())
        for index in range(count)
    ]
    (top / "again").symlink_to(top)
    assert sorted(find_logs([top]).files) == sorted(made)
    assert sorted(find_logs([top, *(log.parent for log in made)]).files) == sorted(made)


# Links


def test_links_are_followed_and_count_once(tmp_path: Path) -> None:
    scratch, project = tmp_path / "scratch", tmp_path / "project"
    log = _run_folder(scratch / "store", "aaaa1111")
    (log.parent.parent / "latest-run").symlink_to(log.parent.name)
    project.mkdir()
    (project / "wandb").symlink_to(scratch / "store")
    assert _ids(project) == ["aaaa1111"]
    assert find_logs([project, scratch]).files == (log.resolve(),)
    assert find_logs([project, scratch]).notes == ()


def test_a_link_to_a_folder_above_ends_the_search(tmp_path: Path) -> None:
    log = _run_folder(tmp_path / "wandb", "aaaa1111")
    (log.parent / "up").symlink_to(tmp_path)
    assert find_logs([tmp_path]).files == (log.resolve(),)


def test_a_linked_log_is_found_and_a_link_to_nothing_is_reported(tmp_path: Path) -> None:
    log = _run_folder(tmp_path / "store", "aaaa1111")
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "run-aaaa1111.wandb").symlink_to(log)
    (linked / "latest-run").symlink_to("gone")
    (linked / "data").symlink_to("gone-too")
    found = find_logs([linked])
    assert found.files == (log.resolve(),)
    assert found.notes == (f"{str(linked / 'latest-run')!r} is a link to nothing and was left out",)


# What is left out


def test_a_folder_of_an_sdk_without_logs_is_reported(tmp_path: Path) -> None:
    _run_folder(tmp_path, "aaaa1111")
    old = tmp_path / "dryrun-20200101_000000-bbbb2222"
    old.mkdir()
    (old / "wandb-history.jsonl").write_text("{}\n")
    assert find_logs([tmp_path]).notes == (
        f"{str(old)!r} holds no log (run-ID.wandb), because an SDK before 0.10 wrote it, and was left out",
    )
    with pytest.raises(FileMissingError) as caught:
        find_logs([old])
    assert str(caught.value) == (
        f"no W&B run in {str(old)!r}; "
        f"{str(old)!r} holds no log (run-ID.wandb), because an SDK before 0.10 wrote it, and was left out; "
        "name a run folder (offline-run-DATE-ID, run-DATE-ID), a folder above one, or a log of another kind"
    )


def test_a_folder_that_cannot_be_read_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = _run_folder(tmp_path / "wandb", "aaaa1111")
    locked = tmp_path / "locked"
    locked.mkdir()
    scandir = os.scandir

    def refusing(path: Path) -> object:
        if path == locked:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("pull_logs.sources.wandb_folders.find.os.scandir", refusing)
    found = find_logs([tmp_path])
    assert found.files == (log.resolve(),)
    assert found.notes == (f"{str(locked)!r} cannot be read (Permission denied) and was left out",)
    with pytest.raises(MachineLimitError) as caught:
        find_logs([locked])
    reason = "cannot be read: Permission denied; check the permissions, or choose another path"
    assert str(caught.value) == f"{str(locked)!r} {reason}"
