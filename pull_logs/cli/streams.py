r"""The standard streams of the process, made safe for whatever a run is called and wherever they lead.

A closed stream is opened on the null device, so that no bundle gets its descriptor. A character that the
encoding of a stream lacks is written as JSON escapes (`\u00e9`), as unsafe characters are, so that JSON
stays JSON. A stderr that refuses bytes, for example on a full disk, never ends a command.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Literal, TextIO, TypeVar

STDOUT = "standard output"
"""The name of stdout in errors."""

_ESCAPING = "pull_logs.json_escapes"
_ASCII = "pull_logs_ascii"


def _json_escapes(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that cannot be encoded; the signature is that of `codecs.register_error`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), error.end


codecs.register_error(_ESCAPING, _json_escapes)


def _find_codec(name: str) -> codecs.CodecInfo | None:
    """Return ASCII under a name of this package; click takes a stream in ASCII for one in UTF-8."""
    if name != _ASCII:
        return None
    known = codecs.lookup("ascii")
    return codecs.CodecInfo(
        known.encode,
        known.decode,
        known.streamreader,
        known.streamwriter,
        known.incrementalencoder,
        known.incrementaldecoder,
        name=_ASCII,
    )


codecs.register(_find_codec)


class _Answer(io.TextIOWrapper):
    """A stdout whose failures name it, as those of files name their path."""

    def write(self, text: str, /) -> int:
        """Write text."""
        with _named_failure():
            return super().write(text)

    def flush(self) -> None:
        """Write what is buffered."""
        with _named_failure():
            super().flush()


@contextlib.contextmanager
def _named_failure() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, STDOUT) from exc


class _Notes(io.TextIOWrapper):
    """A stderr whose failures are ignored: the answer and the exit code do not depend on it."""

    def write(self, text: str, /) -> int:
        """Write text, or discard it."""
        with contextlib.suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, or discard it."""
        with contextlib.suppress(OSError):
            super().flush()


_Text = TypeVar("_Text", bound=io.TextIOWrapper)


def prepare_streams() -> None:
    """Make the standard streams of the process safe; called once, when the process starts."""
    if sys.stdin is None:
        sys.stdin = _null(0, "r")
    if sys.stdout is None:
        sys.stdout = _null(1, "w")
    if sys.stderr is None:
        sys.stderr = _null(2, "w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _rewrapped(sys.stdout, _Answer, line_buffering=sys.stdout.line_buffering)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _rewrapped(sys.stderr, _Notes, line_buffering=True)


def _rewrapped(stream: io.TextIOWrapper, kind: type[_Text], *, line_buffering: bool) -> _Text:
    """Return a stream on the same buffer that can write every character."""
    encoding = _ASCII if codecs.lookup(stream.encoding).name == "ascii" else stream.encoding
    return kind(stream.detach(), encoding=encoding, errors=_ESCAPING, line_buffering=line_buffering)


def _null(descriptor: int, mode: Literal["r", "w"]) -> TextIO:
    """Open the null device as one of the standard descriptors, if that one is closed."""
    opened = os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
    if opened != descriptor:
        with contextlib.suppress(OSError):
            os.fstat(descriptor)
            return os.fdopen(opened, mode, encoding="utf-8")
        os.dup2(opened, descriptor, inheritable=True)
        os.close(opened)
    return os.fdopen(descriptor, mode, encoding="utf-8", closefd=False)


def discard_output() -> None:
    """Lead stdout to the null device, so that what is buffered is not written when the process ends."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
