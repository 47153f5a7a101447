"""The contents of a checkpoint file: PyTorch's formats, safetensors, JSON and plain pickles.

No tensor is read, except a step that is one (`scalars`), and no code in a file is run. Of a file of tens of
gigabytes, only its directory and the pickle that describes it are read.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, BinaryIO, cast

from pull_logs.errors import DamageError, DataError, UnsafeFileError
from pull_logs.rows.canonical import parse_json
from pull_logs.sources.checkpoints.pickles import read_pickle
from pull_logs.sources.checkpoints.safetensors import looks_like_safetensors, read_safetensors_metadata
from pull_logs.sources.checkpoints.scalars import MAX_STORAGE, with_scalars

MAX_TEXT_FILE = 1 << 26
"""The most bytes of a JSON or text file next to a checkpoint; the `Trainer` writes its log to one."""

MAX_INFLATED = 1 << 28
"""The most bytes that a compressed archive member may unpack to."""

_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How members are compressed: PyTorch stores them, and other tools may pack the archive again."""

_ARCHIVE_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    NotImplementedError,  # a version, a compression or an encryption that `zipfile` does not read
    RuntimeError,  # an encrypted member
    EOFError,
    UnicodeDecodeError,  # a name marked as UTF-8 that is not
    OverflowError,
)
"""What `zipfile` raises for damaged archives."""

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_BUFFER = 1 << 16


def read_contents(path: Path) -> object:
    """Read the contents of a file.

    Raises:
        OSError: It cannot be read.
        UnsafeFileError: Loading it would run code, or it exceeds the limits.
        DamageError: It is not a checkpoint, or is damaged.
    """
    if path.suffix == ".json":
        return read_json(path)
    with path.open("rb", buffering=_BUFFER) as source:
        return read_stream(source, name=str(path), safetensors=path.suffix == ".safetensors")


def read_stream(source: BinaryIO, *, name: str, safetensors: bool = False) -> object:
    """Read the contents of a buffered file.

    Args:
        source: The file, at its start; it must be seekable.
        name: Its name, for errors.
        safetensors: Whether its name ends in `.safetensors`, so that a damaged header is reported as such.

    Raises:
        UnsafeFileError: Loading it would run code, or it exceeds the limits.
        DamageError: It is not a checkpoint, or is damaged.
    """
    start = source.read(16)
    source.seek(0)
    if start.startswith(b"PK\x03\x04"):
        return _archive_contents(source, name)
    if safetensors or looks_like_safetensors(start):
        return read_safetensors_metadata(source, name=name)
    if start[:1] in (b"\x80", b"}", b"(", b"]", b"c"):
        return _pickle_contents(source, name)
    raise DamageError(
        f"{name!r} is not a checkpoint file of a known format",
        hint="PyTorch and safetensors files can be read; name the run of another with -r or a sidecar",
    )


def read_json(file: Path) -> object:
    """Read a JSON file.

    Raises:
        OSError: It cannot be read.
        DamageError: It is not JSON, or too large.
    """
    try:
        value: object = parse_json(read_text(file))
    except DataError as exc:
        raise DamageError(f"{str(file)!r} is {exc.message}") from exc
    return value


def read_text(file: Path) -> str:
    """Read a text file.

    Raises:
        OSError: It cannot be read.
        DamageError: It is too large.
    """
    with file.open("rb") as source:
        data = source.read(MAX_TEXT_FILE + 1)
    if len(data) > MAX_TEXT_FILE:
        raise DamageError(f"{str(file)!r} is larger than the {MAX_TEXT_FILE} bytes that a sidecar may have")
    return data.decode("utf-8", "replace")


def _archive_contents(source: BinaryIO, name: str) -> object:
    """Read the `data.pkl` of a file written by `torch.save`."""
    try:
        with zipfile.ZipFile(source) as archive:
            members = [info for info in archive.infolist() if Path(info.filename).name == "data.pkl"]
            if not members:
                raise DamageError(f"{name!r} is an archive, but not one of PyTorch: it has no data.pkl")
            if any(info.header_offset < 0 for info in archive.infolist()):
                raise DamageError(f"checkpoint {name!r} is a damaged archive: a member begins before it")
            member = min(members, key=lambda info: info.filename.count("/"))
            if member.compress_type not in _COMPRESSIONS:
                raise DamageError(
                    f"checkpoint {name!r} is an archive whose data.pkl has an unknown compression"
                )
            if member.compress_type != zipfile.ZIP_STORED and member.file_size > MAX_INFLATED:
                raise UnsafeFileError(
                    f"checkpoint {name!r} holds a data.pkl that unpacks to {member.file_size} bytes",
                    hint="name the run with -r",
                )
            with archive.open(member) as stream:
                value = _checked_pickle(stream, name)
            return with_scalars(value, lambda key: _storage(archive, member.filename, key))
    except _ARCHIVE_ERRORS as exc:
        raise DamageError(f"checkpoint {name!r} is a damaged archive: {exc}") from exc


def _storage(archive: zipfile.ZipFile, pickle: str, key: str) -> bytes | None:
    """Return the bytes of a storage of at most `MAX_STORAGE` bytes; None for any other."""
    folder = pickle.removesuffix("data.pkl")
    names = set(archive.namelist())
    if f"{folder}data/{key}" not in names:
        return None
    member = archive.getinfo(f"{folder}data/{key}")
    order = f"{folder}byteorder"
    if member.compress_type not in _COMPRESSIONS:
        return None
    if member.file_size > MAX_STORAGE or (
        order in names and archive.getinfo(order).file_size != len("little")
    ):
        return None
    return archive.read(member)


def _checked_pickle(stream: IO[bytes], name: str) -> object:
    buffered = io.BufferedReader(cast("io.RawIOBase", stream), _BUFFER)
    value = read_pickle(buffered, name=name)
    # The checksum of the member is verified at its end.
    while buffered.read(_BUFFER):
        pass
    return value


def _pickle_contents(source: BinaryIO, name: str) -> object:
    """Read a plain pickle, or PyTorch's old format: magic number, protocol, machine, value."""
    value = read_pickle(source, name=name)
    if value != _LEGACY_MAGIC:
        return value
    protocol = read_pickle(source, name=name)
    if protocol != _LEGACY_PROTOCOL:
        raise DamageError(f"{name!r} is of version {protocol!r} of PyTorch's old format, which is unknown")
    read_pickle(source, name=name)
    return read_pickle(source, name=name)
