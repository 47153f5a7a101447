"""A reader of pickles that runs nothing.

A pickle is a program for a stack machine whose opcodes may import and call anything. This machine builds
dicts, lists, tuples, strings and numbers; an import, a call or a persistent object (the storage of a tensor)
becomes an `Inert`, which has a name and arguments only. The opcodes are those of Python's `pickletools`,
protocols 0 to 5.

Hostile input takes bounded time and memory: opcodes, stack and memo are limited, long strings and byte
strings (arrays pickled by value) are skipped without being read, nothing is copied or hashed more than once
per opcode, and nothing recurses.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NoReturn

from pull_logs.errors import DamageError, UnsafeFileError
from pull_logs.sources.checkpoints.calls import Inert, Judged, judged, reaches_unknown
from pull_logs.sources.checkpoints.pickle_globals import JUDGED_BY_CALL, global_name, is_dangerous_global

MAX_OPCODES = 10_000_000
MAX_SLOTS = 4_000_000
"""The most values in the stack and the memo together."""

MAX_TEXT = 1 << 20
"""The most bytes of a string; a longer one is skipped and becomes an `Inert`."""

MAX_KEPT = 1 << 28
"""The most bytes of all strings together; later ones are skipped."""

MAX_LINE = 1 << 16
_MAX_SIZE = 1 << 62
_CHUNK = 1 << 20
_SMALL_INT = 2**60


def read_pickle(source: BinaryIO, *, name: str) -> object:
    """Read the pickle at the position of the source, which is after the pickle in the end.

    Args:
        source: A buffered file; it is read forward, and seeks if it can.
        name: The name of the file, for errors.

    Raises:
        DamageError: The bytes are not a pickle, or it is cut off.
        UnsafeFileError: The pickle would run something when it is loaded, or exceeds the limits.
    """
    machine = _Machine(_Source(source), name)
    try:
        return machine.run()
    except (IndexError, KeyError, TypeError, ValueError, EOFError) as exc:
        raise DamageError(f"{name!r} holds a damaged pickle: {machine.where(exc)}") from exc


class _Source:
    """The bytes of a pickle, in the pieces that opcodes need."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._kept = 0

    def take(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) != size:
            raise EOFError("it is cut off")
        return data

    def line(self) -> bytes:
        data = self._stream.readline(MAX_LINE)
        if not data.endswith(b"\n"):
            raise EOFError("it is cut off")
        return data[:-1]

    def sized(self, prefix: struct.Struct) -> bytes | None:
        """Return the bytes after their length; None if they are too many, which are skipped."""
        (size,) = prefix.unpack(self.take(prefix.size))
        if not 0 <= size <= _MAX_SIZE:
            raise ValueError(f"a length of {size} bytes is impossible")
        if size <= MAX_TEXT and self._kept + size <= MAX_KEPT:
            self._kept += size
            return self.take(size)
        self._skip(size)
        return None

    def _skip(self, size: int) -> None:
        if self._stream.seekable():
            # The last byte is read because a seek past the end of a file succeeds.
            self._stream.seek(size - 1, 1)
            self.take(1)
            return
        while size:
            size -= len(self.take(min(size, _CHUNK)))


_U8, _U16, _I32, _U32, _U64 = map(struct.Struct, ("<B", "<H", "<i", "<I", "<Q"))
_F64 = struct.Struct(">d")


class _Machine:
    """The stack machine; `run` is its loop and `_ACTIONS` has its opcodes."""

    def __init__(self, source: _Source, name: str) -> None:
        self.source = source
        self._name = name
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}
        # The functions on the stack that are judged where they are called: how many, and the last one.
        self.uncalled = 0
        self.judged_name = ""
        self._count = 0

    def run(self) -> object:
        take, actions = self.source.take, _ACTIONS
        while (code := take(1)) != b".":
            self._count += 1
            action = actions.get(code)
            if action is None:
                raise ValueError(f"the opcode {code!r} is unknown")
            action(self)
            if not self._count & 0xFFF:
                self.check_size()
        self.check_size()
        if self.uncalled:
            # A function that is not called here may be called by another that it is passed to.
            self.refuse_global(self.judged_name)
        return self.stack.pop()

    def check_size(self) -> None:
        if self._count > MAX_OPCODES:
            self.refuse(f"a pickle of more than {MAX_OPCODES} opcodes")
        if len(self.stack) + len(self.memo) + len(self.marks) > MAX_SLOTS:
            self.refuse(f"a pickle that needs more than {MAX_SLOTS} values at once")

    def refuse(self, what: str) -> NoReturn:
        raise UnsafeFileError(f"checkpoint {self._name!r} holds {what}", hint="name the run with -r")

    def where(self, exc: Exception) -> str:
        """Describe an error and the opcode at which it occurred."""
        what = exc if isinstance(exc, (ValueError, EOFError)) else "it uses a value that does not exist"
        return f"{what}, at opcode {self._count}"

    # Values

    def push(self, value: object) -> None:
        self.stack.append(value)

    def sized_text(self, prefix: struct.Struct) -> None:
        data = self.source.sized(prefix)
        self.stack.append(Inert("long text") if data is None else data.decode("utf-8", "replace"))

    def sized_bytes(self, prefix: struct.Struct) -> None:
        data = self.source.sized(prefix)
        self.stack.append(Inert("long bytes") if data is None else data)

    def long(self, prefix: struct.Struct) -> None:
        data = self.source.sized(prefix)
        self.stack.append(
            Inert("long number") if data is None else int.from_bytes(data, "little", signed=True)
        )

    def int_line(self) -> None:
        text = self.source.line()
        self.push(text == b"01" if text in (b"00", b"01") else int(text))

    def string_line(self) -> None:
        text = self.source.line().strip()
        if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in b"'\"":
            raise ValueError("a string has no quotes")
        self.push(text[1:-1].decode("unicode_escape"))

    # Containers

    def from_mark(self) -> list[object]:
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def tuple_(self, size: int) -> None:
        values = self.stack[len(self.stack) - size :] if size else []
        if len(values) != size:
            raise IndexError
        del self.stack[len(self.stack) - size :]
        self.stack.append(tuple(values))

    def extend(self, values: list[object]) -> None:
        target = self.stack[-1]
        if isinstance(target, Inert):
            target.elements = [] if target.elements is None else target.elements
            target.elements.extend(values)
        elif isinstance(target, list):
            target.extend(values)
        else:
            raise TypeError

    def set_items(self, values: list[object]) -> None:
        target = self.stack[-1]
        if isinstance(target, Inert):
            target.items = {} if target.items is None else target.items
            target = target.items
        if not isinstance(target, dict) or len(values) % 2:
            raise TypeError
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[_dict_key(key)] = value

    def new_dict(self) -> None:
        values = self.from_mark()
        self.push({})
        self.set_items(values)

    # Memo

    def put(self, index: int) -> None:
        if index < 0:
            raise ValueError("a memo index is negative")
        self.memo[index] = self.stack[-1]

    # Objects

    def global_(self, module: object, name: object) -> Inert:
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError
        dotted = global_name(module, name)
        if dotted in JUDGED_BY_CALL:
            self.uncalled += 1
            self.judged_name = dotted
            return Judged(dotted)
        if is_dangerous_global(module, name):
            self.refuse_global(dotted)
        return Inert(dotted)

    def refuse_global(self, dotted: str) -> NoReturn:
        raise UnsafeFileError(
            f"checkpoint {self._name!r} would run {dotted} when loaded; nothing was run",
            hint="do not load it with torch.load; name the run with -r",
        )

    def recall(self, value: object) -> None:
        if type(value) is Judged:
            self.uncalled += 1
            self.judged_name = value.name
        self.stack.append(value)

    def global_line(self) -> Inert:
        module = self.source.line().decode("utf-8")
        return self.global_(module, self.source.line().decode("utf-8"))

    def stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.push(self.global_(module, name))

    def extension(self, prefix: struct.Struct) -> None:
        self.push(Inert(f"copyreg extension {self.fixed(prefix)}"))

    def call(self, target: object, args: object, *, builds: bool = False) -> None:
        if type(target) is Judged and not builds:
            self.uncalled -= 1
            result = judged(target, args)
            if isinstance(result, str):
                self.refuse_global(result)
            self.push(result)
            return
        if type(target) is not Inert or target.args is not None:
            unknown = reaches_unknown(target, builds=builds)
            if unknown is not None:
                self.refuse_global(unknown)
        name = target.name if isinstance(target, Inert) else ""
        # The only call that is made, because nearly every checkpoint has it: an empty dict.
        self.push({} if name == "collections.OrderedDict" and args == () else Inert(name, args))

    def reduce(self) -> None:
        args, target = self.stack.pop(), self.stack.pop()
        self.call(target, args)

    def new(self) -> None:
        args, target = self.stack.pop(), self.stack.pop()
        self.call(target, args, builds=True)

    def new_with_keywords(self) -> None:
        keywords, args, target = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.call(target, (args, keywords), builds=True)

    def object_(self) -> None:
        target, *args = self.from_mark()
        self.call(target, tuple(args))

    def instance(self) -> None:
        target = self.global_line()
        self.call(target, tuple(self.from_mark()))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Inert):
            target.state = state

    def persistent(self, identity: object) -> None:
        self.push(Inert("", identity))

    def pop(self) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()

    def pop_mark(self) -> None:
        self.from_mark()

    def skip(self, size: int) -> None:
        self.source.take(size)

    def fixed(self, form: struct.Struct) -> Any:
        return form.unpack(self.source.take(form.size))[0]


def _dict_key(key: object) -> object:
    """Return a key that is cheap to hash; nested tuples and huge integers can be made expensive."""
    if key is None or isinstance(key, (str, bytes, float)):
        return key
    if isinstance(key, int) and -_SMALL_INT < key < _SMALL_INT:
        return key
    return Inert("key", key)


def _push(value: object) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(value)


_ACTIONS: Mapping[bytes, Callable[[_Machine], None]] = {
    # PROTO and FRAME are not needed to read a pickle, and READONLY_BUFFER does not change the value.
    b"\x80": lambda machine: machine.skip(1),
    b"\x95": lambda machine: machine.skip(8),
    b"\x98": lambda _: None,
    b"N": _push(None),
    b"\x88": _push(value=True),
    b"\x89": _push(value=False),
    b"K": lambda machine: machine.push(machine.fixed(_U8)),
    b"M": lambda machine: machine.push(machine.fixed(_U16)),
    b"J": lambda machine: machine.push(machine.fixed(_I32)),
    b"G": lambda machine: machine.push(machine.fixed(_F64)),
    b"\x8a": lambda machine: machine.long(_U8),
    b"\x8b": lambda machine: machine.long(_I32),
    b"I": _Machine.int_line,
    b"L": lambda machine: machine.push(int(machine.source.line().rstrip(b"L"))),
    b"F": lambda machine: machine.push(float(machine.source.line())),
    b"S": _Machine.string_line,
    b"V": lambda machine: machine.push(machine.source.line().decode("raw_unicode_escape")),
    # Byte strings of Python 2 are meant as text.
    b"U": lambda machine: machine.sized_text(_U8),
    b"T": lambda machine: machine.sized_text(_I32),
    b"\x8c": lambda machine: machine.sized_text(_U8),
    b"X": lambda machine: machine.sized_text(_U32),
    b"\x8d": lambda machine: machine.sized_text(_U64),
    b"C": lambda machine: machine.sized_bytes(_U8),
    b"B": lambda machine: machine.sized_bytes(_U32),
    b"\x8e": lambda machine: machine.sized_bytes(_U64),
    b"\x96": lambda machine: machine.sized_bytes(_U64),
    b"\x97": lambda machine: machine.push(Inert("buffer")),
    b"(": lambda machine: machine.marks.append(len(machine.stack)),
    b")": _push(()),
    b"t": lambda machine: machine.push(tuple(machine.from_mark())),
    b"\x85": lambda machine: machine.tuple_(1),
    b"\x86": lambda machine: machine.tuple_(2),
    b"\x87": lambda machine: machine.tuple_(3),
    # Sets become lists, so that their elements need not be hashed.
    b"]": lambda machine: machine.push([]),
    b"\x8f": lambda machine: machine.push([]),
    b"l": lambda machine: machine.push(machine.from_mark()),
    b"\x91": lambda machine: machine.push(machine.from_mark()),
    b"a": lambda machine: machine.extend([machine.stack.pop()]),
    b"e": lambda machine: machine.extend(machine.from_mark()),
    b"\x90": lambda machine: machine.extend(machine.from_mark()),
    b"}": lambda machine: machine.push({}),
    b"d": _Machine.new_dict,
    b"s": lambda machine: machine.set_items([machine.stack.pop(-2), machine.stack.pop()]),
    b"u": lambda machine: machine.set_items(machine.from_mark()),
    b"0": _Machine.pop,
    b"1": _Machine.pop_mark,
    b"2": lambda machine: machine.recall(machine.stack[-1]),
    b"p": lambda machine: machine.put(int(machine.source.line())),
    b"q": lambda machine: machine.put(machine.fixed(_U8)),
    b"r": lambda machine: machine.put(machine.fixed(_U32)),
    b"\x94": lambda machine: machine.put(len(machine.memo)),
    b"g": lambda machine: machine.recall(machine.memo[int(machine.source.line())]),
    b"h": lambda machine: machine.recall(machine.memo[machine.fixed(_U8)]),
    b"j": lambda machine: machine.recall(machine.memo[machine.fixed(_U32)]),
    b"c": lambda machine: machine.push(machine.global_line()),
    b"\x93": _Machine.stack_global,
    b"\x82": lambda machine: machine.extension(_U8),
    b"\x83": lambda machine: machine.extension(_U16),
    b"\x84": lambda machine: machine.extension(_I32),
    b"R": _Machine.reduce,
    b"\x81": _Machine.new,
    b"\x92": _Machine.new_with_keywords,
    b"o": _Machine.object_,
    b"i": _Machine.instance,
    b"b": _Machine.build,
    b"P": lambda machine: machine.persistent(machine.source.line()),
    b"Q": lambda machine: machine.persistent(machine.stack.pop()),
}
