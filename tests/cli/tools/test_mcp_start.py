"""What `pull-logs mcp` does before its first answer, and what it leaves for later."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
from checkout import RECORDED
from mcpkit import GREETING, written

from pull_logs.cli.main import main
from pull_logs.snapshot.format import MANIFEST, RUNS, open_container

MESSAGES = [*GREETING, {"id": 2, "method": "tools/list", "params": {}}]


@contextmanager
def started(
    command: list[str], folder: Path | None = None
) -> Iterator[tuple[subprocess.Popen[str], IO[str], IO[str], IO[str]]]:
    """Start a server whose input is left open: at its end, the package drops what is not answered yet."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        yield process, process.stdin, process.stdout, process.stderr


LISTED = """
import sys
from pull_logs.cli.main import main
from pull_logs.cli.tools import server
server._SECONDS_OF_AN_ANSWER = 3600
code = main(["mcp", "-b", sys.argv[1]])
heavy = {"numpy", "pyarrow", "pandas", "httpx", "jsonschema", "mcp.client.client", "mcp.server.mcpserver"}
print(code, sorted(heavy & set(sys.modules)), file=sys.stderr)
"""


def test_nothing_that_answers_need_is_imported_before_the_tools_are_listed() -> None:
    with started([sys.executable, "-c", LISTED, str(RECORDED)]) as (process, stdin, stdout, stderr):
        stdin.write(written(MESSAGES))
        stdin.flush()
        answers = [json.loads(stdout.readline()) for _ in range(2)]
        stdin.close()
        assert stderr.read() == "0 []\n"
    assert process.returncode == 0
    assert [answer["id"] for answer in answers] == [1, 2]
    assert len(answers[1]["result"]["tools"]) == 8


PREPARED = """
import sys
from pathlib import Path
from pull_logs.cli.tools import ask, questions
from pull_logs.interface import Sources
sources = Sources(bundles=(Path(sys.argv[1]),), offline=True)
questions.prepare_answers(sources)
known = set(sys.modules)
for name in ("overview", "runs", "schema", "stats", "compare"):
    ask(name, {}, sources)
print(*sorted(name for name in set(sys.modules) - known if name.startswith("pull_logs")))
"""

SMALL = {
    "pull_logs.fetch",
    "pull_logs.fetch.cache_folder",
    "pull_logs.interface.kept_texts",
    "pull_logs.interface.known_findings",
    "pull_logs.interface.known_statistics",
    "pull_logs.snapshot.read.number_columns",
}
"""Modules that the first answers import, of which none imports a library."""


def test_the_preparation_leaves_little_to_import_for_the_first_answers() -> None:
    found = subprocess.run(
        [sys.executable, "-c", PREPARED, str(RECORDED)], capture_output=True, text=True, check=True
    )
    assert set(found.stdout.split()) <= SMALL


def missing(path: Path) -> None:
    shutil.copy(RECORDED, path.with_name("sweeps.wandb.zip"))


def no_zip(path: Path) -> None:
    path.write_text("step,loss\n")


def cut_short(path: Path) -> None:
    path.write_bytes(RECORDED.read_bytes()[:-100])


def with_another_manifest(path: Path) -> None:
    flip(path, MANIFEST)


def an_empty_folder(path: Path) -> None:
    path.mkdir()


def flip(path: Path, member: str) -> None:
    """Copy the recorded bundle, with another byte in the middle of a member."""
    content = bytearray(RECORDED.read_bytes())
    container = open_container(RECORDED)
    start = container.start_of(member)
    assert start is not None
    content[start + container.sizes[member] // 2] ^= 1
    container.close()
    path.write_bytes(content)


@pytest.mark.parametrize("make", [missing, no_zip, cut_short, with_another_manifest, an_empty_folder])
def test_a_path_without_a_bundle_is_an_error_of_the_command(
    make: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sweep.wandb.zip"
    make(path)
    code = main(["mcp", "-b", str(path)])
    error = capsys.readouterr()
    assert code == main(["overview", "-b", str(path)])
    assert code in (3, 6)
    assert (error.out, error.err) == ("", capsys.readouterr().err)


DAMAGED = "'sweep.wandb.zip' is damaged: runs.parquet does not have its hash"


def test_damage_in_a_bundle_is_reported_after_the_start_and_by_each_call(tmp_path: Path) -> None:
    flip(tmp_path / "sweep.wandb.zip", RUNS)
    command = [sys.executable, "-m", "pull_logs", "mcp", "sweep.wandb.zip"]
    with started(command, tmp_path) as (process, stdin, stdout, stderr):
        stdin.write(written(MESSAGES))
        stdin.flush()
        assert stderr.readline() == f"pull-logs: note: {DAMAGED}\n"
        call = {"id": 3, "method": "tools/call", "params": {"name": "overview", "arguments": {}}}
        stdin.write(written([call]))
        stdin.flush()
        *_, answer = (json.loads(stdout.readline()) for _ in range(3))
        stdin.close()
    assert process.returncode == 0
    result = answer["result"]
    assert (result["isError"], result["content"][0]["text"]) == (True, DAMAGED)


@pytest.mark.parametrize("option", [["--http"], ["-r", "nothing/run-20260101_000000-abc"]])
def test_over_http_and_of_run_folders_everything_is_opened_at_the_start(
    option: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    flip(tmp_path / "sweep.wandb.zip", RUNS)
    assert main(["mcp", "sweep.wandb.zip", *option]) == 6
    assert capsys.readouterr().err == f"pull-logs: error: {DAMAGED}\n"
