"""Pages of console logs, in order and out of order, and what is said where there are none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from consolekit import console_of, printed
from replay_support import bundle_run, plain_rows, write_runs

from pull_logs.replay import build_app
from pull_logs.replay.data import ConsolePages
from pull_logs.snapshot import Bundle, open_bundle

pytestmark = pytest.mark.anyio

LINES = printed(50)


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Bundle]:
    runs = [
        bundle_run("acme/nano/a", plain_rows(3), console=console_of(LINES)),
        bundle_run("acme/nano/b", plain_rows(3)),
    ]
    with open_bundle(write_runs(tmp_path, runs)) as opened:
        yield opened


def test_pages_may_be_requested_in_any_order(bundle: Bundle) -> None:
    pages, run = ConsolePages(), bundle["a"]
    for start, count in [(0, 20), (20, 20), (40, 20), (20, 5), (25, 1), (60, 3), (0, 0), (0, 50), (50, 1)]:
        assert pages.page(run, start, count) == LINES[start : start + count]
    assert pages.tail(run, 3) == LINES[-3:]
    assert pages.tail(run, -3) == []


async def ask(bundle: Bundle, fields: str, run: str = "a") -> Any:
    app = build_app([bundle])
    query = f'query Q {{ project(name: "nano", entityName: "acme") {{ run(name: "{run}") {{ {fields} }} }} }}'
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1:9", auth=("api", app.state.api_key)
    ) as client:
        answer = (await client.post("/graphql", json={"query": query})).json()
    return answer["errors"][0]["message"] if "errors" in answer else answer["data"]["project"]["run"]


async def test_a_cursor_continues_and_the_first_page_has_a_default_size(bundle: Bundle) -> None:
    fields = "edges { node { number line } } pageInfo { endCursor hasNextPage }"
    first = await ask(bundle, f"logLineCount logLines(first: 20) {{ {fields} }}")
    assert first["logLineCount"] == 50
    assert first["logLines"]["pageInfo"]["hasNextPage"] is True
    cursor = first["logLines"]["pageInfo"]["endCursor"]
    rest = await ask(bundle, f'logLines(first: 90, after: "{cursor}") {{ {fields} }}')
    numbers = [edge["node"]["number"] for part in (first, rest) for edge in part["logLines"]["edges"]]
    assert numbers == list(range(50))
    assert rest["logLines"]["pageInfo"]["hasNextPage"] is False
    assert len((await ask(bundle, "logLines { edges { node { line } } }"))["logLines"]["edges"]) == 50
    assert await ask(bundle, "logLines(last: 2) { edges { node { number } } pageInfo { hasNextPage } }") == {
        "logLines": {
            "edges": [{"node": {"number": 48}}, {"node": {"number": 49}}],
            "pageInfo": {"hasNextPage": False},
        }
    }
    assert await ask(bundle, 'logLines(after: "x") { edges { node { line } } }') == (
        "'x' is not a cursor of this server"
    )


async def test_a_run_that_printed_nothing_has_no_lines(bundle: Bundle) -> None:
    assert await ask(bundle, "logLineCount logLines { edges { node { line } } }", "b") == {
        "logLineCount": 0,
        "logLines": {"edges": []},
    }


async def test_a_bundle_without_console_logs_says_how_to_add_them(tmp_path: Path) -> None:
    runs = [
        bundle_run("acme/nano/a", plain_rows(3)),
        bundle_run("acme/nano/b", plain_rows(3), from_server=False),
    ]
    with open_bundle(write_runs(tmp_path, runs)) as without:
        assert await ask(without, "logLineCount logLines { edges { node { line } } }") == (
            "the bundle 'runs.wandb.zip' has no console logs; `pull-logs fetch -r acme/nano/a --console"
            " -o more.wandb.zip` downloads that of the run, to be merged into this bundle"
        )
        assert await ask(without, "logLineCount logLines { edges { node { line } } }", "b") == (
            "the bundle 'runs.wandb.zip' has no console logs; `pull-logs import RUN_DIR -o more.wandb.zip`"
            " copies that of a run folder which has one"
        )
        assert await ask(without, "outputArtifacts { edges { node { id } } }", "b") == (
            "the bundle 'runs.wandb.zip' has no artifacts; `pull-logs import RUN_DIR --artifacts logged"
            " -o more.wandb.zip` copies those of a run folder"
        )
