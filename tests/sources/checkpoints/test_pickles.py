"""The inert reader: what `pickle` would build is built, what it would run is named, nothing is run."""

from __future__ import annotations

import argparse
import collections
import enum
import functools
import io
import os
import pathlib
import pickle
import pickletools
import re
import socket
import ssl
import struct
import subprocess
import time
import tracemalloc
import urllib.parse
import zoneinfo
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.errors import DamageError, UnsafeFileError
from pull_logs.rows.canonical import same
from pull_logs.sources.checkpoints import pickles
from pull_logs.sources.checkpoints.calls import Inert
from pull_logs.sources.checkpoints.pickle_globals import is_dangerous
from pull_logs.sources.checkpoints.pickles import read_pickle
from pull_logs.sources.checkpoints.run_keys import find_run

_PLAIN = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False),
        st.text(st.characters(exclude_categories=["Cs"])),
        st.sampled_from([2**31, -(2**31), 2**63, 255, 256, 65536, "x" * 300, "\n'\\"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.one_of(st.text("ab\n", max_size=3), st.integers(-9, 9)), inner, max_size=5),
        st.tuples(inner, inner),
    ),
    max_leaves=20,
)


def _read(data: bytes) -> Any:
    return read_pickle(io.BytesIO(data), name="x.pt")


@given(_PLAIN, st.integers(0, 5))
def test_plain_values_are_what_pickle_makes_of_them(value: object, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    assert same(_read(data), pickle.loads(data))
    assert same(_read(pickletools.optimize(data)), value)


@given(_PLAIN, st.data())
def test_bytes_cut_or_flipped_are_read_or_refused_with_our_errors(value: object, data: st.DataObject) -> None:
    whole = bytearray(pickle.dumps(value, data.draw(st.integers(0, 5))))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    for attempt in (bytes(whole), bytes(whole[:place])):
        try:
            _read(attempt)
        except DamageError:
            continue


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused_with_our_errors(data: bytes) -> None:
    for attempt in (data, b"\x80\x04" + data, data + b"."):
        try:
            _read(attempt)
        except DamageError:
            continue


class _Thing:
    pass


@pytest.mark.parametrize("protocol", range(6))
def test_objects_are_names_with_their_state(protocol: int) -> None:
    thing = _Thing()
    vars(thing).update(run="abc")
    found = _read(pickle.dumps([thing, argparse.Namespace(a=1), pathlib.PurePosixPath("a/b")], protocol))
    assert [type(one) for one in found] == [Inert] * 3
    assert found[0].state == {"run": "abc"}
    assert found[1].state == {"a": 1}
    if protocol >= 2:
        assert found[0].name.endswith("test_pickles._Thing")
        assert found[1].name == "argparse.Namespace"


@pytest.mark.parametrize("protocol", range(2, 6))
def test_dicts_of_other_kinds_keep_their_items(protocol: int) -> None:
    value = [collections.OrderedDict(a=1), collections.defaultdict(int, b=2), collections.Counter("c")]
    ordered, default, counter = _read(pickle.dumps(value, protocol))
    assert ordered == {"a": 1}
    assert default.items == {"b": 2}
    assert counter.args == ({"c": 1},)


def test_a_value_that_holds_itself_is_read() -> None:
    value: dict[str, object] = {}
    value["self"] = value
    found = _read(pickle.dumps(value))
    assert found["self"] is found


class _Call:
    """Pickles as a call of any global."""

    def __init__(self, dotted: str, *args: object) -> None:
        self.dotted, self.args = dotted, args

    def pickle(self, protocol: int) -> bytes:
        module, _, name = self.dotted.rpartition(".")
        if protocol >= 4:
            head = b"\x80\x04" + b"".join(
                b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, name)
            )
            target = head + b"\x93"
        else:
            target = f"c{module}\n{name}\n".encode()
        return target + pickle.dumps(self.args, 0)[:-1] + b"R."


@pytest.mark.parametrize("protocol", [0, 4])
@pytest.mark.parametrize(
    ("dotted", "reported"),
    [
        ("os.system", "os.system"),
        ("posix.system", "posix.system"),
        ("nt.system", "nt.system"),
        ("subprocess.Popen", "subprocess.Popen"),
        ("builtins.eval", "builtins.eval"),
        ("__builtin__.eval", "builtins.eval"),
        ("builtins.getattr", "builtins.getattr"),
        ("importlib.import_module", "importlib.import_module"),
        ("runpy.run_path", "runpy.run_path"),
        ("socket.create_connection", "socket.create_connection"),
        ("torch.hub.load", "torch.hub.load"),
        ("torch.serialization.load", "torch.serialization.load"),
        ("numpy.testing._private.utils.runstring", "numpy.testing._private.utils.runstring"),
        ("operator.attrgetter", "operator.attrgetter"),
    ],
)
def test_a_pickle_that_would_run_something_is_refused_by_name(
    dotted: str, reported: str, protocol: int
) -> None:
    with pytest.raises(UnsafeFileError) as caught:
        _read(_Call(dotted, "echo").pickle(protocol))
    assert str(caught.value) == (
        f"checkpoint 'x.pt' would run {reported} when loaded; nothing was run; "
        "do not load it with torch.load; name the run with -r"
    )


def test_the_older_ways_to_name_a_global_are_refused_too() -> None:
    for data in (
        b"(S'echo'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'echo'\no.",  # OBJ
        b"\x80\x02cos\nsystem\n)\x81.",  # NEWOBJ
        b"\x80\x04\x8c\x05torch\x8c\x13nn.Module.__class__\x93.",
        b"\x80\x04\x8c\x05torch\x8c\x09os.system\x93.",
        b"ctorch\nos.system\n.",
    ):
        with pytest.raises(UnsafeFileError):
            _read(data)


@pytest.mark.parametrize(
    "dotted",
    [
        "torch._utils._rebuild_tensor_v2", "torch.FloatStorage", "collections.OrderedDict", "numpy.dtype",
        "numpy._core.multiarray.scalar", "argparse.Namespace", "__main__.Config", "pkg.__main__.Config",
        "__torch__.Model", "omegaconf.dictconfig.DictConfig", "pathlib.PosixPath", "_codecs.encode",
        "code.model.Net", "builtins.set", "__torch__.torch.nn.modules.linear.___torch_mangle_3.Linear",
        "torch._C._ModuleBase", "numpy.random._pickle.__generator_ctor", "numpy.random.__RandomState_ctor",
        "copyreg.__newobj__", "__mp_main__.Config", "pkg.__init__.Config", "torch.Size.__new__", "transformers.training_args.TrainingArguments", "osgeo.thing",  # noqa: E501
    ],
)  # fmt: skip
def test_names_of_data_are_no_danger(dotted: str) -> None:
    assert not is_dangerous(dotted)


def test_the_same_name_is_told_whatever_stands_around_it(tmp_path: pathlib.Path) -> None:
    marker = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return pathlib.Path.touch, (str(marker),)

    class Shell:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            import os

            return os.system, (f"touch {marker}",)

    assert _read(pickle.dumps({"a": Payload(), "wandb_run_path": "a/b/c"}))["wandb_run_path"] == "a/b/c"
    with pytest.raises(UnsafeFileError):
        _read(pickle.dumps({"wandb_run_path": "a/b/c", "b": [Shell()]}))
    assert not marker.exists()


# Globals that are judged by what they would do with their arguments


class _Strategy(enum.Enum):
    """An enum whose members pickle as Python 3.11.0 to 3.11.3 pickle them."""

    STEPS = "steps"

    def __reduce_ex__(self, _: object) -> tuple[object, tuple[object, str]]:
        return getattr, (type(self), self.name)


class _Outer:
    """A class with what pickles as `getattr(Outer, NAME)` before protocol 4, or as a bound method."""

    class Inner:
        lr = 0.1

    def step(self) -> None:
        """Do nothing."""

    @classmethod
    def build(cls) -> None:
        """Do nothing."""


class _WithKeywords:
    """A class whose `__new__` takes keywords, which pickles as a `partial` of `__new__` before protocol 4."""

    def __new__(cls, *, size: int = 0) -> Self:
        made = super().__new__(cls)
        made.size = size
        return made

    size: int

    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, int]]:
        return (), {"size": self.size}


_HARMLESS = {
    "a member of an enum": [_Strategy.STEPS, _Strategy.STEPS],
    "a key that is a member of an enum": {_Strategy.STEPS: 1},
    "a bound method": [_Outer().step, _Outer.build, [].append, "x".join],
    "an object of a class inside a class": [_Outer.Inner(), _Outer.Inner],
    "a class with keywords": _WithKeywords(size=3),
    "NumPy's generator": np.random.default_rng(0),
    "NumPy's legacy generator": np.random.RandomState(0),
    "NumPy's bit generator": np.random.PCG64(0),
    "a partial of a bound method": functools.partial(_Outer().step),
    "parts of a URL": urllib.parse.urlsplit("https://example.org/a"),
    "the size of a terminal": os.terminal_size((80, 24)),
    "the host": os.uname(),
    "a time zone": zoneinfo.ZoneInfo("UTC"),
    "flags": [re.IGNORECASE | re.MULTILINE, socket.AF_INET, ssl.CERT_NONE],
    "a result of a command": subprocess.CompletedProcess(["git"], 0),
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", _HARMLESS.values(), ids=_HARMLESS.keys())
def test_harmless_objects_are_data(value: object, protocol: int) -> None:
    found = _read(pickle.dumps({"value": value, "wandb_run_path": "a/b/c"}, protocol))
    assert found["wandb_run_path"] == "a/b/c"


@pytest.mark.parametrize(
    "name", ["socket\nAF_INET", "socket\nSOCK_STREAM", "ssl\nCERT_NONE", "ssl\nOP_NO_TLSv1"]
)
def test_members_of_enums_by_the_name_of_their_constant_are_data(name: str) -> None:
    assert _read(f"c{name}\n.".encode()).name == name.replace("\n", ".")


@pytest.mark.parametrize(
    "name", ["socket\nsocket", "socket\nAF_INET.__class__", "ssl\nCERT_NONE.x", "socket\nAF_inet"]
)
def test_other_names_of_these_modules_are_refused(name: str) -> None:
    with pytest.raises(UnsafeFileError):
        _read(f"c{name}\n.".encode())


def test_flags_of_python_3_11_0_are_data() -> None:
    # `_operator.or_(getattr(C, "A"), getattr(C, "B"))`, and before it `functools.reduce(or_, [...])`.
    member = "c__builtin__\ngetattr\n(cpkg\nStrategy\nV{}\ntR"
    both = (member.format("A") + member.format("B")).encode()
    found = _read(b"c_operator\nor_\n(" + both + b"tR.")
    assert [one.name for one in found.args] == ["pkg.Strategy.A", "pkg.Strategy.B"]
    assert _read(b"c__builtin__\nreduce\n(c_operator\nor_\n(" + both + b"ltR.").name == "functools.reduce"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        # An attribute of a module that another module imports, in all forms.
        (b"cbuiltins\ngetattr\n(ctorch\nos\nVsystem\ntR.", "torch.os"),
        (b"cbuiltins\ngetattr\n(crandom\n_os\nVsystem\ntR.", "random._os"),
        (b"cbuiltins\ngetattr\n(ctorch\nserialization\nVos\ntR.", "torch.serialization.os"),
        (b"ctorch\nserialization.os.system\n(Vecho\ntR.", "torch.serialization.os.system"),
        (b"crandom\n_os.system\n(Vecho\ntR.", "random._os.system"),
        (b"cbuiltins\ngetattr\n(ctorch\nserialization\nVload\ntR.", "torch.serialization.load"),
        # Special attributes reach any object.
        (b"cbuiltins\ngetattr\n(ctorch.nn\nLinear\nV__globals__\ntR.", "torch.nn.Linear.__globals__"),
        (b"cbuiltins\ngetattr\n((dV__class__\ntR.", "dict().__class__"),
        (
            b"cbuiltins\ngetattr\n(cbuiltins\ngetattr\n(cpkg\nA\nVf\ntRV__globals__\ntR.",
            "pkg.A.f.__globals__",
        ),
        # A call of an attribute of which nothing is known.
        (b"cbuiltins\ngetattr\n(cpkg\nsp\nVPopen\ntR(Vecho\ntR.", "pkg.sp.Popen"),
        (b"cbuiltins\ngetattr\n(cthreading\nThread\n)RVstart\ntR)R.", "threading.Thread().start"),
        (
            b"cfunctools\npartial\n(cbuiltins\ngetattr\n(cpkg\nsp\nVPopen\ntRtR(Vecho\ntR.",
            "pkg.sp.Popen",
        ),
        # `getattr` itself, passed to what may call it.
        (b"cpkg\napply\n(cbuiltins\ngetattr\nVx\ntR.", "builtins.getattr"),
        (b"cbuiltins\ngetattr\n2.", "builtins.getattr"),
        (b"cbuiltins\ngetattr\np0\n0(lg0\na.", "builtins.getattr"),
        (b"cbuiltins\ngetattr\n(cpkg\nA\nVx\nNtR.", "builtins.getattr"),
        (b"cbuiltins\ngetattr\n(cpkg\nA\nI1\ntR.", "builtins.getattr"),
        (b"cbuiltins\ngetattr\n)\x81.", "builtins.getattr"),
        # Names of Python 2, which protocol 2 still uses.
        (b"c__builtin__\ngetattr\n(cos\npath\nVx\ntR.", "os.path"),
        (b"c__builtin__\nreduce\n(cbuiltins\nprint\n(ltR.", "functools.reduce"),
        (b"citertools\nimap\n(cpkg\nf\n(ltR.", "builtins.map"),
        (b"ccommands\ngetoutput\n(Vecho\ntR.", "subprocess.getoutput"),
        # Data classes do not open their modules.
        (b"curllib.parse\nsys.modules\n.", "urllib.parse.sys.modules"),
        (b"curllib.request\nurlopen\n.", "urllib.request.urlopen"),
        (b"csubprocess\nCompletedProcess.__init__\n.", "subprocess.CompletedProcess.__init__"),
        (b"ctypes\nFunctionType.__new__\n.", "types.FunctionType.__new__"),
    ],
)
def test_what_reaches_other_objects_or_calls_the_unknown_is_refused(data: bytes, what: str) -> None:
    with pytest.raises(UnsafeFileError) as caught:
        _read(data)
    assert caught.value.message == f"checkpoint 'x.pt' would run {what} when loaded; nothing was run"


# Bombs


def test_a_pickle_of_too_many_opcodes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MAX_OPCODES", 10_000)
    with pytest.raises(UnsafeFileError) as caught:
        _read(b"]" + b"0]" * 20_000 + b".")
    assert caught.value.message == "checkpoint 'x.pt' holds a pickle of more than 10000 opcodes"


def test_a_pickle_that_fills_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MAX_SLOTS", 10_000)
    for fill in (b"]", b"(", b"]\x94"):
        with pytest.raises(UnsafeFileError) as caught:
            _read(fill * 20_000 + b".")
        assert caught.value.message == (
            "checkpoint 'x.pt' holds a pickle that needs more than 10000 values at once"
        )


def test_doubling_structures_cost_what_they_hold() -> None:
    # 60 levels, each twice the one below: 2**60 leaves, if anything walked or hashed them.
    tuples = b")" + b"2\x86" * 60
    assert isinstance(_read(b"}" + tuples + b"K\x01s."), dict)
    # The same with lists: each is put twice into the next.
    lists = b"]" + b"".join(b"q\x00]h\x00ah\x00a" for _ in range(60))
    _read(lists + b".")


def test_values_nested_without_end_are_read_and_forgotten() -> None:
    _read(b")" + b"\x85" * 300_000 + b".")
    _read(b"]\x94" + b"]\x94h\x00a" * 100_000 + b".")


def test_keys_made_to_collide_do_not() -> None:
    prime = 2**61 - 1
    keys = b"".join(
        b"\x8a\x0a" + (prime * n).to_bytes(10, "little", signed=True) + b"N" for n in range(1, 3000)
    )
    found = _read(b"\x80\x02}(" + keys + b"u.")
    assert len(found) == 2999


def test_objects_that_share_a_state_cost_what_they_hold() -> None:
    # 20,000 objects, each with the same dict of 30,000 members as its state.
    entries = b"".join(b"J" + n.to_bytes(4, "little") + b"N" for n in range(30_000))
    shared = b"}(" + entries + b"uq\x00" + b"0"
    objects = b"".join(b"X\x05\x00\x00\x00%05dcpkg\nA\n)Rh\x00b" % n for n in range(20_000))
    root = _read(b"\x80\x02" + shared + b"}(" + objects + b"u.")
    started = time.process_time()
    assert find_run({"a": root, "b": list(root.items())}, where="x.pt") is None
    assert time.process_time() - started < 5


class _Unseekable(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise AssertionError


@pytest.mark.parametrize("stream", [io.BytesIO, _Unseekable])
def test_long_strings_are_skipped_not_read(stream: type[io.BytesIO]) -> None:
    size = 1 << 24
    data = b"\x80\x04]\x94(B" + struct.pack("<I", size) + bytes(size) + b"K\x07e."
    source = stream(data)
    tracemalloc.start()
    try:
        found: Any = read_pickle(source, name="x.pt")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [type(found[0]), found[1]] == [Inert, 7]
    assert peak < size // 4


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "it is cut off, at opcode 0"),
        (b"\x80", "it is cut off, at opcode 1"),
        (b"\x80\x04]\x94", "it is cut off, at opcode 3"),
        (b"\xff.", "the opcode b'\\xff' is unknown, at opcode 1"),
        (b".", "it uses a value that does not exist, at opcode 0"),
        (b"h\x05.", "it uses a value that does not exist, at opcode 1"),
        (b"\x8e" + b"\xff" * 8, "a length of 18446744073709551615 bytes is impossible, at opcode 1"),
    ],
)
def test_what_is_damaged_is_told(data: bytes, what: str) -> None:
    with pytest.raises(DamageError) as caught:
        _read(data)
    assert str(caught.value) == f"'x.pt' holds a damaged pickle: {what}"
