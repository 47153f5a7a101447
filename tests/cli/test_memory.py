"""The memory of a command is bounded by what it must show, whatever a bundle holds.

A bundle of a few kilobytes can hold texts of gigabytes: packed a thousandfold, or one text in many rows. Each
command that reads a bundle runs in a process of its own, and its peak is compared with the bound of
docs/bundle-format.md, "Limits".
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha512
from pathlib import Path
from typing import Any

import pytest
from bundlekit import bundle_run, make_bundle
from checkout import ROOT
from consolekit import console_of, printed

from pull_logs.cli.main import cli
from pull_logs.rows.limits import MAX_TEXT, TEXT_AT_ONCE
from pull_logs.snapshot.format import parquet_write, run_record

BASE = 160_000_000
"""Bytes of Python, its libraries and a small bundle."""

PER_TEXT, PER_SHOWN = 14, 6
WORKERS = min(4, os.cpu_count() or 1)
"""How many runs are verified or written at once."""

MB = 1_000_000
SECONDS = 500

MEASURED = r"""
import re, sys
from pathlib import Path
from pull_logs.cli.main import main
code = main(sys.argv[2:])
sys.stdout.flush()
peak = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]
Path(sys.argv[1]).write_text(peak)
sys.exit(code)
"""

FIRST_ANSWER = r"""
import base64, json, os, urllib.request
key = base64.b64encode(f"api:{os.environ['WANDB_API_KEY']}".encode()).decode()
run = 'run(name: "one") { id name config summaryMetrics }'
query = f'query {{ project(name: "nano", entityName: "acme") {{ {run} }} }}'
request = urllib.request.Request(
    os.environ["WANDB_BASE_URL"] + "/graphql",
    json.dumps({"query": query}).encode(),
    {"Content-Type": "application/json", "Authorization": f"Basic {key}"},
)
answer = json.load(urllib.request.urlopen(request))
assert answer["data"]["project"]["run"]["name"] == "one", answer
"""

BARE = "(bare)"
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "verify": ("verify", "{b}"),
    "verify --quick": ("verify", "--quick", "{b}"),
    "audit": ("audit", "{b}"),
    "audit --redact": ("audit", "{b}", "--redact", "-o", "{o}/redacted.wandb.zip"),
    "info": ("info", "{b}"),
    "logs": ("logs", "-b", "{b}", "-r", "acme/nano/one"),
    BARE: ("-b", "{b}"),
    f"{BARE} --json": ("-b", "{b}", "--json"),
    f"{BARE} --stats": ("-b", "{b}", "--stats"),
    f"{BARE} --schema": ("-b", "{b}", "--schema"),
    f"{BARE} --where": ("-b", "{b}", "--where", 'note == "zz"', "--last", "3"),
    "compare": ("compare", "-b", "{b}"),
    "overview": ("overview", "-b", "{b}"),
    "plot": ("plot", "{b}", "--select", "loss"),
    "report": ("report", "{b}", "-o", "{o}/report.html"),
    "diff": ("diff", "{b}", "{other}"),
    "export parquet": ("export", "{b}", "-o", "{o}/parquet"),
    "export csv": ("export", "{b}", "-o", "{o}/csv", "--format", "csv"),
    "export ndjson": ("export", "{b}", "-o", "{o}/ndjson", "--format", "ndjson"),
    "sql": ("sql", "-b", "{b}", 'SELECT count(*), max(length(note)), max(length("note.deep")) FROM history'),
    "subset": ("subset", "{b}", "-o", "{o}/subset.wandb.zip"),
    "subset --metrics": ("subset", "{b}", "--metrics", ".", "-o", "{o}/metrics.wandb.zip"),
    "merge": ("merge", "{b}", "{more}", "-o", "{o}/merged.wandb.zip"),
    "exec": ("exec", "-b", "{b}", "--", sys.executable, "-c", FIRST_ANSWER),
}
VIEWS = frozenset(
    {name for name in COMMANDS if name.startswith(BARE)} | {"compare", "overview", "plot", "report", "sql"}
)
"""The commands that look at all rows of a run, and at the configs of all runs, at once."""

ALIKE = frozenset({"verify --quick", "audit", f"{BARE} --json", "export ndjson", "export parquet", "subset"})
"""Variants of a command of which another one is measured by default."""

READ_NO_BUNDLE = frozenset({"cache", "completion", "demo", "fetch", "import", "set", "skill"})
AS_ANOTHER = {
    "archive": "merge",
    "mcp": "compare",
    "media": "export parquet",
    "reconcile": "diff",
    "refresh": "merge",
    "serve": "exec",
    "sync": "merge",
}
"""Commands that need a client, a server, media or local run folders, and read as another command does."""


@dataclass(frozen=True)
class Case:
    """A bundle, and in bytes the longest text, the distinct text of the largest run, and all documents."""

    path: Path
    longest: int = 0
    distinct: int = 0
    documents: int = 0


def generated(size: int, seed: str) -> str:
    """Return text that looks random, and packs to half of its size."""
    parts: list[str] = []
    digest = seed.encode()
    for _ in range(size // 128 + 1):
        digest = sha512(digest).digest()
        parts.append(digest.hex())
    return "".join(parts)[:size]


def rows(notes: Iterable[Any]) -> list[dict[str, Any]]:
    return [{"_step": step, "loss": 1.0 / (1 + step), "note": note} for step, note in enumerate(notes)]


def long_texts(folder: Path, *, size: int, count: int, honest: int, keys: int) -> Case:
    """One text in many rows, many texts, many nested values, a long console log, and configs.

    One config has many keys, and one a long text.
    """
    texts = [generated(100_000, str(number)) for number in range(honest // 100_000)]
    document = generated(size // 2, "document")
    many_keys = {f"key{number:06d}": number for number in range(keys)}
    same = "word " * (MB // 5)
    lines = printed(honest // 1000, text="{} " + "y" * 990)
    sweep = [bundle_run(f"acme/sweep/{n}", config={"n": n, "prompt": same}) for n in range(40)]
    runs = [
        *sweep,
        replace(
            bundle_run("acme/nano/one", rows(["x" * size] * count), config={"lr": 0.1}),
            console=console_of(lines),
        ),
        bundle_run("acme/nano/two", rows(texts), config=many_keys),
        bundle_run("acme/nano/three", rows({"deep": text} for text in texts), config={"prompt": document}),
    ]
    return Case(
        make_bundle(folder / "long.wandb.zip", runs),
        longest=size,
        distinct=max(honest, size),
        documents=sum(len(str(run.info.config)) for run in runs),
    )


def peak(case: Case, command: str, folder: Path) -> tuple[int, str, int]:
    """Run a command on a bundle; return its exit code, its stderr, and the peak of its memory in bytes."""
    places = {"b": case.path, "o": folder, "other": case.path.parent / "other.wandb.zip"}
    places["more"] = places["other"]
    arguments = [word if word == FIRST_ANSWER else word.format(**places) for word in COMMANDS[command]]
    found = folder / "peak"
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(found), *arguments],
        capture_output=True,
        check=False,
        timeout=SECONDS,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
    )
    return done.returncode, done.stderr.decode(), int(found.read_text()) * 1024


def bound(case: Case, command: str) -> int:
    text = max(case.longest, TEXT_AT_ONCE)
    if command in VIEWS:
        return BASE + PER_TEXT * text + PER_SHOWN * (case.distinct + case.documents)
    return BASE + PER_TEXT * text * WORKERS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    make_bundle(folder / "other.wandb.zip", [bundle_run("acme/nano/other", rows(["a", "b"]))])
    return folder


@pytest.fixture(scope="module")
def long(folder: Path) -> Case:
    return long_texts(folder, size=4 * MB, count=100, honest=24 * MB, keys=50_000)


@pytest.fixture(scope="module")
def longer(folder: Path) -> Case:
    return long_texts(folder, size=20 * MB, count=20, honest=120 * MB, keys=200_000)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
@pytest.mark.parametrize(
    "command", [pytest.param(name, marks=[pytest.mark.slow] * (name in ALIKE)) for name in COMMANDS]
)
def test_no_command_needs_more_than_its_bound(long: Case, command: str, tmp_path: Path) -> None:
    code, stderr, used = peak(long, command, tmp_path)
    assert code == 0, stderr
    assert used <= bound(long, command)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_needs_more_for_longer_texts(longer: Case, command: str, tmp_path: Path) -> None:
    code, stderr, used = peak(longer, command, tmp_path)
    assert code == 0, stderr
    assert used <= bound(longer, command)


def test_every_command_that_reads_a_bundle_is_measured() -> None:
    measured = {arguments[0] for arguments in COMMANDS.values()}
    assert set(cli.commands) <= measured | READ_NO_BUNDLE | set(AS_ANOTHER)
    by_default = {arguments[0] for name, arguments in COMMANDS.items() if name not in ALIKE}
    assert by_default == measured


@pytest.fixture(scope="module")
def refused(folder: Path) -> Mapping[str, Case]:
    """Bundles that this library does not write: their texts are longer than it writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_record, "check_document", lambda _text: None)
        patch.setattr(parquet_write, "MAX_TEXT", 1 << 40)
        made = {
            "text": [bundle_run("acme/nano/one", rows(["x" * 100 * MB]))],
            "document": [bundle_run("acme/nano/one", config={"prompt": "word " * (20 * MB)})],
            "keys": [bundle_run("acme/nano/one", config={str(key): key for key in range(400_000)})],
        }
        for name, runs in made.items():
            make_bundle(folder / f"{name}.wandb.zip", runs)
    return {name: Case(folder / f"{name}.wandb.zip") for name in made}


REFUSALS = {
    "text": "the Parquet data would take 100000004 bytes of memory, more than the 167772160 allowed",
    "document": " that cannot be read: it has 100000013 bytes of JSON, and 16777216 are the most",
    "keys": " that cannot be read: it has 400000 values, and 262144 are the most",
}


READERS = ("verify", "audit", BARE, "compare", "overview", "export csv", "merge")
BY_DEFAULT = {
    "text": ("verify", "export csv"),
    "document": ("audit", "merge"),
    "keys": (BARE, "compare", "overview"),
}
"""Each command with one kind of text; every command with every kind is slow."""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
@pytest.mark.parametrize(
    ("kind", "command"),
    [
        pytest.param(kind, command, marks=[pytest.mark.slow] * (command not in by_default))
        for kind, by_default in BY_DEFAULT.items()
        for command in READERS
    ],
)
def test_what_exceeds_the_limits_is_refused_within_the_bound(
    refused: Mapping[str, Case], kind: str, command: str, tmp_path: Path
) -> None:
    code, stderr, used = peak(refused[kind], command, tmp_path)
    assert used <= BASE + PER_TEXT * MAX_TEXT
    if kind == "text":
        assert code in (0, 6), stderr
    else:
        assert code == 6, stderr
        assert REFUSALS[kind] in stderr
