"""The end of a client's input waits for the answers to what it has asked before."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import anyio
import pytest
from checkout import RECORDED
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.shared.message import SessionMessage
from mcp_types import ErrorData, JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse
from mcpkit import GREETING, written

from pull_logs.cli.tools.open_requests import OpenRequests

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def call(number: int, name: str, **meta: Any) -> dict[str, Any]:
    return {
        "id": number,
        "method": "tools/call",
        "params": {"name": name, "arguments": {}, **({"_meta": meta} if meta else {})},
    }


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
def test_a_file_of_requests_is_answered_completely(revision: str) -> None:
    """Answers in the order in which they are ready; what is no message is an error of the protocol."""
    meta = META if revision == "2026-07-28" else {}
    messages = [] if meta else list(GREETING)
    messages += [call(2, "overview", **meta), call(3, "none", **meta), call(4, "runs", **meta)]
    found = subprocess.run(
        [sys.executable, "-m", "pull_logs", "mcp", "-b", str(RECORDED)],
        input=written(messages),
        capture_output=True,
        text=True,
        check=True,
    )
    answers = {answer["id"]: answer for answer in map(json.loads, found.stdout.splitlines())}
    assert set(answers) == {2, 3, 4} | ({1} if not meta else set())
    assert answers[2]["result"]["content"][0]["text"].startswith("[OVERVIEW]")
    assert answers[3]["result"]["isError"] is True


def request(number: int) -> SessionMessage:
    return SessionMessage(JSONRPCRequest(jsonrpc="2.0", id=number, method="tools/call"))


def settled(number: int, how: str) -> SessionMessage:
    if how == "answered":
        return SessionMessage(JSONRPCResponse(jsonrpc="2.0", id=number, result={}))
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=number, error=ErrorData(code=1, message="no")))


def cancelled(number: int) -> SessionMessage:
    return SessionMessage(
        JSONRPCNotification(
            jsonrpc="2.0", method="notifications/cancelled", params={"requestId": str(number)}
        )
    )


async def received(requests: OpenRequests) -> list[SessionMessage | Exception]:
    return [message async for message in requests.messages]


async def ends_after(hows: list[str], order: list[int]) -> list[int]:
    """Ask one request each, end the input, settle them in an order; return after how many the end arrived."""
    sender, messages = anyio.create_memory_object_stream[SessionMessage | Exception](100)
    answers, sent = anyio.create_memory_object_stream[SessionMessage](100)
    requests = OpenRequests(messages, answers)
    ends: list[int] = []
    done = 0

    async def read() -> None:
        found = await received(requests)
        assert len(found) == len(hows) + 1 + hows.count("cancelled")
        ends.append(done)

    async with sender, sent, requests.messages, requests.answers, anyio.create_task_group() as tasks:
        sender.send_nowait(ValueError("a line that is no message"))
        for number in range(len(hows)):
            sender.send_nowait(request(number))
        for number in order:
            if hows[number] == "cancelled":
                sender.send_nowait(cancelled(number))
        await sender.aclose()
        tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        for number in order:
            if hows[number] != "cancelled":
                done += 1
                await requests.answers.send(settled(number, hows[number]))
                await anyio.wait_all_tasks_blocked()
    return ends


@settings(max_examples=50)
@given(data=st.data(), backend=st.sampled_from(["asyncio", "trio"]))
def test_the_end_arrives_with_the_last_answer(data: st.DataObject, backend: str) -> None:
    hows = data.draw(st.lists(st.sampled_from(["answered", "refused", "cancelled"]), max_size=6))
    order = data.draw(st.permutations(range(len(hows))))
    assert anyio.run(ends_after, hows, order, backend=backend) == [len(hows) - hows.count("cancelled")]
