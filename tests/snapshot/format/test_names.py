from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.errors import DataError
from pull_logs.runs import RunPath
from pull_logs.snapshot.format.names import (
    is_member_name,
    member_folders,
    member_order,
    run_of_member,
    why_refused,
)

words = st.text(min_size=1, max_size=12)
paths = st.builds(RunPath, words, words, words)


@given(st.sets(paths, max_size=8))
def test_every_run_has_a_folder_of_its_own_whatever_its_ids_hold(runs: set[RunPath]) -> None:
    runs = {run for run in runs if all(map(_encodable, (run.entity, run.project, run.run_id)))}
    folders = member_folders(runs)
    assert folders.keys() == runs
    assert len({folder.lower() for folder in folders.values()}) == len(runs)
    for run, folder in folders.items():
        name = f"{folder}/history.parquet"
        assert is_member_name(name)
        assert run_of_member(name) == str(run)


def _encodable(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


@given(st.lists(paths, max_size=6, unique=True), st.randoms())
def test_folders_depend_on_the_set_of_runs_alone(runs: list[RunPath], random: object) -> None:
    assert member_folders(runs) == member_folders(reversed(runs))


@pytest.mark.parametrize(
    ("run_id", "segment"),
    [
        ("3fk2a", "3fk2a"),
        ("A-b_c.d", "A-b_c.d"),
        (".", "%2E"),
        ("..", ".%2E"),
        ("a.", "a%2E"),
        ("a b/c", "a%20b%2Fc"),
        ("~", "%7E"),
        ("ü", "%C3%BC"),
        ("a\x00b", "a%00b"),
        ("..\\..\\x", "..%5C..%5Cx"),
        ("%2e", "%252e"),
    ],
)
def test_an_id_is_encoded_outside_of_plain_letters(run_id: str, segment: str) -> None:
    run = RunPath("e", "p", run_id)
    assert member_folders([run]) == {run: f"runs/entity=e/project=p/run={segment}"}
    assert unquote(segment) == run_id


def test_ids_that_differ_in_case_alone_are_told_apart() -> None:
    lower, upper, other = (RunPath("e", "p", run_id) for run_id in ("ab", "AB", "c"))
    folders = member_folders([lower, upper, other])
    assert folders == {
        lower: "runs/entity=e/project=p/run=ab~fb8e20fc",
        upper: "runs/entity=e/project=p/run=AB~38164fbd",
        other: "runs/entity=e/project=p/run=c",
    }


def test_projects_that_differ_in_case_alone_are_told_apart_for_all_their_runs() -> None:
    runs = [RunPath("e", "P", "a"), RunPath("e", "p", "b"), RunPath("f", "p", "b")]
    projects = [folder.split("/")[2] for folder in member_folders(runs).values()]
    assert projects[2] == "project=p"
    assert projects[0].startswith("project=P~")
    assert projects[1].startswith("project=p~")


def test_an_id_too_long_for_a_file_name_is_cut_between_characters() -> None:
    runs = [RunPath("e", "p", "€" * 100), RunPath("e", "p", "€" * 101)]
    segments = [folder.rsplit("=", 1)[1] for folder in member_folders(runs).values()]
    assert all(len(segment) <= 160 for segment in segments)
    assert len(set(segments)) == 2
    assert unquote(segments[0].split("~")[0], errors="strict") == "€" * 16


def test_an_empty_part_of_a_path_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        member_folders([RunPath("", "p", "r")])
    assert str(caught.value) == "a run's path has an empty part"


def test_members_stand_in_one_order() -> None:
    run = "runs/entity=e/project=p/run=r"
    names = {f"{run}/system.parquet", "datapackage.json", f"{run}/history.parquet"}
    assert member_order(names) == [
        "FORMAT",
        "runs.parquet",
        f"{run}/history.parquet",
        f"{run}/system.parquet",
        "datapackage.json",
        "datapackage-digest.json",
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../x", "climbs out of the bundle"),
        ("runs/../../x", "climbs out of the bundle"),
        ("/etc/passwd", "is an absolute path"),
        ("C:x", "names a drive"),
        ("runs\\x", "holds a backslash"),
        ("FORMAT\x00", "holds a NUL"),
        ("readme.txt", "is not the name of a file in a bundle"),
        ("format", "is not the name of a file in a bundle"),
        ("runs/entity=e/project=p/run=r/model.pt", "is not the name of a file in a bundle"),
        ("runs/entity=e/project=p/run=%2f/history.parquet", "is not the name of a file in a bundle"),
        ("FORMAT\n", "is not the name of a file in a bundle"),
    ],
)
def test_a_name_that_no_bundle_has_is_refused_with_its_reason(name: str, reason: str) -> None:
    assert not is_member_name(name)
    assert why_refused(name) == reason


def test_a_file_that_is_no_runs_names_no_run() -> None:
    assert run_of_member("runs.parquet") is None
