"""Reads the code blocks of the documentation and runs them; CONTRIBUTING.md describes the notation.

python tests/docs/page_examples.py [PAGE...]            # run, and show what differs
python tests/docs/page_examples.py --update [PAGE...]   # write the real output into the pages
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

sys.path.append(str(Path(__file__).resolve().parent.parent))  # `checkout`, also where this file is run

import question_page

from pull_logs.replay import serve_bundle
from pull_logs.snapshot import BundleRun, ConsoleLine, Run, open_bundle, write_bundle
from pull_logs.snapshot.format import console_in_memory
from pull_logs.snapshot.format.file_record import FileRecord, record_of

ROOT = Path(__file__).resolve().parent.parent.parent
RECORDED = ROOT / "fixtures" / "digits.wandb.zip"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
CHECKED_ELSEWHERE = {
    "docs/bundle-format.md": (
        "python",
        "sql",
    ),  # tests/snapshot/read/test_reading_without_us.py compares answers
    "docs/operations.md": ("sql",),  # tests/snapshot/operations/test_export.py compares the answer
}
"""Pages whose blocks of these languages another test runs, with more than this one checks."""

_FENCE = re.compile(
    r"^(?P<fence>```+)(?P<language>[\w-]*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
_SETUP = re.compile(r"^<!-- setup\n(?P<text>.*?)^-->$", re.MULTILINE | re.DOTALL)
_VOLATILE = (
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"\b\d+(?:\.\d+)? ms\b", "N ms"),
    (r"\b\d+(?:\.\d+)? ?s\b", "N s"),
    (r"(?m)^(\w+_seconds) [\d.]+$", r"\1 N"),
    (r"\b\d+(?:\.\d+)? ([kM]B)\b", r"N \1"),
    (r"\b(bundle[_ ]id:? +sha256:)[0-9a-f]{64}", r"\1HEX"),
    (r"(?m)[ \t]+$", ""),
)
"""What differs from run to run, or from one version of pyarrow to the next."""

EXAMPLE_PORT = "8321"
"""The port that pages write where a program should listen; each page gets a free one instead."""


@dataclass(frozen=True, slots=True)
class Block:
    """A code block of a page.

    Attributes:
        page: The page, relative to the repository.
        line: The line of its fence.
        language: Its language; `setup` for hidden commands in a comment.
        title: The file that it is, or an empty string.
        text: Its content.
        start: The offset of the content in the page.
    """

    page: str
    line: int
    language: str
    title: str
    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Step:
    """A command of a `console` block and the output that the page shows for it.

    Attributes:
        line: The line of the command.
        command: What to run in a shell.
        output: The lines that should follow.
    """

    line: int
    command: str
    output: str


def blocks_of(path: Path) -> list[Block]:
    """Every code block and hidden set-up of a page, in order."""
    text = path.read_text(encoding="utf-8")
    page = path.relative_to(ROOT).as_posix()
    found = [
        Block(
            page=page,
            line=text.count("\n", 0, match.start()) + 1,
            language=match["language"] if "language" in match.groupdict() else "setup",
            title=(match["title"] or "") if "title" in match.groupdict() else "",
            text=match["text"],
            start=match.start("text"),
        )
        for pattern in (_FENCE, _SETUP)
        for match in pattern.finditer(text)
    ]
    return sorted(found, key=lambda block: block.line)


def steps_of(block: Block) -> list[Step]:
    """The commands of a `console` block, each with its output."""
    steps: list[Step] = []
    command: list[str] = []
    output: list[str] = []
    first = 0
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        if line.startswith("$ "):
            if command:
                steps.append(Step(first, "\n".join(command), "\n".join(output)))
            command, output, first = [line[2:]], [], number
        elif command and not output and command[-1].endswith("\\"):
            command.append(line)
        else:
            output.append(line)
    if command:
        steps.append(Step(first, "\n".join(command), "\n".join(output)))
    return steps


def normal(text: str) -> str:
    """A text without what differs from run to run."""
    for pattern, put in _VOLATILE:
        text = re.sub(pattern, put, text)
    return text.strip("\n")


def agrees(shown: str, real: str) -> bool:
    """Whether a page shows an output: `...` stands for any text, alone on a line for any lines."""
    parts = []
    for line in normal(shown).split("\n"):
        if line == "...":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(".*?".join(map(re.escape, line.split("..."))) + r"\n")
    return re.fullmatch("".join(parts), normal(real) + "\n") is not None


def redrawn(shown: str, real: str) -> str:
    """The output as the page should show it: the real lines, cut where the page cuts it."""
    wanted, lines = shown.strip("\n").split("\n"), real.strip("\n").split("\n")
    if "..." not in wanted:
        return "\n".join(lines)
    result: list[str] = []
    at = 0
    for number, line in enumerate(wanted):
        if line == "...":
            result.append(line)
            continue
        rest = lines[at:]
        if not rest:
            break
        if number and wanted[number - 1] == "...":
            scores = [difflib.SequenceMatcher(None, line, item).ratio() for item in rest]
            at += scores.index(max(scores))
        result.append(line if agrees(line, lines[at]) else lines[at])
        at += 1
    return "\n".join(result)


class Shell:
    """One bash for all commands of a page, so that variables and jobs last from one to the next."""

    _MARK = "-- end of command 4f1c --"

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._code = 0
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = str(free.getsockname()[1])

    def run(self, command: str) -> tuple[int, str]:
        """Run one command; its exit code and what it wrote."""
        pipe = self._process
        assert pipe.stdin is not None
        assert pipe.stdout is not None
        command = command.replace(EXAMPLE_PORT, self._port)
        pipe.stdin.write(
            f"(exit {self._code}); eval {shlex.quote(command)} < /dev/null; printf '\\n{self._MARK} %d\\n' $?\n"  # noqa: E501
        )
        pipe.stdin.flush()
        lines: list[str] = []
        for line in pipe.stdout:
            if line.startswith(self._MARK):
                self._code = int(line.rsplit(" ", 1)[1])
                break
            lines.append(line)
        else:
            raise AssertionError(f"the shell ended in {command!r}:\n{''.join(lines)}")
        return self._code, "".join(lines).removesuffix("\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        finally:
            if self._process.poll() is None:
                self._process.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()


_INTERPRETER = r"""
import doctest, io, json, sys, traceback
from contextlib import redirect_stderr, redirect_stdout

names = {"__name__": "__page__"}
for line in sys.stdin:
    kind, text, source = json.loads(line)
    out = io.StringIO()
    failed = False
    with redirect_stdout(out), redirect_stderr(out):
        try:
            if kind == "pycon":
                test = doctest.DocTestParser().get_doctest(text, names, source, source, 0)
                runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
                failed = bool(runner.run(test, clear_globs=False).failed)
                names.update(test.globs)
            elif kind == "sql":
                import duckdb
                duckdb.sql(text).fetchall()
            else:
                exec(compile(text, source, "exec"), names)
        except BaseException:
            failed = True
            traceback.print_exc()
    sys.__stdout__.write(json.dumps([failed, out.getvalue()]) + "\n")
    sys.__stdout__.flush()
"""


class Interpreter:
    """One Python for all `python`, `pycon` and `sql` blocks of a page."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder, self._environment = folder, environment
        self._process: subprocess.Popen[str] | None = None

    def run(self, block: Block) -> tuple[bool, str]:
        """Run a block; whether it failed, and what it wrote."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _INTERPRETER],
                cwd=self._folder,
                env=dict(self._environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        pipe = self._process
        assert pipe.stdin is not None
        assert pipe.stdout is not None
        pipe.stdin.write(json.dumps([block.language, block.text, f"{block.page}:{block.line}"]) + "\n")
        pipe.stdin.flush()
        failed, output = json.loads(pipe.stdout.readline())
        return bool(failed), str(output)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.wait(timeout=10)
            self._process.stdout.close()


def environment(folder: Path, replay: Mapping[str, str]) -> dict[str, str]:
    """The variables that commands of the pages see: a home of their own, and the recorded runs as W&B."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "PULL_LOGS_"))
    }
    kept.pop("PYTEST_ADDOPTS", None)
    scripts = str(Path(sys.executable).parent)
    home = folder / ".home"
    return {
        **kept,
        **replay,
        "PATH": os.pathsep.join([scripts, kept.get("PATH", os.defpath)]),
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "COLUMNS": "80",
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
        "NO_COLOR": "1",
    }


def prepare(folder: Path) -> None:
    """Put into a page's folder what every page may use."""
    (folder / "sweep.wandb.zip").write_bytes(RECORDED.read_bytes())
    (folder / "checkpoints").symlink_to(ROOT / "fixtures" / "digits" / "checkpoints")
    (folder / "wandb").symlink_to(ROOT / "fixtures" / "digits" / "wandb")
    (folder / "fixtures").symlink_to(ROOT / "fixtures")
    (folder / ".home").mkdir()


def results(
    path: Path, folder: Path, replay: Mapping[str, str]
) -> Iterator[tuple[Block, Step | None, str, str]]:
    """Run a page in a folder; its blocks and steps, each with its fault (or nothing) and the output."""
    prepare(folder)
    variables = environment(folder, replay)
    skipped = CHECKED_ELSEWHERE.get(path.relative_to(ROOT).as_posix(), ())
    with Shell(folder, variables) as shell, Interpreter(folder, variables) as interpreter:
        for block in blocks_of(path):
            if block.title:
                target = folder / block.title
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(block.text)
            elif block.language == "setup":
                for command in block.text.splitlines():
                    code, output = shell.run(command)
                    yield block, None, f"set-up ended with {code}: {command}" if code else "", output
            elif block.language == "console":
                yield from _run_console(block, shell)
            elif block.language in {"python", "pycon", "sql"} and block.language not in skipped:
                failed, output = interpreter.run(block)
                yield block, None, "it failed" if failed else "", output


def _run_console(block: Block, shell: Shell) -> Iterator[tuple[Block, Step | None, str, str]]:
    steps = steps_of(block)
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        code, output = shell.run(step.command)
        fault = ""
        if code and not (following and following.command == "echo $?"):
            fault = f"it ended with {code}; show that with `$ echo $?`"
        elif not agrees(step.output, output):
            fault = "the output differs"
        yield block, step, fault, output


@dataclass(frozen=True, slots=True)
class LoggedFile:
    """A file that a run logged.

    Attributes:
        record: Its name, size and hashes.
        data: Its bytes.
    """

    record: FileRecord
    data: bytes

    def chunks(self) -> Iterator[bytes]:
        """Its bytes."""
        yield self.data


def printed_by(run: Run) -> Iterator[ConsoleLine]:
    """What the pages say that a run printed: a line an epoch, and a warning at the start."""
    epochs = islice(run.scan_history(keys=("_timestamp", "train/loss")), 0, None, 22)
    for number, row in enumerate(epochs):
        time = datetime.fromtimestamp(row["_timestamp"], UTC).replace(tzinfo=None)
        if not number:
            text, level = "UserWarning: no GPU found, training on the CPU", "error"
            yield ConsoleLine(number=0, text=text, level=level, timestamp=f"{time:%Y-%m-%dT%H:%M:%S.%f}")
        text = f"epoch {number + 1} train/loss {row.get('train/loss', math.nan):.4f}"
        yield ConsoleLine(number=number + 1, text=text, timestamp=f"{time:%Y-%m-%dT%H:%M:%S.%f}")


def write_runs_with_files(path: Path) -> None:
    """Write the recorded runs with the files that the pages speak of."""
    with open_bundle(RECORDED) as bundle:
        runs = []
        for run in bundle.runs():
            log = "".join(f"epoch {epoch} done\n" for epoch in range(1, 13)).encode()
            config = "".join(
                f"{key}:\n  value: {json.dumps(value)}\n" for key, value in run.config.items()
            ).encode()
            files = [("output.log", log, "text/plain"), ("config.yaml", config, "application/yaml")]
            runs.append(
                BundleRun(
                    info=run.info,
                    coverage=run.coverage,
                    batches=run.batches,
                    system=run.system_table(),
                    files=[
                        LoggedFile(record_of(name, [data], mediatype=kind), data)
                        for name, data, kind in files
                    ],
                    console=console_in_memory(printed_by(run)),
                )
            )
        write_bundle(path, runs, force=True)


@contextmanager
def served() -> Iterator[dict[str, str]]:
    """The variables with which the recorded runs are W&B."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recorded.wandb.zip"
        write_runs_with_files(path)
        with serve_bundle(path) as server:
            yield dict(server.environment())


def difference(step: Step, output: str) -> str:
    """What a reader of a failure needs."""
    lines = difflib.unified_diff(
        normal(step.output).split("\n"), normal(output).split("\n"), "the page", "the command", lineterm=""
    )
    return "\n".join([f"$ {step.command}", *lines])


def update(path: Path, found: list[tuple[Block, Step | None, str, str]]) -> bool:
    """Write real outputs into a page; whether it changed."""
    text = path.read_text(encoding="utf-8")
    lines = text.split("\n")
    for _, step, fault, output in reversed(found):
        if step is None or fault != "the output differs":
            continue
        start = step.line - 1 + step.command.count("\n") + 1
        length = len(step.output.split("\n")) if step.output else 0
        lines[start : start + length] = redrawn(step.output, output).split("\n") if output.strip() else []
    changed = "\n".join(lines)
    path.write_text(changed, encoding="utf-8")
    return changed != text


def main(arguments: list[str]) -> int:
    """Run pages; 1 if any shows something else than happens."""
    pages = [Path(item).resolve() for item in arguments if not item.startswith("--")] or list(PAGES)
    wrong = 0
    with served() as replay:
        for page in pages:
            with tempfile.TemporaryDirectory() as folder:
                found = list(results(page, Path(folder), replay))
            for block, step, fault, output in found:
                if fault:
                    wrong += 1
                    line = step.line if step else block.line
                    detail = difference(step, output) if step else output
                    sys.stdout.write(f"{block.page}:{line}: {fault}\n{detail}\n\n")
            counted = "--update" in arguments and page == question_page.PAGE and question_page.update(page)
            if "--update" in arguments and (update(page, found) or counted):
                sys.stdout.write(f"{page.relative_to(ROOT)}: written\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
