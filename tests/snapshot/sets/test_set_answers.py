"""A set answers as one bundle with the same runs does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bundlekit import bundle_run, make_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from setkit import grown_bundle

from pull_logs.analyze import keep_runs, rows_where
from pull_logs.cli.main import main
from pull_logs.errors import ExpressionError, UnknownNameError
from pull_logs.snapshot import BundleSet, add_bundles, open_bundle, open_bundle_set, open_store
from pull_logs.snapshot.format import Container
from pull_logs.snapshot.read import load_index
from pull_logs.snapshot.read.index import BundleIndex
from pull_logs.snapshot.sets import members

RUNS = {f"acme/nano/{name}{number}": 2 + number for name in "abc" for number in range(3)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a set of three members, and a bundle with the same runs."""
    path = tmp_path_factory.mktemp("answers")
    store = open_store(path / "night", create=True)
    for name in "bca":
        runs = {run: rows for run, rows in RUNS.items() if run[10] == name}
        add_bundles(store, [grown_bundle(path / f"{name}.wandb.zip", runs)])
    grown_bundle(path / "one.wandb.zip", RUNS)
    return path


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("-H",),
        ("--schema", "--stats"),
        ("--json",),
        ("-r", "b1", "--where", "_step > 0"),
        ("--assert", "loss < 2"),
        ("overview",),
        ("overview", "--json"),
        ("compare", "--best", "loss:min"),
        ("compare", "--filter", 'config.lr > 0.01 and state == "finished"'),
        ("logs",),
        ("media",),
        ("sql", "SELECT run, count(*) AS n, min(loss) AS best FROM history GROUP BY run ORDER BY run"),
    ],
    ids=" ".join,
)
def test_a_set_is_answered_as_a_bundle_is(
    folder: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command prints the same, but for the name."""
    monkeypatch.chdir(folder)
    answers = []
    for source in ("night", "one.wandb.zip"):
        code = main([*words, "-b", source])
        printed = capsys.readouterr()
        answers.append((code, printed.out.replace(source, "SOURCE"), printed.err.replace(source, "SOURCE")))
    assert answers[0] == answers[1]
    assert answers[0][0] in (0, 3)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a set whose neighbouring runs are in different members, and a bundle of the runs."""
    path = tmp_path_factory.mktemp("mixed")
    store = open_store(path / "night", create=True)
    runs = {f"acme/nano/r{number:02d}": 2 + number % 5 for number in range(36)}
    for first in range(3):
        add_bundles(store, [grown_bundle(path / f"{first}.wandb.zip", list(runs.items())[first::3])])
    grown_bundle(path / "one.wandb.zip", runs)
    return path


def loaded_members(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the members as they are opened from now on, one of which is open at a time."""
    monkeypatch.setattr(members, "MOST_OPEN", 1)
    loaded: list[str] = []

    def counted(file: Container) -> BundleIndex:
        loaded.append(str(file.path))
        return load_index(file)

    monkeypatch.setattr(members, "load_index", counted)
    return loaded


@pytest.mark.parametrize(
    ("words", "passes"),
    [
        (("compare", "--best", "loss:min"), 2),
        (("compare", "--at", "1", "--best", "loss:min"), 2),
        (("compare", "--at", "1", "--best", "loss:min", "--jobs", "2"), 2),
        (("overview", "--assert", "any: loss < 1"), 7),
        (("overview", "--jobs", "2"), 4),
        (("--stats", "--where", "loss < 2", "--max-tokens", "0"), 2),
        (("--stats", "--max-tokens", "0", "--jobs", "2"), 2),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_members_are_opened_one_after_the_other(
    mixed: Path,
    words: tuple[str, ...],
    passes: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With one open at most, each is opened once in a pass over the runs, wherever its runs are."""
    monkeypatch.chdir(mixed)
    loaded = loaded_members(monkeypatch)
    assert main([*words, "-b", "night"]) == 0
    found = capsys.readouterr().out.replace("night", "SOURCE")
    assert len(loaded) <= 3 * passes
    assert main([*words, "-b", "one.wandb.zip"]) == 0
    assert capsys.readouterr().out.replace("one.wandb.zip", "SOURCE") == found


@pytest.mark.parametrize("to", ["parquet", "csv", "ndjson"])
def test_an_export_opens_members_one_after_the_other(
    mixed: Path, to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are those of the bundle with the same runs."""
    loaded = loaded_members(monkeypatch)
    written = []
    for source in ("night", "one.wandb.zip"):
        out = tmp_path / source
        assert main(["export", str(mixed / source), "-o", str(out), "--format", to]) == 0
        written.append({file.relative_to(out): file.read_bytes() for file in out.rglob("*.*")})
    assert len(loaded) <= 3 * 5
    assert written[0] == written[1]
    assert len(written[0]) == 37


def test_a_set_has_the_content_id_of_the_bundle_and_no_difference(folder: Path) -> None:
    """So it does not matter into which members the runs were divided."""
    with open_bundle(folder / "night") as lab, open_bundle(folder / "one.wandb.zip") as one:
        assert lab.content_id == one.content_id
        assert lab.run_paths == one.run_paths
        assert lab.runs_frame().equals(one.runs_frame())
    assert main(["diff", str(folder / "night"), str(folder / "one.wandb.zip"), "--exit-code"]) == 0


CONDITIONS = st.sampled_from(
    [
        *(
            "config.a > 1",
            "config.a == 1",
            "config.a is missing",
            'config.b == "x"',
            "config.b is not missing",
        ),
        *("summary.loss < 0.5", "summary.loss is missing", "config.c", "not config.c", "config.c == true"),
        *(
            "rows > 1",
            "last_step is missing",
            "complete",
            "parts == 1",
            'state == "finished"',
            "group is missing",
        ),
        *('tags contains "x,y"', 'tags == "x"', 'tags contains ""', "tags is missing", 'run_id == "r1"'),
        *('project matches "n"', "config.d.e > 0", "config.a + summary.loss > 1", 'name contains "1"'),
    ]
)
values = st.sampled_from([1, 2, 2**60, 0.5, float("nan"), "x", "y", True, False, ["x"], {"e": 1}, {"e": "t"}])
records = st.dictionaries(st.sampled_from("abcd"), values, max_size=3)
losses = st.dictionaries(st.just("loss"), values)
tag_lists = st.lists(st.sampled_from(["x", "y", "x,y", "\\", ""]), max_size=2, unique=True)
some_runs = st.lists(st.tuples(records, losses, tag_lists), min_size=1, max_size=4)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=some_runs, left=CONDITIONS, right=CONDITIONS, word=st.sampled_from(["and", "or"]))
def test_a_filter_over_the_catalog_holds_for_the_same_runs(
    tmp_path_factory: pytest.TempPathFactory,
    runs: list[tuple[dict[str, Any], dict[str, Any], list[str]]],
    left: str,
    right: str,
    word: str,
) -> None:
    """Whatever kinds of values a key has, and whether it has a column of its own."""
    folder = tmp_path_factory.mktemp("filter")
    made = [
        bundle_run(
            f"acme/nano/r{number}", config=config, summary=summary, tags=tuple(tags), name=f"n{number}"
        )
        for number, (config, summary, tags) in enumerate(runs)
    ]
    store = open_store(folder / "night", create=True)
    add_bundles(store, [make_bundle(folder / "a.wandb.zip", made)])
    text = f"({left}) {word} ({right})"
    with open_bundle_set(folder / "night") as opened:
        expected, problem = kept_rows(opened, text)
        if isinstance(problem, ExpressionError):
            with pytest.raises(ExpressionError) as caught:
                rows_where(opened.catalog, text)
            assert str(caught.value) == str(problem)
            return
        found = rows_where(opened.catalog, text)
        assert (None if found is None else found.tolist()) == expected


def kept_rows(opened: BundleSet, text: str) -> tuple[list[int] | None, Exception | None]:
    """Return the rows of the runs for which a filter holds, run by run; or its error."""
    try:
        kept = keep_runs(list(opened.runs()), text)
    except (ExpressionError, UnknownNameError) as exc:
        return None, exc
    return [row for row, holds in enumerate(kept) if holds], None
