"""The table of `docs/questions.md`: its questions, their commands, and how many tokens each answer takes.

`python tests/docs/page_examples.py --update docs/questions.md` writes the counts into the page.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import quicktok
from checkout import ROOT

PAGE = ROOT / "docs" / "questions.md"
_ROW = re.compile(
    r"^\| (?P<question>.+?) \| `(?P<command>pull-logs .+?)` \| `(?P<piece>.+?)` \| (?P<tokens>[\d,]+) \|$",
    re.MULTILINE,
)
_TOTAL = re.compile(r"^\*\*.*tokens.*\*\*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Question:
    """A row of the page.

    Attributes:
        text: The question.
        command: The command that answers it.
        piece: A piece of the answer.
        tokens: How many tokens the page says that the answer takes.
    """

    text: str
    command: str
    piece: str
    tokens: int

    @property
    def words(self) -> list[str]:
        """The arguments of the command."""
        return shlex.split(self.command.replace("\\|", "|"))[1:]


def questions_of(text: str) -> list[Question]:
    """Return the rows of a page."""
    return [
        Question(row["question"], row["command"], row["piece"], int(row["tokens"].replace(",", "")))
        for row in _ROW.finditer(text)
    ]


def answer_to(question: Question) -> str:
    """Run the command of a question from the root of the repository, as a user does.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pull_logs", *question.words],
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def tokens_of(text: str) -> int:
    """Count tokens as `o200k` does."""
    count: int = quicktok.get_encoding("o200k_base").count(text)
    return count


def total_line(counts: Sequence[int]) -> str:
    """Return the line of the page that sums up."""
    return (
        f"**{len(counts)} questions, one command each: {sum(counts):,} tokens in all, "
        f"{median(counts):,.0f} for the median answer, {max(counts):,} for the longest.**"
    )


def counted(text: str) -> str:
    """Return a page with the counts of what its commands print now."""
    counts = [tokens_of(answer_to(question)) for question in questions_of(text)]
    fresh = iter(counts)
    text = _ROW.sub(lambda row: f"{row[0][: row.start('tokens') - row.start()]}{next(fresh):,} |", text)
    return _TOTAL.sub(lambda _: total_line(counts), text, count=1)


def update(page: Path) -> bool:
    """Write the counts into a page; whether it changed."""
    text = page.read_text(encoding="utf-8")
    changed = counted(text)
    page.write_text(changed, encoding="utf-8")
    return changed != text
