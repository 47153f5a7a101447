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
        "h2",
        "importlib.metadata",
        "rich",
        "pull_logs.fetch.sdk",
        "pull_logs.interface.open_runs",
        "pygments",
        "starlette",
        "uvicorn",
        "wandb",
        "yaml",
    }
)
MEANWHILE = frozenset({"filelock", "numpy", "pyarrow", "pull_logs.snapshot.write.spool"})
"""What a worker thread imports while the first answer is on its way."""

_COMMAND = """
import sys, threading
from pathlib import Path

main_thread, by_main = threading.get_ident(), []

def note(event, arguments):
    if event == "import" and threading.get_ident() == main_thread:
        by_main.append(arguments[0])
    if event == "socket.connect" and not Path("first").exists():
        Path("first").write_text(" ".join(by_main))

sys.addaudithook(note)
from pull_logs.cli.main import main
code = main(sys.argv[1:])
Path("last").write_text(" ".join(sys.modules))
sys.exit(code)
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], set[str]]:
    """What the main thread imported before the first connection, and all modules at the end of a download."""
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
    assert first & MEANWHILE == set()
    assert last >= MEANWHILE


def test_a_download_over_http_never_imports_what_answers_questions(
    imported: tuple[set[str], set[str]],
) -> None:
    assert imported[1] & NEVER == set()


@pytest.mark.parametrize(
    ("modules", "never"),
    [
        ("pull_logs.fetch.worker", {"pull_logs.snapshot.read", "pull_logs.snapshot.write.seal"}),
        (
            "pull_logs.fetch.worker, pull_logs.snapshot.write.seal, pull_logs.snapshot.privacy.audit",
            {
                f"pull_logs.snapshot.read.{name}"
                for name in ("column_copy", "number_columns", "plain_history")
            },
        ),
    ],
)
def test_what_stores_seals_and_searches_runs_imports_nothing_that_takes_long_and_that_it_does_not_call(
    modules: str, never: set[str]
) -> None:
    code = f"import sys, {modules}; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    imported = set(found.stdout.split())
    assert "pyarrow.parquet" in imported
    assert imported & {"pyarrow.compute", *never} == set()
