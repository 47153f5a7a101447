"""What a process says of its own memory."""

from __future__ import annotations

from pathlib import Path


def own_peak() -> int:
    """Most bytes that this process had: `getrusage` would tell those of the parent if they were more."""
    return _told("VmHWM")


def own_memory() -> int:
    """Bytes that this process has now."""
    return _told("VmRSS")


def bytes_read() -> int:
    """Bytes that this process has asked the system for so far, from files that were in memory as well."""
    return _number(Path("/proc/self/io"), "rchar")


def _told(name: str) -> int:
    return _number(Path("/proc/self/status"), name) * 1024


def _number(file: Path, name: str) -> int:
    for line in file.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0
