"""What is kept of very many runs and members as columns."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pull_logs.runs import RunPath
from pull_logs.snapshot.format.packed import MemberMap, MemberNames, TextsBuilder
from pull_logs.snapshot.format.runs import PathsBuilder

parts = st.text(st.sampled_from("ab/é\U0001f600"), min_size=1, max_size=3)
names = st.lists(st.text(st.sampled_from("ab/"), min_size=1, max_size=4), max_size=12)
some_paths = st.lists(st.builds(RunPath, parts, parts, parts), max_size=12)


def packed(paths: list[RunPath]) -> PathsBuilder:
    builder = PathsBuilder()
    builder.add(map(tuple, paths))  # type: ignore[arg-type]
    return builder


@settings(max_examples=60)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), max_size=8))
def test_packed_texts_are_those_that_were_added(texts: list[str]) -> None:
    builder = TextsBuilder()
    for start in range(0, len(texts), 3):
        builder.extend(texts[start : start + 3])
    found = builder.texts()
    assert [*found] == [found[index] for index in range(len(found))] == texts


@settings(max_examples=60)
@given(some_paths, some_paths)
def test_paths_are_those_that_were_added_and_each_is_found(
    given_paths: list[RunPath], other: list[RunPath]
) -> None:
    paths = sorted(set(given_paths))
    found = packed(paths).paths()
    assert [*found] == [found[index] for index in range(len(found))] == found[:] == paths
    assert [found.find(path) for path in paths] == list(range(len(paths)))
    for path in other:
        assert found.find(path) == (paths.index(path) if path in paths else None)
        assert (path in found) is (path in paths)
        assert path in RunPath.written(str(path))


@settings(max_examples=60)
@given(some_paths)
def test_only_ascending_paths_are_in_order(paths: list[RunPath]) -> None:
    assert packed(paths).in_order is (paths == sorted(set(paths)))


@settings(max_examples=100)
@given(names | names.map(sorted), names)
def test_members_are_found_by_name_in_any_order(given_names: list[str], asked: list[str]) -> None:
    builder = TextsBuilder()
    builder.extend(given_names)
    found = MemberNames(builder.texts())
    repeated = {name for name in given_names if given_names.count(name) > 1}
    assert (found.repeated in repeated) if repeated else found.repeated is None
    if not repeated:
        known = MemberMap(found, given_names.__getitem__)
        assert known == {name: name for name in given_names}
        for name in [*given_names, *asked, *given_names, *sorted(asked)]:
            assert known.get(name) == (name if name in given_names else None)
