"""Which names expressions about runs have, and what is read of a run for some of them."""

from __future__ import annotations

from typing import Any

from fakeruns import FakeRun
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.analyze.questions import run_scope, scope_names

keys = st.sampled_from(["a", "b", "a.b", "rows", "state", "config.a", "metadata.b", "é"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab.", max_size=2),
    lambda inner: st.dictionaries(keys, inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=5,
)
records = st.dictionaries(keys, values, max_size=3)


@st.composite
def fake_runs(draw: st.DrawFn) -> FakeRun:
    return FakeRun([{"_step": 0}], config=draw(records), summary=draw(records), metadata=draw(records))


@given(st.lists(fake_runs(), max_size=5))
def test_the_names_of_runs_are_those_of_each_run(runs: list[FakeRun]) -> None:
    each = dict.fromkeys(name for run in runs for name in run_scope(run))
    assert list(scope_names(runs)) == list(each)


@given(fake_runs(), st.data())
def test_the_values_of_some_names_are_those_among_all(run: FakeRun, data: st.DataObject) -> None:
    complete = run_scope(run)
    names = data.draw(st.lists(st.sampled_from([*complete, "config.z", "metadata.z", "z"]), max_size=4))
    some = run_scope(run, names)

    def found(scope: dict[str, Any]) -> str:
        return repr([(name, name in scope, scope.get(name)) for name in names])

    assert found(some) == found(complete)


def test_the_config_and_the_metadata_are_read_only_for_their_names() -> None:
    class Silent(FakeRun):
        @property
        def config(self) -> dict[str, Any]:
            raise AssertionError("the config was read")

        @property
        def metadata(self) -> dict[str, Any]:
            raise AssertionError("the metadata was read")

    assert run_scope(Silent([{"_step": 0}], summary={"loss": 1.5}), ["loss"])["loss"] == 1.5
