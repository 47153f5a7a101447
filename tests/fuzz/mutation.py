"""Mutations that keep the form of an input, so that a fuzzer gets beyond the first check of a parser.

libFuzzer changes bytes. Most changes of a JSON text leave no JSON, and most changes of a length leave a file
that is cut short. The functions here change a value, a token, an opcode or a field instead. Each takes an
input and a random generator, and returns a changed input, or None if the input does not have the form.
"""

from __future__ import annotations

import io
import json
import pickletools
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from fuzzkit import joined, parts

Mutate = Callable[[bytes, Random], bytes | None]
"""Changes an input that has a form; returns None for one that does not have it."""

_DEEPEST = 60
"""Most levels of a value that is nested on purpose."""

_NUMBERS = (
    0,
    -1,
    1,
    2**31,
    -(2**31) - 1,
    2**53 + 1,
    2**63,
    2**64 - 1,
    10**30,
    0.5,
    -0.0,
    1e308,
    float("nan"),
)
_TEXTS = ("", "NaN", "-Infinity", "../x", "a/b", "\0", "\ud800", "é", "_step", "sha256:", "x" * 300)
_CONSTANTS: tuple[Any, ...] = (None, True, False, [], {})
_WORDS = re.compile(rb"\w+|\s+|[^\w\s]")
_SIGNATURES = {b"PK\x01\x02": 46, b"PK\x03\x04": 30, b"PK\x05\x06": 22, b"PK\x06\x06": 56, b"PK\x06\x07": 20}
"""The length of each record of a ZIP file that has fields, by its first bytes."""


def json_value(data: bytes, random: Random) -> bytes | None:
    """Change one value or key of a JSON text."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return _dumped(_changed(value, random), random)


def json_lines(data: bytes, random: Random) -> bytes | None:
    """Change one line of several JSON texts, leave it out or repeat it."""
    lines = data.splitlines(keepends=True)
    if not lines:
        return None
    at = random.randrange(len(lines))
    made = json_value(lines[at], random)
    return b"".join(_spliced(lines, at, None if made is None else made + b"\n", random))


def words(data: bytes, random: Random) -> bytes | None:
    """Leave out a word or sign of a text, repeat it, or put another one of the text there."""
    found = _WORDS.findall(data)
    if not found:
        return None
    at = random.randrange(len(found))
    return b"".join(_spliced(found, at, random.choice(found), random))


def request(data: bytes, random: Random) -> bytes | None:
    """Change the query of a request by words, or another value of it."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if isinstance(body, dict) and isinstance(body.get("query"), str) and random.random() < 0.5:
        text = words(body["query"].encode(errors="replace"), random) or b""
        return _dumped(body | {"query": text.decode(errors="replace")}, random)
    return _dumped(_changed(body, random), random)


def one_part(mutate: Mutate) -> Mutate:
    """Return a mutation of one of the parts of which `joined` made an input."""

    def mutate_part(data: bytes, random: Random) -> bytes | None:
        found = parts(data)
        if not found:
            return None
        at = random.randrange(len(found))
        return joined(_spliced(found, at, mutate(found[at], random), random))

    return mutate_part


def after(size: int, mutate: Mutate) -> Mutate:
    """Return a mutation of what follows the first bytes."""

    def mutate_rest(data: bytes, random: Random) -> bytes | None:
        made = mutate(data[size:], random)
        return None if made is None else data[:size] + made

    return mutate_rest


def either(*mutations: Mutate) -> Mutate:
    """Return a mutation that tries some others in a random order."""

    def mutate_somehow(data: bytes, random: Random) -> bytes | None:
        made = (mutate(data, random) for mutate in random.sample(mutations, len(mutations)))
        return next((changed for changed in made if changed is not None), None)

    return mutate_somehow


def some_bytes(data: bytes, random: Random) -> bytes | None:
    """Replace one to eight bytes."""
    if not data:
        return None
    at = random.randrange(len(data))
    size = random.choice((1, 2, 4, 8))
    return data[:at] + random.randbytes(size) + data[at + size :]


def sized_json(data: bytes, random: Random) -> bytes | None:
    """Change the header of a safetensors file; its length fits again."""
    size = int.from_bytes(data[:8], "little")
    made = json_value(data[8 : 8 + size], random)
    return None if made is None else len(made).to_bytes(8, "little") + made + data[8 + size :]


def zip_fields(data: bytes, random: Random) -> bytes | None:
    """Replace a field of two or four bytes in one of the records of a ZIP file."""
    found = [
        (match.start(), _SIGNATURES[match.group()])
        for match in re.finditer(b"PK(\x01\x02|\x03\x04|\x05\x06|\x06\x06|\x06\x07)", data)
    ]
    if not found:
        return None
    start, length = random.choice(found)
    at = start + random.randrange(4, length, 2)
    kind = random.choice("HI")
    most = 2 ** (8 * struct.calcsize(kind)) - 1
    (old,) = struct.unpack_from(f"<{kind}", data.ljust(at + 4, b"\0"), at)
    new = random.choice((0, 1, 46, most, most - 1, min(len(data), most), (old + 1) & most, (old - 1) & most))
    return data[:at] + struct.pack(f"<{kind}", new) + data[at + struct.calcsize(kind) :]


def opcodes(data: bytes, random: Random) -> bytes | None:
    """Leave out an opcode of a pickle, repeat it, or put another one of it there."""
    try:
        starts = [start for _, _, start in pickletools.genops(data) if start is not None]
    except Exception:  # noqa: BLE001 - not a pickle, or one that was changed before
        return None
    ends = [*starts[1:], len(data)]
    found = [data[start:end] for start, end in zip(starts, ends, strict=True)]
    if not found:
        return None
    return b"".join(_spliced(found, random.randrange(len(found)), random.choice(found), random))


def one_member(suffix: str, mutate: Mutate) -> Mutate:
    """Return a mutation of the first member of a ZIP file with a suffix; its checksum fits again."""

    def mutate_member(data: bytes, random: Random) -> bytes | None:
        out = io.BytesIO()
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
                name = next(name for name in old.namelist() if name.endswith(suffix))
                for info in old.infolist():
                    content = old.read(info)
                    changed = mutate(content, random) if info.filename == name else None
                    new.writestr(info, content if changed is None else changed)
        except Exception:  # noqa: BLE001 - not a ZIP file, or one that was changed before
            return None
        return out.getvalue()

    return mutate_member


def _spliced(found: list[bytes], at: int, other: bytes | None, random: Random) -> list[bytes]:
    """Return a list in which one element is left out, repeated or replaced."""
    changes = [[], [found[at], found[at]], [found[at], other or b""]]
    made = random.choice(changes) if other is None or random.random() < 0.5 else [other]
    return [*found[:at], *made, *found[at + 1 :]]


def _dumped(value: Any, random: Random) -> bytes:
    """Return a value as JSON, with escapes or without, so that half a surrogate pair has both forms."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=random.random() < 0.5)
    return text.encode(errors="surrogatepass")


def _changed(value: Any, random: Random) -> Any:
    """Return a value in which one part is another one."""
    paths = list(_paths(value, ()))
    path = random.choice(paths)
    if path and random.random() < 0.25:
        return _with(value, path, None, removed=True)
    return _with(value, path, _other(_at(value, path), _at(value, random.choice(paths)), random))


def _paths(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield from _paths(child, (*path, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _with(value: Any, path: tuple[Any, ...], new: Any, *, removed: bool = False) -> Any:
    """Return a copy of a value with another part, or without it."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    if removed and len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = _with(value[path[0]], path[1:], new, removed=removed)
    return copy


def _other(old: Any, copied: Any, random: Random) -> Any:
    """Return a value in place of an old one."""
    match random.randrange(6):
        case 0:
            return copied
        case 1:
            return random.choice(_NUMBERS)
        case 2:
            return random.choice(_TEXTS)
        case 3:
            return random.choice(_CONSTANTS)
        case 4:
            return _nested(old, random.randrange(1, _DEEPEST))
        case _:
            return _near(old, random)


def _nested(value: Any, levels: int) -> Any:
    for _ in range(levels):
        value = [value]
    return value


def _near(old: Any, random: Random) -> Any:
    """Return a value like an old one: another key, one more, a longer text."""
    if isinstance(old, dict):
        return {**old, random.choice([*_TEXTS, *old]): random.choice([*_NUMBERS, *old.values()])}
    if isinstance(old, list):
        return [*old, *old[-1:], *random.sample(_CONSTANTS, 1)]
    if isinstance(old, str):
        made = json_value(old.encode(errors="replace"), random) if old[:1] in ("{", "[") else None
        return old + random.choice(_TEXTS) if made is None else made.decode(errors="replace")
    if isinstance(old, bool) or old is None:
        return not old
    return old + random.choice((-1, 1, 0.5))
