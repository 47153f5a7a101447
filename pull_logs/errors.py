"""Every error of this package, in one tree.

    PullLogsError                    exit 1   an internal error
      UsageError                     exit 2   an option or a value is not valid
        ExpressionError              exit 2   an expression does not parse, resolve or type-check
        MergeConflictError           exit 2   bundles disagree about a run, and none of them is preferred
      NotFoundError                  exit 3   a run, metric, project or file does not exist
        RunNotFoundError
        MetricNotFoundError
          UnknownNameError                    an expression names a metric that does not exist
        ProjectNotFoundError
        FileMissingError
          BucketMissingError                  object storage has no bucket of that name
      IncompleteError                exit 4   data is incomplete, and `--strict` is set
      AccessError                    exit 5   W&B could not be reached
        SignInError                           no key, a wrong key, or no permission
        NetworkError                          no answer, or not a valid one
          ServerError                         the server answered with an error
      DamageError                    exit 6   a file is damaged or unsafe
        BundleDamagedError
        UnsafeFileError
        FormatTooNewError
        DataError                             a row or value that the format cannot hold
      AssertionNotHeldError          exit 7   an `--assert` does not hold
      RegressionError                exit 7   a gate does not hold: a metric got worse
      DifferenceError                exit 7   a bundle is not proved to have all that its source has
      MachineLimitError              exit 8   the machine refuses: the disk is full, no permission, read-only

A message says what is wrong and where; `hint` names the next step. The command line prints both on one line
and exits with `exit_code`.
"""

from __future__ import annotations

import unicodedata
from typing import Any, ClassVar

_SHOWN = 160
_SHOWN_BEFORE = 60


class PullLogsError(Exception):
    """The base of every error of this package.

    Attributes:
        message: What is wrong, and where: one sentence without a full stop.
        hint: The next step for the user, or an empty string.
        exit_code: The exit code of the command line.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it with all its attributes, so that a worker process can raise it."""
        return _restored, (type(self), self.args, dict(vars(self)))


def _restored(kind: type[PullLogsError], args: tuple[Any, ...], values: dict[str, Any]) -> PullLogsError:
    error = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(values)
    return error


class UsageError(PullLogsError, ValueError):
    """An option or a value is not valid."""

    exit_code = 2


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def _pointed(source: str, span: tuple[int, int]) -> str:
    """Return two indented lines: the source, cut around the span if it is long, and a caret below it."""
    shown = "".join(char if char.isprintable() else " " for char in source)
    first = max(0, span[0] - _SHOWN_BEFORE) if len(source) > _SHOWN else 0
    last = min(len(source), first + _SHOWN)
    lead, rest = "..." if first else "", "..." if last < len(source) else ""
    indent = len(lead) + _width(shown[first : span[0]])
    reach = _width(shown[span[0] : min(span[1], last)])
    return f"\n    {lead}{shown[first:last]}{rest}\n    {' ' * indent}{'~' * (reach - 1)}^"


class ExpressionError(UsageError):
    """An expression does not parse, names an unknown column, or has operands of the wrong type.

    Attributes:
        source: The complete text of the expression.
        span: Start and end of the error, as offsets in characters in `source`.
    """

    def __init__(self, message: str, *, source: str, span: tuple[int, int], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.source = source
        self.span = span

    def __str__(self) -> str:
        return super().__str__() + _pointed(self.source, self.span)


def refuse_text(name: str, value: object, what: str) -> None:
    """Refuse a text where several are expected: each of its characters would be taken as one of them.

    Args:
        name: The name of the argument.
        value: What was given for it.
        what: What it is a list of.

    Raises:
        UsageError: The value is a text.
    """
    if isinstance(value, str):
        message = f"{name} is the string {value!r}, not a list of {what}"
        raise UsageError(message, hint=f"write {name}=[{value!r}]")


class MergeConflictError(UsageError):
    """Bundles disagree about a run while they are merged.

    Attributes:
        conflicts: One sentence per run.
    """

    def __init__(self, message: str, *, conflicts: tuple[str, ...], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.conflicts = conflicts


class NotFoundError(PullLogsError, LookupError):
    """Something that was named does not exist."""

    exit_code = 3


class RunNotFoundError(NotFoundError):
    """A run does not exist, in W&B or in a bundle."""


class MetricNotFoundError(NotFoundError):
    """No metric of a run has the given name."""


class UnknownNameError(MetricNotFoundError):
    """An expression names a metric that does not exist.

    Attributes:
        source: The complete text of the expression.
        span: Start and end of the name, as offsets in characters in `source`.
    """

    def __init__(self, message: str, *, source: str, span: tuple[int, int], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.source = source
        self.span = span

    def __str__(self) -> str:
        return super().__str__() + _pointed(self.source, self.span)


class ProjectNotFoundError(NotFoundError):
    """A project does not exist, or the API key has no access to it."""


class FileMissingError(NotFoundError):
    """There is no file or folder at a path."""


class BucketMissingError(FileMissingError):
    """Object storage has no bucket, or container, of that name."""


class IncompleteError(PullLogsError):
    """Data is incomplete, and `--strict` makes that an error."""

    exit_code = 4


class AccessError(PullLogsError):
    """W&B could not be reached."""

    exit_code = 5


class SignInError(AccessError):
    """There is no API key, or it is wrong or lacks permission."""


class NetworkError(AccessError):
    """The server did not answer, or not with a valid answer."""


class ServerError(NetworkError):
    """The server answered with an error.

    Attributes:
        status: The HTTP status; None for an error in a 200 answer.
    """

    def __init__(self, message: str, *, hint: str = "", status: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class DamageError(PullLogsError):
    """A file is damaged or unsafe."""

    exit_code = 6


class BundleDamagedError(DamageError):
    """The bytes of a bundle differ from its manifest.

    Attributes:
        path: The bundle.
        member: The damaged file in it; empty for the container itself.
    """

    def __init__(self, message: str, *, path: str, member: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path
        self.member = member


class UnsafeFileError(DamageError):
    """A file is refused because using it could do harm."""


class FormatTooNewError(DamageError):
    """A file has a format version that this release cannot read."""


class DataError(DamageError, ValueError):
    """The format cannot hold a row or value."""


class AssertionNotHeldError(PullLogsError):
    """An `--assert` does not hold."""

    exit_code = 7


class RegressionError(PullLogsError):
    """A gate does not hold: a metric is worse than in the baseline."""

    exit_code = 7


class DifferenceError(PullLogsError):
    """A bundle or a run was compared with its source, and does not have all of it, or is not proved to."""

    exit_code = 7


class MachineLimitError(PullLogsError):
    """The machine does not allow it: the disk is full, a permission is missing, the disk is read-only."""

    exit_code = 8
