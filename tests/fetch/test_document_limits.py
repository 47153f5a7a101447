"""A document of a run that is larger than a bundle holds costs that run, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pulling import PROJECT, pull_from, reasons
from scripted_wandb import FakeRun, ScriptedWandb, rows_of

from pull_logs.rows.limits import MAX_DOCUMENT, MAX_DOCUMENT_VALUES
from pull_logs.snapshot import open_bundle

pytestmark = pytest.mark.anyio

ROWS = rows_of(range(4))


def texts(size: int) -> dict[str, Any]:
    """A document of that many bytes of JSON."""
    return {"x": "y" * (size - len('{"x":""}'))}


def numbers(count: int) -> dict[str, Any]:
    """A document with that many commas, `[` and `{`."""
    return {"x": [0] * (count - 1)}


@pytest.mark.parametrize("name", ["config", "summary"])
@pytest.mark.parametrize(
    ("document", "why"),
    [
        (texts(MAX_DOCUMENT + 1), "16777217 bytes of JSON, and 16777216 are the most"),
        (numbers(MAX_DOCUMENT_VALUES + 1), "262145 values, and 262144 are the most"),
    ],
    ids=["bytes", "values"],
)
@pytest.mark.parametrize("make", [FakeRun.exported, FakeRun.logging], ids=["exported", "live"])
async def test_a_document_over_a_limit_is_reported_and_the_other_runs_are_kept(
    tmp_path: Path, make: Any, name: str, document: dict[str, Any], why: str
) -> None:
    out = tmp_path / "b.zip"
    runs = [make("a", ROWS), make("large", ROWS, **{name: document}), make("z", ROWS)]
    server = ScriptedWandb(*runs)
    report = await pull_from(server, out, PROJECT)
    assert reasons(report) == {"large": f"the {name} of run 'acme/nano/large' cannot be kept: it has {why}"}
    assert [outcome.sealed for outcome in report.runs] == [True, False, True]
    with open_bundle(out) as bundle:
        assert bundle.run_paths == ("acme/nano/a", "acme/nano/z")
    server.runs["large"] = make("large", ROWS, **{name: {"x": 1}})
    assert (await pull_from(server, out, PROJECT)).incomplete == ()
    server.runs["large"] = make(
        "large", ROWS, **{name: document}, extra={"heartbeatAt": "2027-01-01T00:00:00Z"}
    )
    (kept,) = (await pull_from(server, out, PROJECT)).incomplete
    assert (kept.how, kept.sealed) == ("kept", True)
    with open_bundle(out) as bundle:
        assert dict(getattr(bundle["large"], name)) == {"x": 1}


@pytest.mark.parametrize(
    "document", [texts(MAX_DOCUMENT), numbers(MAX_DOCUMENT_VALUES)], ids=["bytes", "values"]
)
async def test_a_document_at_a_limit_is_kept(tmp_path: Path, document: dict[str, Any]) -> None:
    out = tmp_path / "b.zip"
    report = await pull_from(ScriptedWandb(FakeRun.exported("large", ROWS, config=document)), out)
    assert report.incomplete == ()
    with open_bundle(out) as bundle:
        assert bundle["large"].config == document
