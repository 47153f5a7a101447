"""`pull-logs mcp`, driven by the official client, over stdin and HTTP, in both forms of the protocol."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import quicktok
from bundlekit import bundle_run, make_bundle
from checkout import RECORDED
from click.testing import CliRunner
from hostileruns import NASTY, ROWS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_types import TextContent
from rowkit import canonical

from pull_logs.cli.main import cli
from pull_logs.cli.tools import TOOLS, Answered, ask, make_server
from pull_logs.cli.tools.arguments import ARGUMENTS, LEAST_TOKENS, MOST_TOKENS
from pull_logs.errors import PullLogsError, RunNotFoundError, UsageError
from pull_logs.interface import Sources
from pull_logs.snapshot import add_bundles, open_bundle, open_store, subset_bundle

TOKENIZERS = [quicktok.get_encoding(name) for name in ("o200k_base", "qwen3")]
MODES = ["legacy", "2026-07-28"]
COMMAND = [sys.executable, "-m", "pull_logs", "mcp"]

CALLS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("overview", {}, ["overview"]),
    ("overview", {"select": "loss"}, ["overview", "--select", "loss"]),
    ("runs", {"runs": ["cnn1e2s0"]}, ["-H", "-r", "cnn1e2s0"]),
    ("runs", {"meta": True}, ["--meta"]),
    ("schema", {"filter": "config.lr == 0.1"}, ["--schema", "--filter", "config.lr == 0.1"]),
    ("stats", {"select": "^val/", "quantiles": [50, 95]}, ["--select", "^val/", "--quantiles", "50,95"]),
    (
        "compare",
        {"group_by": ["config.lr"], "best": "val/acc:max", "top": 3},
        ["compare", "--group-by", "config.lr", "--best", "val/acc:max", "--top", "3"],
    ),
    (
        "compare",
        {"columns": ["reach=first_step(val/loss < 1)"], "sort": "reach:min", "at": "100"},
        ["compare", "--column", "reach=first_step(val/loss < 1)", "--sort", "reach:min", "--at", "100"],
    ),
    (
        "sql",
        {"query": 'SELECT "config.lr", count(*) FROM runs GROUP BY ALL ORDER BY ALL', "max_rows": 2},
        ["sql", 'SELECT "config.lr", count(*) FROM runs GROUP BY ALL ORDER BY ALL', "--max-rows", "2"],
    ),
]  # fmt: skip
"""Calls of tools, and the commands that they stand for."""


def tokens(text: str) -> int:
    return max(len(tokenizer.encode(text)) for tokenizer in TOKENIZERS)


def by_command(words: list[str]) -> tuple[str, dict[str, Any]]:
    """Return what a command prints as text and as JSON with half of the usual budget."""
    command = [word for word in words[:1] if word in TOOLS]
    line = [*command, "-b", str(RECORDED), *words[len(command) :], "--max-tokens", "2500"]
    text, found = CliRunner().invoke(cli, line), CliRunner().invoke(cli, [*line, "--json"])
    assert (text.exception, found.exception) == (None, None)
    return text.stdout, json.loads(found.stdout)


@asynccontextmanager
async def over_stdio(mode: str) -> AsyncIterator[Client]:
    server = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], str(RECORDED)])
    async with Client(stdio_client(server), mode=mode) as client:
        yield client


@contextmanager
def http_server() -> Iterator[str]:
    process = subprocess.Popen(
        [*COMMAND, str(RECORDED), "--http"], stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        found = re.fullmatch(r"pull-logs: MCP on (http://127\.0\.0\.1:\d+/mcp); stop with Ctrl-C\n", line)
        assert found, line
        yield found[1]
    finally:
        process.terminate()
        with process:
            process.wait()


@pytest.mark.parametrize("mode", MODES)
def test_the_client_gets_over_stdin_what_the_commands_print(mode: str) -> None:
    async def drive() -> list[Any]:
        async with over_stdio(mode) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == list(TOOLS)
            assert client.protocol_version == ("2025-11-25" if mode == "legacy" else mode)
            return [await client.call_tool(name, arguments) for name, arguments, _ in CALLS]

    for result, (name, _, words) in zip(anyio.run(drive), CALLS, strict=True):
        text, found = by_command(words)
        assert not result.is_error
        (content,) = result.content
        assert isinstance(content, TextContent)
        assert content.text == text, name
        assert result.structured_content == found, name


def test_the_client_gets_over_http_what_it_gets_over_stdin() -> None:
    async def call(client: Client) -> tuple[Any, Any]:
        async with client:
            result = await client.call_tool("compare", {"best": "val/acc:max"})
            (content,) = result.content
            assert isinstance(content, TextContent)
            return content.text, result.structured_content

    with http_server() as url:
        answers = [anyio.run(call, Client(url, mode=mode)) for mode in MODES]
        refused = httpx.post(url, headers={"Origin": "http://evil.example"}, json={})
        foreign = httpx.post(url, headers={"Host": "evil.example"}, json={})
    expected = ask("compare", {"best": "val/acc:max"}, Sources(bundles=(RECORDED,), offline=True))
    assert answers == [(expected.text, expected.structured)] * 2
    assert (refused.status_code, foreign.status_code) == (403, 421)


def test_the_definitions_take_at_most_2000_tokens_and_only_read() -> None:
    async def listed() -> Any:
        async with Client(make_server(Sources(bundles=(RECORDED,)))) as client:
            return (await client.list_tools()).tools

    tools = anyio.run(listed)
    described = [tool.model_dump(by_alias=True, exclude_none=True) for tool in tools]
    assert tokens(json.dumps(described, separators=(",", ":"))) <= 2_000
    assert len(tools) <= 8
    assert all(tool.annotations.read_only_hint and not tool.annotations.open_world_hint for tool in tools)
    assert all(tool.output_schema["required"] for tool in tools)


NO_SUCH_RUN = (
    "no run 'cnn1e2s9' in 'fixtures/digits.wandb.zip'; "
    "the nearest are 'cnn1e2s0', 'cnn1e2s1', 'cnn1e2s2', 'cnn1e2s3', 'cnn1e1s0'"
)
NO_CONSOLE_LOG = (
    "the 16 runs have no console log; "
    "`pull-logs fetch --console` downloads console logs, and `import` takes them from local folders"
)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("stats", {"selct": "x"}, "there is no argument 'selct'; the nearest are 'select', 'evals'"),
        ("sql", {}, "'query' is a required property"),
        ("compare", {"top": 0}, "top is not valid: 0 is less than the minimum of 1"),
        ("runs", {"runs": "a"}, "runs is not valid: 'a' is not of type 'array'"),
        ("rums", {}, "there is no tool 'rums'; the nearest is 'runs'"),
        (
            "stats",
            {"where": "loss >"},
            "expected a number, a name, a string or '(', found the end\n    loss >\n          ^",
        ),
        (
            "runs",
            {"runs": ["cnn1e2s9"]},
            NO_SUCH_RUN,
        ),
        (
            "logs",
            {},
            NO_CONSOLE_LOG,
        ),
        (
            "overview",
            {"max_tokens": 9000},
            "max_tokens is not valid: 9000 is greater than the maximum of 8000",
        ),
    ],
)
def test_what_is_wrong_with_a_call_is_an_error_that_the_agent_reads(
    name: str, arguments: dict[str, Any], message: str
) -> None:
    async def call() -> Any:
        async with Client(make_server(Sources(bundles=(RECORDED,), offline=True))) as client:
            return await client.call_tool(name, arguments)

    result = anyio.run(call)
    assert result.is_error
    assert result.content[0].text.replace(str(RECORDED), "fixtures/digits.wandb.zip") == message


def test_tools_answer_over_a_set_as_over_a_bundle_of_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one, parts = Path(shutil.copy(RECORDED, "one")), [Path("first.wandb.zip"), Path("second.wandb.zip")]
    with open_bundle(one) as recorded:
        runs = list(recorded.runs())
        for part, some in zip(parts, (runs[:7], runs[7:]), strict=True):
            subset_bundle(some, part)
    add_bundles(open_store("set", create=True), parts)
    for name, arguments, _ in CALLS:
        over_set = ask(name, arguments, Sources(bundles=(Path("set"),), offline=True))
        over_one = ask(name, arguments, Sources(bundles=(one,), offline=True))
        expected = over_one.text.replace("source=one", "source=set")
        assert over_set.text == expected, name
        answer = json.dumps(over_one.structured).replace('"source": "one"', '"source": "set"')
        assert json.dumps(over_set.structured) == answer, name


def test_several_runs_have_configs_and_summaries_without_the_extremes_of_their_histories() -> None:
    answered = ask("runs", {"filter": "config.lr == 0.1"}, Sources(bundles=(RECORDED,), offline=True))
    headings = re.findall(r"^\[(\w+)\]", answered.text, re.MULTILINE)
    assert headings == ["RUNS", "CONFIG", "SUMMARY", "CONFIG_DIFF", "SUMMARY_COMPARISON"]
    assert "comparison" not in answered.structured


def test_local_run_folders_are_narrowed_by_ids() -> None:
    folders = sorted((RECORDED.parent / "digits").glob("**/offline-run-*"))[:3]
    sources = Sources(runs=tuple(map(str, folders)), offline=True)
    ids = [folder.name.rpartition("-")[2] for folder in folders]
    answered = ask("runs", {"runs": ids[1:2]}, sources)
    assert [run["path"].rpartition("/")[2] for run in answered.structured["runs"]] == ids[1:2]


@pytest.mark.parametrize("bundles", [(RECORDED,), ()])
def test_a_call_reads_nothing_but_what_the_server_was_started_with(
    bundles: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder, other, *_) = sorted((RECORDED.parent / "digits").glob("**/offline-run-*"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "x").symlink_to(other)
    sources = Sources(bundles=bundles, runs=() if bundles else (str(folder),), offline=True)
    for name in (
        str(other),
        f"sqlite:///{other}/m.db",
        "runs/x",
        "./runs",
        "https://example.com/x",
        "r" * 5_000,
    ):
        with pytest.raises(PullLogsError) as found:
            ask("runs", {"runs": [name]}, sources)
        assert isinstance(found.value, UsageError | RunNotFoundError)


VALUES = st.fixed_dictionaries(
    {},
    optional={
        "select": st.sampled_from(["", "loss", ".", "["]) | NASTY,
        "where": st.sampled_from(["_step > 1", "1"]) | NASTY,
        "filter": st.sampled_from(["state == 'finished'"]) | NASTY,
        "runs": st.lists(NASTY, max_size=2),
        "last": st.integers(1, 9),
        "around": st.integers(-5, 50),
        "best": NASTY,
        "group_by": st.lists(NASTY, max_size=2),
        "at": st.sampled_from(["best", "last", "3"]),
        "grep": NASTY,
        "query": st.sampled_from(["SELECT * FROM history", "SELECT * FROM runs", "SELEC"]),
        "max_tokens": st.integers(LEAST_TOKENS, MOST_TOKENS),
    },
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(ROWS, min_size=1, max_size=3),
    facts=st.dictionaries(NASTY, NASTY, max_size=4),
    name=st.sampled_from(list(TOOLS)),
    arguments=VALUES,
)
def test_no_answer_about_hostile_runs_is_over_its_bound(
    rows: list[list[dict[str, Any]]],
    facts: dict[str, str],
    name: str,
    arguments: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    bundle = make_bundle(
        tmp_path_factory.mktemp("hostile") / "b.wandb.zip",
        [
            bundle_run(f"acme/nano/r{index}", canonical(run), config=facts, summary=facts)
            for index, run in enumerate(rows)
        ],
    )
    arguments = {"query": "FROM runs", **arguments}
    takes = {key: value for key, value in arguments.items() if key in (*TOOLS[name].arguments, "max_tokens")}
    try:
        answered = ask(name, takes, Sources(bundles=(bundle,), offline=True))
    except PullLogsError:
        return
    written = json.dumps(answered.structured, ensure_ascii=False)
    assert tokens(answered.text) + tokens(written) <= takes.get("max_tokens", MOST_TOKENS)
    assert_only_known_headings(answered)


def assert_only_known_headings(answered: Answered) -> None:
    """Check that each line that looks like a heading is one that the answer has a member for."""
    known = {name.upper() for name in answered.structured} | {"HISTORY", "OVERVIEW", "CONFIG_VALUES"}
    for line in answered.text.splitlines():
        if found := re.match(r"\[([A-Z_]+)\]", line):
            assert found[1] in known or found[1] in {"METRICS", "STATES", "HEALTH", "ANSWER"}, line


def test_every_argument_belongs_to_a_tool() -> None:
    assert set(ARGUMENTS) == {"max_tokens", *(name for tool in TOOLS.values() for name in tool.arguments)}


def test_a_long_error_is_cut() -> None:
    async def call() -> Any:
        async with Client(make_server(Sources(bundles=(RECORDED,), offline=True))) as client:
            return await client.call_tool("runs", {"runs": ["r" * 5_000]})

    result = anyio.run(call)
    assert result.is_error
    assert len(result.content[0].text) <= 1_500
