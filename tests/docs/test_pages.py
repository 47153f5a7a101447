"""Every command, output and program on the pages is what happens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import ROOT
from page_examples import (
    PAGES,
    Block,
    agrees,
    blocks_of,
    difference,
    redrawn,
    results,
    served,
    steps_of,
)

NOT_RUN = {
    "python -m pip install . && pull-logs demo": "installs; tests/docs/test_release.py does it in an empty environment",  # noqa: E501
    "python -m pip install .": "installs",
    "python -m pip install -e '.[test]' && pytest": "runs this suite",
    "pre-commit install": "changes the checkout",
    "ruff check . && ruff format --check . && mypy": "takes minutes; CI runs it",
    "pytest -n 0 tests/rows/test_row_law.py": "runs a part of this suite",
    "pytest -n 2 --hypothesis-seed=7": "runs this suite",
    "pytest -m slow -n 0": "takes long",
    "pytest -m slow -n 0 tests/cli/test_stopped_commands.py": "takes long",
    "pytest -m slow -n 0 tests/cli/test_memory.py": "takes long",
    "pytest -m slow -n 0 -s tests/crash/test_power_cuts.py": "takes long",
    "pytest -m slow -n 0 -s tests/crash/test_missing_syncs.py": "takes long",
    "pytest -m slow -n 0 -s tests/crash/test_disk_refusals.py": "takes long",
    "pytest -m slow -n 0 tests/crash/test_written_files.py": "takes long",
    "pytest -m slow -n 0 tests/sources/trackers/test_mlflow_server.py": "takes minutes",
    "PULL_LOGS_NODE_MODULES=node_modules pytest -m slow -n 0 -k emulator tests/snapshot tests/cli/test_urls_of_commands.py tests/sources/trackers tests/interface": "needs other programs",  # noqa: E501
    "mkdocs build --strict": "tests/docs/test_site.py does it",
    "pytest --wandb-record tests/test_report.py": "needs an account; tests/replay/test_recording.py has it with a server",  # noqa: E501
    "pytest -m slow -n 0 tests/benchmarks/test_verdict_simulations.py": "takes a quarter of an hour",
    "python scripts/release.py": "tests/docs/test_release.py does it",
    "python benchmarks/soak.py --readers 50 --seconds 60": "takes a minute; tests/replay/test_soak.py has a short one",  # noqa: E501
    "for seed in 1 2 3 4 5; do pytest -n 2 --hypothesis-seed=$seed || break; done": "runs this suite",
    "pytest -m slow tests/fetch/test_simulation.py": "takes a quarter of an hour",
    "python -m pip install '.[test,fuzz]'": "installs",
    "python tests/fuzz/fuzz.py": "takes ten hours; tests/fuzz/test_fuzz_corpora.py runs its targets",
    "PULL_LOGS_WRITE_GOLDEN=1 pytest -n 0 tests/cli/render/test_golden.py": "changes the checkout",
}
"""Every command of a `sh` block, and why no test of a page runs it."""

RUN_ELSEWHERE = {
    'pull-logs compare -b "$bundle" --at 40 --best val/loss:min --engine "dask://$host:$port" --no-hints': "tests/docs/test_clusters.py",  # noqa: E501
    "pull-logs set add archive archive/acme--nano.wandb.zip archive/lab--vision.wandb.zip": "tests/cli/commands/test_archive_command.py",  # noqa: E501
}
"""Commands of other blocks, and what runs them; tests/docs/test_archives.py runs `console-s3`."""

ALL_PAGES = (*PAGES, ROOT / "CONTRIBUTING.md")


@pytest.fixture(scope="module")
def replay() -> Iterator[dict[str, str]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("WANDB_BASE_URL", raising=False)
        with served() as variables:
            yield variables


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_shows_what_happens(page: Path, tmp_path: Path, replay: dict[str, str]) -> None:
    wrong = [
        f"{block.page}:{step.line if step else block.line}: {fault}\n{difference(step, output) if step else output}"  # noqa: E501
        for block, step, fault, output in results(page, tmp_path, replay)
        if fault
    ]
    assert not wrong, "\n\n".join(wrong)


def blocks(*languages: str) -> list[Block]:
    return [block for page in ALL_PAGES for block in blocks_of(page) if block.language in languages]


def test_every_command_that_is_not_run_has_a_reason() -> None:
    found = {line for block in blocks("sh") for line in block.text.splitlines()}
    assert found == NOT_RUN.keys()


def test_no_command_of_the_package_is_shown_where_nothing_runs_it() -> None:
    shown = [
        (block.page, line)
        for page in ALL_PAGES
        for block in blocks_of(page)
        if block.language
        not in {"console", "setup", "console-s3"}  # tests/docs/test_archives.py runs the last
        for line in block.text.splitlines()
        if re.match(r"(\$ |uv run |pull-logs (?!SOURCES|COMMAND))", line)
        and line not in NOT_RUN | RUN_ELSEWHERE
    ]
    assert shown == []


def test_every_console_block_begins_with_a_command() -> None:
    assert [block.page for block in blocks("console") if not block.text.startswith("$ ")] == []
    assert len(blocks("console")) > 30


@pytest.mark.parametrize(
    ("shown", "real"),
    [
        ("a\nb", "a\nb\n"),
        ("a\n...\nd", "a\nb\nc\nd"),
        ("a\n...\nd", "a\nd"),
        ("...\nd", "a\nd"),
        ("a\n...", "a"),
        ("a ... c", "a b c"),
        ("", ""),
        ("http://127.0.0.1:8 in 0.6 s, 1.2 MB", "http://127.0.0.1:9 in 12 s, 3 MB"),
    ],
)
def test_an_output_may_leave_out_lines_and_words_and_what_varies(shown: str, real: str) -> None:
    assert agrees(shown, real)


@pytest.mark.parametrize(
    ("shown", "real"),
    [
        ("a\nb", "a\nc"),
        ("a ... c", "a b\nc"),
        ("a", "a\nb"),
        ("", "a"),
        ("1.2 MB", "1.2 kB"),
        ("16 runs", "15 runs"),
        ("a\n...\nd", "a\nb\nc"),
    ],
)
def test_an_output_is_otherwise_compared_exactly(shown: str, real: str) -> None:
    assert not agrees(shown, real)


def test_an_updated_page_keeps_what_it_leaves_out() -> None:
    assert redrawn("a\n...\nold 1", "a\nb\nc\nnew 1\nd") == "a\n...\nnew 1"
    assert redrawn("a", "b\nc") == "b\nc"
    assert redrawn("a ... z\n...", "a b z\nc") == "a ... z\n..."


def test_a_command_has_its_lines_and_its_output() -> None:
    text = "$ one \\\n  two\nx\n$ three\n$ four\ny\n\nz\n"
    block = Block(page="p.md", line=5, language="console", title="", text=text, start=0)
    assert [(step.line, step.command, step.output) for step in steps_of(block)] == [
        (6, "one \\\n  two", "x"),
        (9, "three", ""),
        (10, "four", "y\n\nz"),
    ]
