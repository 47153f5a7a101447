"""Measure how long `pull-logs mcp` takes to start, next to a minimal server of the `mcp` package.

    python benchmarks/agents/server_start.py                      # over the demo bundle, medians of nine
    python benchmarks/agents/server_start.py -b sweep.wandb.zip --repeats 3

By turns, each server is started and asked over stdin for `initialize` and then for `tools/list`. Wall time is
from the start of its process, processor time that of the process until then. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "pull_logs" / "data" / "digits.wandb.zip"

MINIMAL = """
import anyio, mcp_types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

async def list_tools(context, params):
    return mcp_types.ListToolsResult(tools=[])

async def main():
    server = Server("minimal", on_list_tools=list_tools)
    async with stdio_server() as (messages, answers):
        await server.run(messages, answers, server.create_initialization_options())

anyio.run(main)
"""
"""A server without tools, as the documentation of the `mcp` package has it."""

_HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "benchmark", "version": "1"},
}
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a server.

    Attributes:
        initialize: Seconds from the start of the process to the answer of `initialize`.
        listing: Those to the answer of `tools/list`.
        processor: The processor seconds of the process until then.
    """

    initialize: float
    listing: float
    processor: float


def measured(command: Sequence[str]) -> Start:
    """Start a server once."""
    began = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        _ask(process.stdin, process.stdout, {"id": 1, "method": "initialize", "params": _HELLO})
        initialize = time.perf_counter() - began
        _send(process.stdin, {"method": "notifications/initialized"})
        _ask(process.stdin, process.stdout, {"id": 2, "method": "tools/list", "params": {}})
        listing = time.perf_counter() - began
        used = Path(f"/proc/{process.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        process.stdin.close()
    return Start(initialize, listing, (int(used[11]) + int(used[12])) / _TICKS)


def _send(stdin: IO[bytes], message: Mapping[str, Any]) -> None:
    stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    stdin.flush()


def _ask(stdin: IO[bytes], stdout: IO[bytes], message: Mapping[str, Any]) -> None:
    _send(stdin, message)
    answer = json.loads(stdout.readline())
    if answer["id"] != message["id"] or "result" not in answer:
        raise SystemExit(f"not an answer of {message['method']}: {answer}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-b", "--bundle", default=str(DEMO))
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args(arguments)
    commands = {
        "minimal server of `mcp`": [sys.executable, "-c", MINIMAL],
        "`pull-logs mcp`": [sys.executable, "-m", "pull_logs", "mcp", "-b", given.bundle],
    }
    starts: dict[str, list[Start]] = {name: [] for name in commands}
    for _ in range(given.repeats):
        for name, command in commands.items():
            starts[name].append(measured(command))
    print("| server | to `initialize` | to `tools/list` | processor |")
    print("|---|---|---|---|")
    for name, found in starts.items():
        columns = zip(*((start.initialize, start.listing, start.processor) for start in found), strict=True)
        shown = (
            f"{median(column):.2f} s ({min(column):.2f}-{max(column):.2f})" for column in map(list, columns)
        )
        print(f"| {name} | {' | '.join(shown)} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
