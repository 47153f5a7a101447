"""What is read of the SDK's objects, and what is left out where a release does not have it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pull_logs.errors import ServerError
from pull_logs.fetch.api import Query
from pull_logs.fetch.artifacts.listing import list_client_ids
from pull_logs.fetch.sdk.program import Reader, answer
from pull_logs.fetch.sdk.program_parts import artifacts

FACTS: dict[str, Any] = {
    "description": "the weights",
    "size": 3,
    "digest": "d1",
    "commit_hash": "abc",
    "file_count": 1,
    "created_at": "2026-11-23T10:00:00Z",
    "updated_at": "2026-11-23T10:00:01Z",
}


def shown(**more: Any) -> dict[str, Any]:
    """What is read of an artifact with these attributes."""
    artifact = SimpleNamespace(
        source_name="weights:v2",
        source_entity="acme",
        source_project="nano",
        id="QQ==",
        type="model",
        metadata={},
        tags=[],
        aliases=["latest"],
        state="COMMITTED",
        **more,
    )
    (line,) = artifacts(SimpleNamespace(logged_artifacts=lambda: [artifact]), used=False)
    found: dict[str, Any] = line["artifact"]
    return found


def test_private_attributes_are_what_w_and_b_reports() -> None:
    private = {f"_{name}": value for name, value in FACTS.items()}
    found = shown(**private, _history_step=3, history_step=2, updated_at="another", size=99)
    assert (found["historyStep"], found["updatedAt"], found["size"]) == (3, FACTS["updated_at"], 3)
    assert (found["commitHash"], found["description"]) == ("abc", "the weights")


def test_without_private_attributes_the_properties_are_read_and_the_step_is_left_out() -> None:
    # The property gives the step before, and 0 for both 0 and 1.
    found = shown(**FACTS, history_step=2)
    assert found["historyStep"] is None
    names = ("description", "size", "digest", "commitHash", "fileCount", "createdAt", "updatedAt")
    assert [found[name] for name in names] == list(FACTS.values())


def test_what_raises_is_left_out() -> None:
    assert shown()["commitHash"] is None


def test_a_query_is_sent_by_the_sdk() -> None:
    reader = Reader()
    service = SimpleNamespace(execute_graphql=lambda text, variables: {"text": text, **variables})
    reader._api = SimpleNamespace(_service_api=service)
    command = {"command": "query", "text": "{ a }", "variables": {"id0": "c1"}}
    assert list(answer(reader, command)) == [{"data": {"text": "{ a }", "id0": "c1"}}, {"end": True}]


@pytest.mark.parametrize("api", [SimpleNamespace(), SimpleNamespace(_service_api=None)])
def test_a_release_that_sends_no_queries_is_named(api: SimpleNamespace) -> None:
    reader = Reader()
    reader._api = api
    assert list(answer(reader, {"command": "query", "text": "{ a }", "variables": {}})) == [
        {
            "failed": "NotImplementedError: this release of the SDK sends no queries of others",
            "kind": "failed",
        }
    ]


@pytest.mark.anyio
async def test_ids_that_cannot_be_asked_for_are_left_out() -> None:
    asked: list[int] = []

    async def ask(query: Query) -> dict[str, Any]:
        asked.append(len(query.variables))
        if len(asked) == 2:
            raise ServerError("the SDK raised NotImplementedError")
        return {f"a{at}": {"serverID": f"s{at}"} if at % 2 else None for at in range(len(query.variables))}

    found = await list_client_ids(ask, [f"c{number}" for number in range(120)])
    assert found == {f"c{at}": f"s{at}" for at in range(1, 50, 2)}
    assert asked == [50, 50]
