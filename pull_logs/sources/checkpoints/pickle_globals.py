"""The names in a pickle which mean that loading it would do more than build data.

Nothing in a pickle is run here, so this list is not needed to read one safely. It lets the reader report a
file as an attack, so that the user does not load it afterwards. Names that are not listed count as data.
"""

from __future__ import annotations

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

_OLD_NAMES = {"__builtin__": "builtins", "copy_reg": "copyreg"}
"""The names of modules in Python 2, which unpickling translates."""


def global_name(module: str, name: str) -> str:
    """Return the dotted name of a global, with the present name of its module."""
    return f"{_OLD_NAMES.get(module, module)}.{name}"


def is_dangerous(dotted: str) -> bool:
    """Return whether a pickle that names this global would run something when it is loaded."""
    root, *rest = dotted.split(".")
    return (
        dotted in _NAMES
        or root in _MODULES
        or dotted.startswith(_PREFIXES)
        # A name such as "Linear.forward.__globals__" reaches any object from a harmless one.
        or any(part.startswith("__") and part != "__main__" for part in rest)
    )
