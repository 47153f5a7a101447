"""Runs are named by their ids, or by as much of their paths as distinguishes them."""

from __future__ import annotations

import fakeruns
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.runs import RunPath, label_runs, position_of_letter

PATHS = st.builds(RunPath, *(st.sampled_from(names) for names in ("ef", "pq", "xyz")))


@given(st.lists(PATHS, max_size=8))
def test_labels_are_unique_and_end_the_paths(paths: list[RunPath]) -> None:
    labels = label_runs(paths)
    assert len(set(labels)) == len(paths) == len(labels)
    for path, label in zip(paths, labels, strict=True):
        assert f"/{path}".endswith(f"/{label.partition('#')[0]}")


@given(st.lists(PATHS, min_size=1, max_size=8, unique=True))
def test_a_label_leaves_out_only_what_all_runs_share(paths: list[RunPath]) -> None:
    starts = {str(path).removesuffix(label) for path, label in zip(paths, label_runs(paths), strict=True)}
    assert len(starts) == 1


@pytest.mark.parametrize(
    ("paths", "labels"),
    [
        (["e/p/x"], ["x"]),
        (["e/p/x", "e/p/y"], ["x", "y"]),
        (["e/p/x", "e/q/x"], ["p/x", "q/x"]),
        (["e/p/x", "f/p/x"], ["e/p/x", "f/p/x"]),
        (["e/p/x", "e/p/x", "e/p/y"], ["x", "x#2", "y"]),
    ],
)
def test_runs_are_named_by_id_project_or_path(paths: list[str], labels: list[str]) -> None:
    assert label_runs([RunPath(*path.split("/")) for path in paths]) == labels


@given(st.integers(0, 10_000))
def test_a_letter_names_the_position_that_it_is_the_label_of(position: int) -> None:
    assert position_of_letter(fakeruns.label(position)) == position


@pytest.mark.parametrize("text", ["", "a", "AB", "A0", "A01", "1A", "A-1", "Ä"])
def test_other_texts_name_no_position(text: str) -> None:
    assert position_of_letter(text) is None
