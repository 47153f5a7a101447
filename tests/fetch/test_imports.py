"""What a download imports: little before its first request, and never what it does not need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import RECORDED, ROOT

from pull_logs.replay import serve_bundle

NEVER = frozenset(
    {
        "pandas",
        "pull_logs.analyze",
        "httpx._main",
        "rich",
        "pygments",
        "starlette",
        "uvicorn",
        "wandb",
        "yaml",
    }
)
AFTER_THE_FIRST_REQUEST = frozenset({"numpy", "pyarrow", "pull_logs.snapshot.write.spool"})

_COMMAND = """
import sys
from pathlib import Path

def note(event, arguments):
    if event == "socket.connect" and not Path("first").exists():
        Path("first").write_text(" ".join(sys.modules))

sys.addaudithook(note)
from pull_logs.cli.main import main
code = main(sys.argv[1:])
Path("last").write_text(" ".join(sys.modules))
sys.exit(code)
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], set[str]]:
    """The modules at the first connection, and at the end, of a download from a loopback server."""
    folder = tmp_path_factory.mktemp("imports")
    with serve_bundle(RECORDED) as server:
        subprocess.run(
            [sys.executable, "-c", _COMMAND, "fetch", "-p", "acme/digits", "-o", "out.wandb.zip"],
            cwd=folder,
            env={**os.environ, **server.environment(), "PYTHONPATH": str(ROOT), "HOME": str(folder)},
            check=True,
            capture_output=True,
        )
    first, last = (set(Path(folder, name).read_text().split()) for name in ("first", "last"))
    return first, last


def test_the_first_request_waits_for_no_module_that_stores_rows(imported: tuple[set[str], set[str]]) -> None:
    first, last = imported
    assert {"httpx", "anyio"} <= first
    assert first & (NEVER | AFTER_THE_FIRST_REQUEST) == set()
    assert last >= {"numpy", "pyarrow", "pull_logs.snapshot.write.spool"}


def test_a_download_over_http_never_imports_what_answers_questions(
    imported: tuple[set[str], set[str]],
) -> None:
    assert imported[1] & NEVER == set()
