"""Messages of MCP, as a client writes them to the input of `pull-logs mcp`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

GREETING: list[dict[str, Any]] = [
    {
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "tests", "version": "1"},
        },
    },
    {"method": "notifications/initialized"},
]
"""How a client of the revision 2025-11-25 begins."""


def written(messages: Sequence[dict[str, Any]]) -> str:
    """Return messages as lines of JSON."""
    return "".join(json.dumps({"jsonrpc": "2.0", **message}) + "\n" for message in messages)
