"""A set through additions, replacements, drops and compactions, compared with a dict."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from setkit import Model, grown_bundle, grown_run, held, written_again

from pull_logs.errors import RunNotFoundError
from pull_logs.rows.hashing import rows_hash
from pull_logs.snapshot import BundleSet, add_bundles, drop_runs, open_bundle, open_store
from pull_logs.snapshot.format.content_id import content_id

NAMES = ["acme/nano/a", "acme/nano/A", "acme/other/a", "b/nano/x y", "\u00e9/nano/~"]

some_runs = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 5), min_size=1, max_size=4)


class SetMachine(RuleBasedStateMachine):
    """A set and the dict that it has to equal."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store = open_store(self.folder / "set", create=True)
        self.model: Model = {}
        self.given = 0

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule(bundles=st.lists(some_runs, min_size=1, max_size=2))
    def add(self, bundles: list[Model]) -> None:
        """Add bundles; of a run that is there already, the state with more rows is kept."""
        files = []
        for runs in bundles:
            self.given += 1
            files.append(grown_bundle(self.folder / f"given{self.given}.wandb.zip", runs))
        report = add_bundles(self.store, files)
        added = {path for runs in bundles for path in runs} - self.model.keys()
        assert {str(path) for path in report.added} == added
        for runs in bundles:
            for path, rows in runs.items():
                self.model[path] = max(rows, self.model.get(path, 0))

    @rule(name=st.sampled_from(NAMES))
    def drop(self, name: str) -> None:
        """Drop a run; one that is not there is an error, and changes nothing."""
        if name in self.model:
            _, dropped = drop_runs(self.store, [name])
            assert [*map(str, dropped)] == [name]
            del self.model[name]
        else:
            with pytest.raises(RunNotFoundError):
                drop_runs(self.store, [name])

    @invariant()
    def equals_the_dict(self) -> None:
        """Compare the set with the dict, and its catalog with one that is written at once."""
        if not self.store.versions():
            return
        with open_bundle(self.folder / "set") as opened:
            assert isinstance(opened, BundleSet)
            assert held(opened) == self.model
            assert list(opened) == sorted(self.model)
            assert len(opened) == len(self.model)
            for name in NAMES:
                assert (name in opened) is (name in self.model)
            current = Path(opened.catalog.path).read_bytes()
            assert written_again(opened, self.folder / "again.parquet") == current
            assert opened.content_id == merged_content_id(self.model)


def merged_content_id(model: Model) -> str:
    """Return the content id of one bundle with these runs."""
    runs = [grown_run(path, rows) for path, rows in model.items()]
    return content_id((run.info, rows_hash(run.batches())) for run in runs)


def test_a_set_equals_a_dict() -> None:
    """Whatever is added and dropped in whatever order."""
    run_state_machine_as_test(
        SetMachine, settings=settings(max_examples=5, stateful_step_count=6, deadline=None)
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_set_equals_a_dict_through_many_changes() -> None:
    """The same, longer: `pytest -m slow tests/snapshot/sets`."""
    run_state_machine_as_test(
        SetMachine, settings=settings(max_examples=60, stateful_step_count=15, deadline=None)
    )
