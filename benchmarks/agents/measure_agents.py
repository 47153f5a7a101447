"""Measure what answers cost an agent: `pull-logs` commands, JSON of tools, and scripts over `wandb.Api()`.

    python benchmarks/agents/measure_agents.py            # a table, as Markdown
    python benchmarks/agents/measure_agents.py --wrong    # and what each wrong answer was

For each question of `agent_questions.py`: (a) the command, from the shell, and what it prints; (b) JSON
documents as a server of tools gives them (`json_documents.py`), from which the answer is assumed to be
computed without an error; (c) the script, which an agent has to write, over `wandb.Api()` reading a replay of
the bundle, and what it prints. What is sent and received counts, in the tokenizer that needs more of two.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import quicktok
from agent_questions import BUNDLE, QUESTIONS, Question
from json_documents import DocumentApi, NotOfferedError, Read

from pull_logs.replay import serve_bundle
from pull_logs.snapshot import Bundle, open_bundle

ROOT = Path(__file__).resolve().parents[2]
_TOKENIZERS = [quicktok.get_encoding(name) for name in ("o200k_base", "qwen3")]
_DURATION = re.compile(r"(?=\d)(?:(\d+)h)?(?:(\d+)m)?(?:([\d.]+)s)?")
_WORD = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.])|[A-Za-z_][\w.-]*|[\d.]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """What one way to an answer cost.

    Attributes:
        right: Whether the answer is the planted one.
        tokens: The tokens of what was sent and received.
        calls: How many commands or calls.
        text: The answer, or why there is none.
    """

    right: bool
    tokens: int
    calls: int
    text: str


def tokens_of(text: str) -> int:
    """Count the tokens of a text."""
    return max(len(tokenizer.encode(text)) for tokenizer in _TOKENIZERS)


def same(found: Sequence[str], truth: Sequence[object], within: float) -> bool:
    """Return whether an answer has the words and numbers of the truth, and no others, in any order."""
    left = list(found)
    for item in truth:
        match = next((word for word in left if _equal(word, item, within)), None)
        if match is None:
            return False
        left.remove(match)
    return not left


def _equal(word: str, item: object, within: float) -> bool:
    if isinstance(item, str):
        return word == item
    with contextlib.suppress(ValueError):
        return abs(abs(_number(word)) - abs(float(str(item)))) <= within * abs(float(str(item)))
    return False


def _number(word: str) -> float:
    """Return a number or a duration such as `19m10s`, in seconds.

    Raises:
        ValueError: The word is neither.
    """
    if match := _DURATION.fullmatch(word):
        return sum(float(part or 0) * unit for part, unit in zip(match.groups(), (3600, 60, 1), strict=True))
    return float(word)


def by_command(question: Question) -> Answer:
    """Run the command of a question, as in a shell."""
    first, *rest = shlex.split(question.command)
    words = [first, *rest] if first in {"overview", "compare"} else ["", first, *rest]
    words = [word for word in (words[0], "-b", str(BUNDLE.relative_to(ROOT)), *words[1:]) if word]
    done = subprocess.run(
        [sys.executable, "-m", "pull_logs", *words, "--no-hints"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    match = re.search(question.found, done.stdout)
    found = [part for part in match.groups() if part] if match else []
    if "last" in (match.groupdict() if match else {}):
        found = [str(int(found[0]) + 1)]  # names that count from 0
    cost = tokens_of(f"pull-logs {shlex.join(words)}\n{done.stdout}")
    return Answer(
        same(found, question.truth(), question.within), cost, 1, " ".join(found) or done.stdout + done.stderr
    )


def by_documents(question: Question, bundle: Bundle) -> Answer:
    """Compute the answer from the documents that a server of tools gives."""
    read, out = Read(), io.StringIO()
    fake = types.ModuleType("wandb")
    fake.Api = lambda: DocumentApi(bundle, read)  # type: ignore[attr-defined]
    real = sys.modules.get("wandb")
    sys.modules["wandb"] = fake
    try:
        with contextlib.redirect_stdout(out):
            exec(question.script, {})
    except NotOfferedError as exc:
        return Answer(right=False, tokens=tokens_of(read.text), calls=read.calls, text=f"no tool gives {exc}")
    finally:
        sys.modules.pop("wandb")
        if real is not None:
            sys.modules["wandb"] = real
    found = _WORD.findall(out.getvalue())
    return Answer(
        same(found, question.truth(), question.within),
        tokens_of(read.text),
        read.calls,
        out.getvalue().strip(),
    )


def by_script(question: Question, environment: dict[str, str]) -> Answer:
    """Run the script over `wandb.Api()`."""
    done = subprocess.run(
        [sys.executable, "-c", question.script], env=environment, capture_output=True, text=True, check=False
    )
    found = _WORD.findall(done.stdout)
    return Answer(
        same(found, question.truth(), question.within),
        tokens_of(question.script + done.stdout + done.stderr[-400:]),
        1,
        done.stdout.strip() or done.stderr[-400:],
    )


def measured() -> list[tuple[Question, tuple[Answer, Answer, Answer]]]:
    """Answer every question in all three ways."""
    with serve_bundle(BUNDLE) as server, open_bundle(BUNDLE) as bundle:
        environment = {**os.environ, **server.environment()}
        return [
            (
                question,
                (by_command(question), by_documents(question, bundle), by_script(question, environment)),
            )
            for question in QUESTIONS
        ]


def table(rows: Sequence[tuple[Question, tuple[Answer, Answer, Answer]]]) -> str:
    """Return the table of `docs/agents.md`."""
    lines = [
        "| question | command | JSON of tools | script |",
        "|---|---|---|---|",
        *(
            f"| {question.text} | {' | '.join(_cell(answer) for answer in answers)} |"
            for question, answers in rows
        ),
    ]
    ways = list(zip(*(answers for _, answers in rows), strict=True))
    sums = [
        f"**{sum(answer.right for answer in way)} of {len(way)} right, "
        f"{sum(answer.tokens for answer in way):,} tokens, "
        f"median {median(answer.tokens for answer in way):,.0f}, "
        f"{sum(answer.calls for answer in way)} calls**"
        for way in ways
    ]
    return "\n".join([*lines, f"| **all** | {' | '.join(sums)} |"])


def _cell(answer: Answer) -> str:
    return f"{answer.tokens:,}" if answer.right else f"{answer.tokens:,}, not right"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wrong", action="store_true", help="print what each wrong answer was")
    arguments = parser.parse_args()
    results = measured()
    print(table(results))
    if arguments.wrong:
        for question, answers in results:
            for way, answer in zip(("command", "documents", "script"), answers, strict=True):
                if not answer.right:
                    print(
                        f"\n{question.text} [{way}] expected {list(question.truth())}\n{answer.text[:1500]}"
                    )
