"""The names in a pickle which mean that loading it would do more than build data.

Nothing in a pickle is run here, so these lists are not needed to read one safely. They let the reader report
a file as an attack, so that the user does not load it afterwards. Names that are not listed count as data.
Functions that are harmless with some arguments (`JUDGED_BY_CALL`) are judged where they are called.
"""

from __future__ import annotations

import re
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Sequence

_MODULES = frozenset(
    """
    _pickle _posixsubprocess _winapi asyncio bdb cPickle cProfile cffi codeop commands ctypes dbm
    distutils doctest ensurepip fileinput ftplib idlelib imp importlib lib2to3 linecache marshal mmap
    multiprocessing nt os paramiko pdb pickle pip pkg_resources pkgutil popen2 poplib posix pty pydoc
    requests runpy setuptools shelve shutil smtplib socket socketserver sqlite3 ssl subprocess sys
    telnetlib tempfile timeit urllib urllib2 urllib3 venv webbrowser winreg xmlrpc zipimport
    """.split()  # noqa: SIM905 - a list of sixty quoted words is hard to read
)
"""Top-level modules that no checkpoint needs."""

_NAMES = frozenset(
    """
    builtins.__build_class__ builtins.__import__ builtins.breakpoint builtins.compile builtins.delattr
    builtins.eval builtins.exec builtins.execfile builtins.exit builtins.filter builtins.getattr
    builtins.globals builtins.help builtins.input builtins.locals builtins.map builtins.open
    builtins.quit builtins.setattr builtins.vars builtins.apply builtins.file builtins.reload
    code.InteractiveConsole code.InteractiveInterpreter code.interact codecs.open functools.reduce
    http.client.HTTPConnection http.client.HTTPSConnection joblib.load profile.Profile profile.run
    profile.runctx sh.Command signal.raise_signal signal.signal trace.Trace
    io.FileIO io.open io.open_code _io.FileIO _io.open _io.open_code
    logging.config.listen numpy.load numpy.fromfile numpy.memmap
    operator.attrgetter operator.call operator.methodcaller _operator.attrgetter _operator.call
    _operator.methodcaller pandas.read_pickle platform.popen
    torch.hub.load torch.load torch.serialization.load torch.jit.load torch.package
    torch.fx.graph_module.reduce_graph_module torch.fx.graph_module.reduce_package_graph_module
    torch.fx.graph_module.reduce_deploy_graph_module torch.utils.cpp_extension.load
    torch.utils.cpp_extension.load_inline torch._dynamo.guards.GuardBuilder.get
    types.CodeType types.FunctionType types.LambdaType
    """.split()  # noqa: SIM905 - a list of sixty quoted words is hard to read
)

_PREFIXES = ("numpy.testing.", "torch.utils.bottleneck.", "torch.utils.collect_env.", "torch._inductor.")
"""Modules of known packages that run commands or code for their callers."""

_DATA_MODULES = frozenset(
    """
    distutils.version pkg_resources._vendor.packaging.version pkg_resources.extern.packaging.version
    requests.structures setuptools._distutils.version setuptools._vendor.packaging.version
    setuptools.extern.packaging.version urllib.parse
    """.split()  # noqa: SIM905 - the same form as the lists above
)
"""Modules of dangerous packages whose classes only contain data, such as the parts of a URL."""

_DATA_CLASSES = frozenset(
    """
    os.PathLike os.stat_result os.terminal_size os.uname_result
    nt.stat_result nt.terminal_size posix.stat_result posix.terminal_size posix.uname_result
    socket.AddressFamily socket.SocketKind ssl.Options ssl.TLSVersion ssl.VerifyFlags ssl.VerifyMode
    subprocess.CompletedProcess copyreg.__newobj__ copyreg.__newobj_ex__
    """.split()  # noqa: SIM905 - the same form as the lists above
)
"""Names that the rules below would refuse, and that only build data."""

_CONSTANT = re.compile(
    r"socket\.(?:AF|AI|MSG|SOCK)_[A-Z0-9_]+"
    r"|ssl\.(?:ALERT_DESCRIPTION|CERT|OP|PROTOCOL|VERIFY)_[A-Z0-9_]+(?:v[0-9_]+)?"
)
"""Members of enums in dangerous modules: Python 3.11.0 to 3.11.3 pickle them by the name of a constant."""

_PLAIN_SPECIALS = frozenset({"__main__", "__mp_main__", "__init__", "__torch__"})
"""Modules with the form of a special attribute."""

JUDGED_BY_CALL = frozenset({"builtins.getattr", "functools.reduce"})
"""Functions that are dangerous only with some arguments; see `calls`."""


def global_name(module: str, name: str) -> str:
    """Return the dotted name of a global as Python 3 knows it.

    Unpickling translates the names of Python 2, which protocols 0 to 2 also use for those of Python 3.
    """
    module, name = NAME_MAPPING.get((module, name), (module, name))
    return f"{IMPORT_MAPPING.get(module, module)}.{name}"


def is_class_name(name: str) -> bool:
    """Return whether a name has the form of a class: `Strategy`, `_Config`."""
    return name.rpartition(".")[2].lstrip("_")[:1].isupper()


def is_dangerous(dotted: str) -> bool:
    """Return whether a pickle that names this global would run something when it is loaded."""
    module, _, name = dotted.rpartition(".")
    if dotted in _DATA_CLASSES or (module in _DATA_MODULES and is_class_name(name)):
        return False
    if _CONSTANT.fullmatch(dotted):
        return False
    parts = dotted.split(".")
    return (
        parts[0] in _MODULES
        or any(".".join(parts[:count]) in _NAMES for count in range(1, len(parts) + 1))
        or dotted.startswith(_PREFIXES)
        or _has_special(parts)
    )


def is_dangerous_global(module: str, name: str) -> bool:
    """Return whether a global is dangerous by itself or reaches something dangerous through a module.

    The module `torch` and the name `os.system` mean `os.system`, through a module that imports it, and so
    does `_os.system` of `random`.
    """
    parts = name.split(".")
    dotted = global_name(module, name)
    return (
        is_dangerous(dotted)
        or any(".".join(parts[start:]) in _NAMES for start in range(len(parts)))
        or any(_is_module(parts, index) for index in range(len(parts)))
    )


def _is_module(parts: Sequence[str], index: int) -> bool:
    """Return whether a part of a name may be a dangerous module, which is never a member of a class."""
    of_class = index == len(parts) - 1 and index > 0 and is_class_name(parts[index - 1])
    return parts[index].lstrip("_") in _MODULES and not of_class


def is_special(name: str) -> bool:
    """Return whether a name is one of Python's special attributes, which may reach any object."""
    return name.startswith("__") and name.endswith("__") and len(name) > 4 and name not in _PLAIN_SPECIALS


def _has_special(parts: Sequence[str]) -> bool:
    """Return whether a name such as `Linear.forward.__globals__` reaches any object from a harmless one.

    A class's `__new__` builds an object and runs nothing else.
    """
    return any(
        is_special(part) and not (part == "__new__" and index == len(parts) - 1)
        for index, part in enumerate(parts)
        if index
    )
