"""Expressions as tokens: how names, numbers and strings are spelled, and how they are read.

A pull tokenizer with one token of lookahead, in the manner of `packaging._tokenizer`: the parser checks,
takes, expects and reads tokens, and a mistake in the text becomes an `ExpressionError` that points at it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

from pull_logs.errors import ExpressionError

Span: TypeAlias = tuple[int, int]

MAX_LENGTH: Final = 10_000
"""The most characters of an expression."""

MAX_DEPTH: Final = 100
"""The most levels of parentheses, calls, `not`, `-` and `**` inside one another."""

KEYWORDS: Final = frozenset({"and", "or", "not", "in", "is", "missing", "true", "false", "null"})

_SPACE = re.compile(r"\s*")
_NAME = re.compile(r"[^\W\d](?:[\w.:/]*[\w.:])?")
_RULES: Final = {
    "number": re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"),
    "name": _NAME,
    "quoted name": re.compile(r"`(?:[^`]|``)*`"),
    "string": re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", re.DOTALL),
    "foreign": re.compile(r"&&|\|\||<>|=~|=(?!=)|!(?!=)|\^"),
    "operator": re.compile(r"\*\*|//|==|!=|<=|>=|[-+*/%<>()\[\],&|~]"),
}
_GLUED = re.compile(r"[\w.:]+")
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_ESCAPED = {**{char: char for char in "\"'\\/"}, "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_FOREIGN = {
    "&&": "write 'and'",
    "||": "write 'or'",
    "<>": "write '!='",
    "=~": "write 'matches'",
    "=": "write '==' to compare",
    "!": "write 'not'",
    "^": "write '**' for a power",
}
_OTHER_WORDS = {
    "contain": "write 'contains'",
    "has": "write 'contains'",
    "includes": "write 'contains'",
    "startswith": "write 'starts_with'",
    "endswith": "write 'matches \"...$\"'",
    "ends_with": "write 'matches \"...$\"'",
    "like": "write 'contains' or 'matches'",
    "match": "write 'matches'",
    "regex": "write 'matches'",
}
"""The words of other languages, and what to write in this one."""

_UNENDED = {'"': "string", "'": "string", "`": "name"}
_LONGEST_SHOWN = 80


def is_bare_name(text: str) -> bool:
    """Whether a name can be written without backticks."""
    return bool(_NAME.fullmatch(text)) and (text[0].isalpha() or text[0] == "_") and text not in KEYWORDS


def is_number(text: str) -> bool:
    """Whether a part of a text is a number that a float64 can hold."""
    return bool(_RULES["number"].fullmatch(text)) and not _range_fault(text)


def _range_fault(number: str) -> str:
    value = float(number)
    if math.isinf(value):
        return "large"
    return "small" if value == 0 and re.search("[1-9]", re.split("[eE]", number)[0]) else ""


def quote_name(text: str) -> str:
    """Return a name in backticks."""
    return "`" + text.replace("`", "``") + "`"


def quote_string(text: str) -> str:
    """Return a string in double quotes, escaped as in JSON."""
    return json.dumps(text, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text.

    Attributes:
        kind: `number`, `name`, `quoted name`, `string`, `end`, or the operator or keyword itself.
        text: A name or string without its quotes; any other token as it is written.
        start: Offset of its first character.
        end: Offset after its last character.
    """

    kind: str
    text: str
    start: int
    end: int

    @property
    def span(self) -> Span:
        """The start and end offset of the token."""
        return self.start, self.end


@contextmanager
def stack_bounded(source: str) -> Iterator[None]:
    """Turn the end of Python's stack into an error of the expression.

    `MAX_DEPTH` levels fit well into the stack, unless the caller has used up most of it.

    Raises:
        ExpressionError: The stack ended.
    """
    try:
        yield
    except RecursionError:
        message = "nested too deep for what is left of the stack"
        raise ExpressionError(message, source=source, span=(0, len(source))) from None


class Tokenizer:
    """Reads one token after the other from an expression.

    Attributes:
        source: The complete text.
        token: The next token, not yet read.
        end: Offset after the last token that was read.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.end = 0
        self._depth = 0
        self.token = self._scan(0)

    def check(self, *kinds: str) -> bool:
        """Whether the next token is of one of these kinds."""
        return self.token.kind in kinds

    def read(self) -> Token:
        """Read the next token."""
        token = self.token
        self.end = token.end
        self.token = self._scan(token.end)
        return token

    def take(self, *kinds: str) -> Token | None:
        """Read the next token if it is of one of these kinds."""
        return self.read() if self.check(*kinds) else None

    def take_word(self, *words: str) -> Token | None:
        """Read the next token if it is one of these words, which are names wherever a value is expected."""
        return self.read() if self.check("name") and self.token.text in words else None

    def expect(self, kind: str, *, expected: str, opened: Token | None = None) -> Token:
        """Read the next token, which must be of this kind.

        Args:
            kind: The kind of the token.
            expected: The same in English, for the message.
            opened: The bracket that this token closes; the message then points from there to the mistake.

        Raises:
            ExpressionError: The next token is of another kind.
        """
        if self.check(kind):
            return self.read()
        raise self.unexpected(expected, start=opened.start if opened else None)

    def unexpected(self, expected: str, *, start: int | None = None, hint: str = "") -> ExpressionError:
        """Return the error that the next token is not the expected one."""
        written = self.source[self.token.start : self.token.end]
        found = "the end" if self.check("end") else shown(written)
        span = (self.token.start if start is None else start, self.token.end)
        if self.check("name") and not hint:
            hint = _OTHER_WORDS.get(written.lower(), "")
        return self.error(f"expected {expected}, found {found}", span, hint=hint)

    def error(self, message: str, span: Span, *, hint: str = "") -> ExpressionError:
        """Return an error about a part of the text."""
        return ExpressionError(message, source=self.source, span=span, hint=hint)

    @contextmanager
    def nested(self, span: Span, *, levels: int = 1) -> Iterator[None]:
        """Count levels of nesting while something inside is read.

        Raises:
            ExpressionError: There are more than `MAX_DEPTH` levels.
        """
        self._depth += levels
        if self._depth > MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH} levels", span)
        yield
        self._depth -= levels

    def _scan(self, position: int) -> Token:
        space = _SPACE.match(self.source, position)
        start = space.end() if space else position
        if start == len(self.source):
            return Token("end", "", start, start)
        for kind, pattern in _RULES.items():
            if found := pattern.match(self.source, start):
                return self._token(kind, found[0], start)
        raise self._unreadable(start)

    def _token(self, kind: str, written: str, start: int) -> Token:
        end = start + len(written)
        match kind:
            case "number":
                self._check_number(written, start)
            case "name" if written in KEYWORDS:
                kind = written
            case "name" if not (written[0].isalpha() or written[0] == "_"):
                raise self._unreadable(start)
            case "quoted name":
                written = written[1:-1].replace("``", "`")
            case "string":
                written = _ESCAPE.sub(lambda found: self._unescaped(found, start + 1), written[1:-1])
            case "foreign":
                raise self.error(f"unexpected {shown(written)}", (start, end), hint=_FOREIGN[written])
            case "operator":
                kind = written
            case _:
                pass
        return Token(kind, written, start, end)

    def _check_number(self, written: str, start: int) -> None:
        end = start + len(written)
        if glued := _GLUED.match(self.source, end):
            text = shown(self.source[start : glued.end()])
            hint = "a name that starts with a digit goes in backticks"
            raise self.error(f"{text} is neither a number nor a name", (start, glued.end()), hint=hint)
        if fault := _range_fault(written):
            raise self.error(f"a number too {fault} for a float64", (start, end))

    def _unescaped(self, found: re.Match[str], offset: int) -> str:
        escape = found[1]
        if escape in _ESCAPED:
            return _ESCAPED[escape]
        if len(escape) > 1:
            return chr(int(escape[1:], 16))
        span = (offset + found.start(), offset + found.end())
        raise self.error(
            f"{shown(found[0])} is not a valid escape",
            span,
            hint=r"the escapes are \\ \" \' \/ \b \f \n \r \t \uXXXX",
        )

    def _unreadable(self, start: int) -> ExpressionError:
        char = self.source[start]
        if char in _UNENDED:
            return self.error(f"a {_UNENDED[char]} that does not end", (start, len(self.source)))
        hint = "a name with other characters goes in backticks"
        return self.error(f"unexpected {shown(char)}", (start, start + 1), hint=hint)


def shown(text: str) -> str:
    """Return a text in single quotes for a message, always on one line, and cut where it is long."""
    if len(text) > _LONGEST_SHOWN:
        text = text[:_LONGEST_SHOWN] + "..."
    return f"'{text}'" if text.isprintable() else repr(text)
