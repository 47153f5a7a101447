"""Every error that a caller can meet, in one tree.

    PullLogsError                    exit 1   something inside went wrong
      UsageError                     exit 2   an option or a value is wrong
        ExpressionError              exit 2   an expression does not parse, resolve or type-check
        MergeConflictError           exit 2   bundles disagree about a run, and nobody said which to prefer
      NotFoundError                  exit 3   a run, metric, project or file is not there
        RunNotFoundError
        MetricNotFoundError
          UnknownNameError                    an expression names a metric that is not there
        ProjectNotFoundError
        FileMissingError
      IncompleteError                exit 4   data is incomplete and `--strict` was asked for
      AccessError                    exit 5   W&B could not be asked
        SignInError                           no key, a wrong key, or no permission
        NetworkError                          no answer, or none that makes sense
          ServerError                         the server answered with an error
      DamageError                    exit 6   a file is damaged, or not safe to use
        BundleDamagedError
        UnsafeFileError
        FormatTooNewError
        DataError                             a row or value that the format cannot hold
      AssertionNotHeldError          exit 7   an `--assert` did not hold

A message says what was wrong and where; `hint` says what to do next. The
command line prints both on one line and exits with `exit_code`.
"""

from __future__ import annotations

import unicodedata
from typing import ClassVar

_SHOWN = 160
_SHOWN_BEFORE = 60


class PullLogsError(Exception):
    """The base of every error of this package.

    Attributes:
        message: What was wrong, and where: one sentence without a full stop.
        hint: The next step for the user, or an empty string.
        exit_code: What the command line exits with.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UsageError(PullLogsError, ValueError):
    """An option or a value that was passed is wrong."""

    exit_code = 2


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def _pointed(source: str, span: tuple[int, int]) -> str:
    """Two indented lines: the source, cut around the fault where it is long, and a caret under the span."""
    shown = "".join(char if char.isprintable() else " " for char in source)
    first = max(0, span[0] - _SHOWN_BEFORE) if len(source) > _SHOWN else 0
    last = min(len(source), first + _SHOWN)
    lead, rest = "..." if first else "", "..." if last < len(source) else ""
    indent = len(lead) + _width(shown[first : span[0]])
    reach = _width(shown[span[0] : min(span[1], last)])
    return f"\n    {lead}{shown[first:last]}{rest}\n    {' ' * indent}{'~' * (reach - 1)}^"


class ExpressionError(UsageError):
    """An expression does not parse, name known columns, or fit its types.

    Attributes:
        source: The whole text of the expression.
        span: Start and end of the fault, as offsets in characters into `source`.
    """

    def __init__(self, message: str, *, source: str, span: tuple[int, int], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.source = source
        self.span = span

    def __str__(self) -> str:
        return super().__str__() + _pointed(self.source, self.span)


class MergeConflictError(UsageError):
    """Bundles that are to be merged disagree about a run.

    Attributes:
        conflicts: One sentence a run.
    """

    def __init__(self, message: str, *, conflicts: tuple[str, ...], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.conflicts = conflicts


class NotFoundError(PullLogsError, LookupError):
    """Something that was named is not there."""

    exit_code = 3


class RunNotFoundError(NotFoundError):
    """No such run, in W&B or in a bundle."""


class MetricNotFoundError(NotFoundError):
    """No metric of a run has that name."""


class UnknownNameError(MetricNotFoundError):
    """An expression names a metric that is not there.

    Attributes:
        source: The whole text of the expression.
        span: Start and end of the name, as offsets in characters into `source`.
    """

    def __init__(self, message: str, *, source: str, span: tuple[int, int], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.source = source
        self.span = span

    def __str__(self) -> str:
        return super().__str__() + _pointed(self.source, self.span)


class ProjectNotFoundError(NotFoundError):
    """No such project, or it cannot be seen with this key."""


class FileMissingError(NotFoundError):
    """No file or folder at that path."""


class IncompleteError(PullLogsError):
    """Some data is incomplete, and `--strict` makes that an error."""

    exit_code = 4


class AccessError(PullLogsError):
    """W&B could not be asked."""

    exit_code = 5


class SignInError(AccessError):
    """No key, a wrong key, or a key without permission."""


class NetworkError(AccessError):
    """No answer came, or none that makes sense."""


class ServerError(NetworkError):
    """The server answered with an error.

    Attributes:
        status: The HTTP status, or None for an error inside a 200 answer.
    """

    def __init__(self, message: str, *, hint: str = "", status: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class DamageError(PullLogsError):
    """A file is damaged, or not safe to use."""

    exit_code = 6


class BundleDamagedError(DamageError):
    """A bundle whose bytes are not what its manifest says.

    Attributes:
        path: The bundle.
        member: The file inside it, or an empty string for the container itself.
    """

    def __init__(self, message: str, *, path: str, member: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path
        self.member = member


class UnsafeFileError(DamageError):
    """A file that is refused because using it could do harm."""


class FormatTooNewError(DamageError):
    """A bundle of a format version that this release cannot read."""


class DataError(DamageError, ValueError):
    """A row or value that no history can hold."""


class AssertionNotHeldError(PullLogsError):
    """An `--assert` did not hold."""

    exit_code = 7
