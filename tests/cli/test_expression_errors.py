"""Errors of expressions that fit the columns of some runs and not of others."""

from __future__ import annotations

import pytest
from bundlekit import bundle_run, make_bundle

from pull_logs.cli.main import main

COMPARED = "a string cannot be compared with a number"
COMPUTED = "'*' needs a number here, and this is a string"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bundle of two runs, of which the second has texts where the first has numbers."""
    runs = [
        bundle_run("acme/nano/a", [{"_step": 0, "m": 1}], config={"lr": 0.1}, summary={"m": 1}),
        bundle_run("acme/nano/b", [{"_step": 0, "m": "one"}], config={"lr": "auto"}, summary={"m": "one"}),
    ]
    return str(make_bundle(tmp_path_factory.mktemp("kinds") / "kinds.wandb.zip", runs))


@pytest.mark.parametrize(
    ("words", "message", "pointed"),
    [
        (["--where", "m > 1"], COMPARED, "m > 1\n    ~~~~^"),
        (["--where", "m > 1", "--last", "2"], COMPARED, "m > 1\n    ~~~~^"),
        (["--where", "m > 1", "--stats"], COMPARED, "m > 1\n    ~~~~^"),
        (["--eval", "z=m*2"], COMPUTED, "m*2\n    ^"),
        (["--assert", "m < 3"], COMPARED, "m < 3\n    ~~~~^"),
        (["--assert", "any: m > 1"], COMPARED, "any: m > 1\n         ~~~~^"),
        (["overview", "--assert", "all: m > 1"], COMPARED, "all: m > 1\n         ~~~~^"),
        (["compare", "--assert", "config.lr < 3"], COMPARED, "config.lr < 3\n    ~~~~~~~~~~~~^"),
        (["compare", "--where", "m > 1"], COMPARED, "m > 1\n    ~~~~^"),
        (["compare", "--column", "x=last(m)*2"], COMPUTED, "last(m)*2\n    ~~~~~~^"),
        (["compare", "--fit", "m ~ config.lr*2"], COMPUTED, "config.lr*2\n    ~~~~~~~~^"),
    ],
)
def test_an_error_of_kinds_names_the_run(
    words: list[str], message: str, pointed: str, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "-b", bundle]) == 2
    assert capsys.readouterr().err == f"pull-logs: error: {message}, in run 'b'\n    {pointed}\n"
