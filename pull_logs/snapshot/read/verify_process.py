"""Check the members of a bundle in several processes, one of which is this one.

Another process runs this module with the interpreter of this one. It opens the bundle itself, reads the names
of members from its standard input, a list in a line, and writes what it found, until its input ends, as it
does when this process ends for whatever reason. What it does not answer, this process checks.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any, Self

from pull_logs.snapshot.format import MANIFEST, MAX_MANIFEST, open_container, parse_manifest, sha256
from pull_logs.snapshot.read.verify import CheckedMember, Damage, MemberCheck, check_in_threads

_AT_ONCE = 64
"""The members in a line."""

_MANY_MEMBERS = 400
"""From this many members on, another process is worth its start."""


def check_in_processes(
    check: MemberCheck, names: Sequence[str], *, processes: int
) -> dict[str, CheckedMember]:
    """Check members in this process and, if there are many to decode, in others.

    Args:
        check: Checks a member in this process.
        names: The members.
        processes: The number of processes. Others than this one run the interpreter of this one; where that
            fails, this one does all the work. A bundle at a URL is checked by this one, which downloads it.

    Returns:
        What was found, in the order of the names.
    """
    if check.container.remote or not check.deep or processes == 1 or len(names) < _MANY_MEMBERS:
        return check_in_threads(check, names)
    parts = iter([names[start : start + _AT_ONCE] for start in range(0, len(names), _AT_ONCE)])
    turn, found = Lock(), dict[str, CheckedMember]()

    def next_part() -> Sequence[str]:
        with turn:
            return next(parts, ())

    def help_check() -> None:
        with suppress(OSError, ValueError), HelperProcess(check) as helper:
            while part := next_part():
                found.update(helper.check(part))

    with ThreadPoolExecutor(processes - 1) as pool:
        for _ in range(processes - 1):
            pool.submit(help_check)
        if check.meanwhile is not None:
            check.meanwhile()
        while part := next_part():
            found.update({name: check(name) for name in part})
    return {name: found[name] if name in found else check(name) for name in names}


class HelperProcess:
    """Another process that checks members.

    Args:
        check: What this process checks members with.
    """

    def __init__(self, check: MemberCheck) -> None:
        container = check.container
        manifest = sha256(container.read(MANIFEST, limit=MAX_MANIFEST))
        # -P: a module in the current folder is never taken for one of ours.
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", __name__, str(container.path), manifest],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def check(self, names: Sequence[str]) -> dict[str, CheckedMember]:
        """Check members.

        Raises:
            OSError: The process has ended.
            ValueError: It answered something else.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise ValueError("the process has no pipes")
        stdin.write(json.dumps(names) + "\n")
        stdin.flush()
        answers = json.loads(stdout.readline())
        return {name: _from_json(answer) for name, answer in zip(names, answers, strict=True)}


def _to_json(checked: CheckedMember) -> list[Any]:
    hashes = (checked.facts_hash, checked.plain_hash)
    return [
        [asdict(damage) for damage in checked.damages],
        *(None if one is None else one.hex() for one in hashes),
    ]


def _from_json(answer: Sequence[Any]) -> CheckedMember:
    damages, facts, plain = answer
    return CheckedMember(
        damages=tuple(_damage(fields) for fields in damages),
        facts_hash=None if facts is None else bytes.fromhex(facts),
        plain_hash=None if plain is None else bytes.fromhex(plain),
    )


def _damage(fields: Mapping[str, Any]) -> Damage:
    part = fields["byte_range"]
    return Damage(**{**fields, "byte_range": None if part is None else (part[0], part[1])})


def _answers(path: Path, manifest_hash: str, lines: Iterator[str]) -> Iterator[str]:
    """Iterate over the answers to lines of names; none if another bundle is at the path by now."""
    container = open_container(path)
    try:
        data = container.read(MANIFEST, limit=MAX_MANIFEST)
        if sha256(data) != manifest_hash:
            return
        resources = parse_manifest(data, path=str(path), members=container.sizes).members()
        check = MemberCheck(container, resources, deep=True)
        for line in lines:
            yield json.dumps([_to_json(check(name)) for name in json.loads(line)])
    finally:
        container.close()


if __name__ == "__main__":
    for text in _answers(Path(sys.argv[1]), sys.argv[2], iter(sys.stdin)):
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
