"""Every input that coverage-guided fuzzing found worth keeping is parsed as each target demands."""

from __future__ import annotations

import pytest
from fuzz_targets import TARGETS
from fuzzkit import CORPORA, Target, input_name, joined, parts
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_what_real_writers_make_is_read(target: Target) -> None:
    for seed in target.seeds():
        target.parse(seed)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_the_small_corpus_raises_nothing_but_errors_of_ours(target: Target) -> None:
    for file in target.corpus():
        target.run(file.read_bytes())


def test_every_corpus_belongs_to_a_target_and_names_its_inputs_by_their_content() -> None:
    assert {folder.name for folder in CORPORA.iterdir()} <= set(TARGETS)
    files = [file for target in TARGETS.values() for file in target.corpus()]
    assert [file.name for file in files] == [input_name(file.read_bytes()) for file in files]


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_parts_of_an_input_are_those_that_were_joined(found: list[bytes]) -> None:
    assert parts(joined(found)) == found


def test_a_target_lets_through_what_is_not_an_error_of_ours() -> None:
    def fails(data: bytes) -> None:
        raise IndexError(data)

    with pytest.raises(IndexError):
        Target("fails", fails, list).run(b"")
