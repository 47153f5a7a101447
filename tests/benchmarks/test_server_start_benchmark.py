"""The benchmark of how a server of MCP starts measures both servers."""

from __future__ import annotations

import re

import pytest
import server_start


def test_both_servers_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert server_start.main(["--repeats", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "minimal server of `mcp`",
        "`pull-logs mcp`",
    ]
    for line in lines[2:]:
        initialize, listing, processor = map(float, re.findall(r"([\d.]+) s", line))
        assert 0 < initialize <= listing
        assert processor > 0
