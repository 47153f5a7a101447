"""The memory and the input of the own process."""

from __future__ import annotations

from pathlib import Path


def own_peak() -> int:
    """Return the peak memory of this process in bytes; that of `getrusage` may be its parent's."""
    return _status_bytes("VmHWM")


def own_memory() -> int:
    """Return the memory of this process in bytes."""
    return _status_bytes("VmRSS")


def bytes_read() -> int:
    """Return the bytes that this process has read so far, from cached files too."""
    return _number(Path("/proc/self/io"), "rchar")


def _status_bytes(name: str) -> int:
    return _number(Path("/proc/self/status"), name) * 1024


def _number(file: Path, name: str) -> int:
    for line in file.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0
