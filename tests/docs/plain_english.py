"""The words that this project does not use in what people read, and a search for them.

Run it as a script, `python tests/docs/plain_english.py PATH...`, to list every use as
`file:line: phrase: the line`. Folders are searched for `.py`, `.pyi`, `.md` and `.json` files. Of Python
files, only string literals, docstrings and comments are read; `--names` also lists identifiers
that hold such a word, and `--advice` lists words that are often, but not always, a sign of
unclear writing. CONTRIBUTING.md has the glossary with what to write instead.
"""

from __future__ import annotations

import io
import re
import sys
import token
import tokenize
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PER = "run|row|key|metric|group|line|file|page|column|checkpoint|shard|step|bundle|name|label|member|field|section"  # noqa: E501

PHRASES: dict[str, str] = {
    "told, tells": r"\b(?:un)?told\b|\btell(?:s|ing)?\b",
    "whole": r"\bwhole\b(?! numbers?\b| buffer\b)",
    "wholly": r"\bwholly\b",
    "place": r"(?<!\bin )(?<!\btakes )(?<!\btake )(?<!\btaken )(?<!\btook )(?<!\btaking )(?<!\bdecimal )\bplaces?\b"  # noqa: E501
    r"|\bin places\b|\bplaceless\b",
    "behind": r"\bbehind\b(?! a(?: reverse)? proxy)",
    "stands": r"\bstands?\b(?!-| for\b| in for\b)|\bstood\b|\bstanding\b",
    "lies, lay": r"\blies?\b|\blay\b(?! out\b)|\blain\b|\blying\b",
    "anew": r"\banew\b",
    "in vain": r"\bin vain\b",
    "heard of": r"\bheard of\b|\bhears? of\b",
    "a row a run": rf"\b(?:an?|one|two|three) (?!an?\b|\w+ing\b)[a-z]+ an? (?:{_PER})\b",
    "is no X": r"(?<!\bthere )\b(?:is|are|was|were|be) no (?!longer\b|more\b|less\b|fewer\b|one\b|such\b|\w+er than\b)",  # noqa: E501
    "could not be had, asked": r"\b(?:could|can|cannot|can't|couldn't|may|might|to|must|will)(?: not)? be had\b"  # noqa: E501
    r"|\b(?:could not|cannot|can't|couldn't|can) be asked\b",
    "at hand": r"\bat hand\b",
    "heed": r"\bheed(?:s|ed|ing)?\b",
    "let go of": r"\blet(?:s|ting)? go\b",
    "vouch": r"\bvouch(?:es|ed)?\b",
    "room": r"\brooms?\b",
    "door": r"\bdoors?\b",
    "floor": r"\bfloors?\b(?! of\b| division\b|\()",
    "house": r"\bhouses?\b|\bhouse rules?\b",
    "therein, thereof, wherein": r"\btherein\b|\bthereof\b|\bwherein\b|\bwhereof\b|\bthereupon\b",
    "for ever": r"\bfor ever\b",
    "nobody": r"\bnobody\b",
}
"""Each word or phrase of the glossary, with the pattern that finds it."""

ADVICE: dict[str, str] = {
    "say of": r"\bsa(?:ys?|id) of\b",
    "asked": r"\basked\b|\basks\b",
    "goes on": r"\bgo(?:es)? on\b|\bwent on\b",
    "of its own": r"\bof (?:its|their) own\b",
    "beside": r"\bbeside\b",
    "had": r"\bto be had\b|\bbe had\b",
    "such": r"\bno such\b",
}
"""Words that are ordinary English in some sentences and a habit in others."""

_NAMES = re.compile(
    r"(?:^|_)(?:un)?(?:told|tells?|whole|places?|behind|stands?|lies|anew|heed|floor|door|house|nobody)(?:_|$)"
)
_SUFFIXES = (".py", ".pyi", ".md", ".json")


@dataclass(frozen=True, slots=True)
class Finding:
    """One use of a phrase.

    Attributes:
        path: The file, or what else the text is called.
        line: Its line, from 1.
        phrase: Which entry of the list it matches.
        text: The line.
    """

    path: str
    line: int
    phrase: str
    text: str

    def __str__(self) -> str:
        """Return `file:line: phrase: text`."""
        return f"{self.path}:{self.line}: {self.phrase}: {self.text}"


def phrases_in(text: str, *, path: str = "", phrases: dict[str, str] | None = None) -> list[Finding]:
    """Find the phrases in a plain text."""
    lines = text.splitlines()
    return list(_search(list(enumerate(lines, 1)), path, lines, PHRASES if phrases is None else phrases))


def phrases_in_file(
    path: Path, *, phrases: dict[str, str] | None = None, names: bool = False
) -> list[Finding]:
    """Find the phrases in one file; of a Python file, its strings and comments are read."""
    source = path.read_text(encoding="utf-8")
    lines = source.splitlines()
    chosen = PHRASES if phrases is None else phrases
    if path.suffix not in {".py", ".pyi"}:
        readable = list(enumerate(lines, 1))
        if path.name == "CONTRIBUTING.md":
            readable = _without_glossary(readable)
        return list(_search(readable, str(path), lines, chosen))
    found = [item for chunk in prose_of(source) for item in _search(chunk, str(path), lines, chosen)]
    if names:
        found += _names(source, str(path), lines)
    return sorted(found, key=lambda item: item.line)


def _without_glossary(lines: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Leave out the rows of the glossary's table, which has to name the words."""
    kept, inside = [], False
    for number, line in lines:
        if line.startswith("#"):
            inside = "plain english" in line.lower() or "glossary" in line.lower()
        if not (inside and line.startswith("|")):
            kept.append((number, line))
    return kept


def _search(
    chunk: list[tuple[int, str]], path: str, lines: list[str], phrases: dict[str, str]
) -> Iterator[Finding]:
    """Find phrases in consecutive lines, also where a line break divides them."""
    starts, parts, length = [], [], 0
    for _, text in chunk:
        stripped = " ".join(text.split())
        starts.append(length)
        parts.append(stripped)
        length += len(stripped) + 1
    joined = " ".join(parts)
    for phrase, pattern in phrases.items():
        for match in re.finditer(pattern, joined, re.IGNORECASE):
            number = chunk[bisect_right(starts, match.start()) - 1][0]
            yield Finding(path, number, phrase, lines[number - 1].strip())


def prose_of(source: str) -> Iterator[list[tuple[int, str]]]:
    """The strings and comments of a Python source; adjacent ones are one text."""
    chunk: list[tuple[int, str]] = []
    kind: str | None = None
    last = 0
    depth = 0
    for item in tokenize.generate_tokens(io.StringIO(source).readline):
        name = token.tok_name[item.type]
        if name == "FSTRING_START":
            depth += 1
        if name == "FSTRING_END":
            depth -= 1
        text = _text_of(item, name)
        if text is None:
            if name not in {"NL", "FSTRING_START", "FSTRING_END"} and depth == 0 and name != "COMMENT":
                if chunk:
                    yield chunk
                chunk, kind = [], None
            continue
        now = "comment" if name == "COMMENT" else "string"
        if chunk and (kind != now or (now == "comment" and item.start[0] > last + 1)):
            yield chunk
            chunk = []
        kind, last = now, item.end[0]
        for offset, line in enumerate(text.split("\n")):
            _append(chunk, item.start[0] + offset, line)
    if chunk:
        yield chunk


def _append(chunk: list[tuple[int, str]], number: int, line: str) -> None:
    """Add a piece of text, as part of the same line where it is one."""
    if chunk and chunk[-1][0] == number:
        chunk[-1] = (number, chunk[-1][1] + " " + line)
    else:
        chunk.append((number, line))


def _text_of(item: tokenize.TokenInfo, name: str) -> str | None:
    """What a token says to a reader; None if it is code."""
    if name == "COMMENT":
        return item.string.lstrip("#")
    if name == "FSTRING_MIDDLE":
        return item.string
    if name != "STRING":
        return None
    prefix = re.match(r"[A-Za-z]*", item.string)
    text = item.string[prefix.end() if prefix else 0 :]
    quote = 3 if text[:3] in {'"""', "'''"} else 1
    text = text[quote:-quote]
    if prefix and "f" in prefix.group().lower():
        text = re.sub(
            r"\{\{|\}\}|\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}", lambda m: "\n" * m.group().count("\n") + "X", text
        )
    return text


def _names(source: str, path: str, lines: list[str]) -> list[Finding]:
    """Identifiers that hold a word of the list."""
    seen: dict[tuple[int, str], Finding] = {}
    for item in tokenize.generate_tokens(io.StringIO(source).readline):
        if item.type == token.NAME and _NAMES.search(item.string):
            number = item.start[0]
            seen[number, item.string] = Finding(
                path, number, f"name {item.string}", lines[number - 1].strip()
            )
    return list(seen.values())


def files_under(paths: Iterable[Path]) -> Iterator[Path]:
    """The files to read: those named, and those of a fitting kind in the folders named."""
    for path in paths:
        if path.is_dir():
            yield from sorted(
                file
                for file in path.rglob("*")
                if file.suffix in _SUFFIXES and "__pycache__" not in file.parts
            )
        else:
            yield path


def main(arguments: list[str]) -> int:
    """List the phrases in the files and folders named; 1 if there are any."""
    phrases = PHRASES | ADVICE if "--advice" in arguments else PHRASES
    paths = [Path(item) for item in arguments if not item.startswith("--")]
    count = 0
    for file in files_under(paths):
        for finding in phrases_in_file(file, phrases=phrases, names="--names" in arguments):
            sys.stdout.write(f"{finding}\n")
            count += 1
    sys.stderr.write(f"{count} found\n")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
