"""The names that files have inside a bundle, and the law by which a stranger's names are refused.

A run's files lie in `runs/entity=E/project=P/run=ID/`, so that tools that know
Hive partitions give the three as columns. Whatever is not `A-Z a-z 0-9 . _ -`
is percent-encoded; names that macOS or Windows would take for one another, and
names too long for a file system, end in `~` and eight hex digits.

The files that a run logged lie in `files/` below its folder, each under its
whole name encoded as one segment, slashes and all (`media%2Fa.png`). So no name,
whatever it says, is ever a path.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

from pull_logs.errors import DataError
from pull_logs.rows.canonical import canon_text
from pull_logs.runs import RunPath

FORMAT = "FORMAT"
RUNS = "runs.parquet"
MANIFEST = "datapackage.json"
DIGEST = "datapackage-digest.json"
HISTORY = "history.parquet"
SYSTEM = "system.parquet"
FILES = "files"

MAX_SEGMENT = 160
"""Longest encoded id: with its prefix and suffix it stays under the 255 bytes of a file name."""

_PLAIN = re.compile(r"[A-Za-z0-9._-]*[A-Za-z0-9_-]")
_SEGMENT = r"(?:[A-Za-z0-9._-]|%[0-9A-F]{2})+(?:~[0-9a-f]{8})?"
_FOLDER = rf"runs/entity={_SEGMENT}/project={_SEGMENT}/run={_SEGMENT}"
_FILE = (
    rf"{FILES}/(?:[A-Za-z0-9._-]|%[0-9A-F]{{2}}){{0,160}}(?:[A-Za-z0-9_-]|%[0-9A-F]{{2}})(?:~[0-9a-f]{{8}})?"
)
_MEMBER = re.compile(
    r"FORMAT|runs\.parquet|datapackage\.json|datapackage-digest\.json"
    rf"|{_FOLDER}/(?:(?:history|system)\.parquet|{_FILE})"
)
_RUN_MEMBER = re.compile(
    rf"runs/entity=({_SEGMENT})/project=({_SEGMENT})/run=({_SEGMENT})/(?:[a-z]+\.parquet|{_FILE})"
)
_FILE_MEMBER = re.compile(rf"({_FOLDER})/({_FILE})")
_RESERVED = re.compile(
    r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?|(?:history|system|runs)\.parquet", re.IGNORECASE
)
"""Names that Windows takes for devices, and those that `runs/**/history.parquet` and the like must not find."""


def is_member_name(name: str) -> bool:
    """Whether a bundle may hold a file of that name at all."""
    return _MEMBER.fullmatch(name) is not None


def why_refused(name: str) -> str:
    """What is wrong with a name that no bundle has: the end of a sentence."""
    if "\x00" in name:
        return "holds a NUL"
    if "\\" in name:
        return "holds a backslash"
    if name.startswith("/"):
        return "is an absolute path"
    if re.match(r"[A-Za-z]:", name):
        return "names a drive"
    if ".." in name.split("/"):
        return "climbs out of the bundle"
    return "is not the name of a file in a bundle"


def member_order(names: Iterable[str]) -> list[str]:
    """The names of a bundle's members in the order of their places in the ZIP."""
    first, last = (FORMAT, RUNS), (MANIFEST, DIGEST)
    return [*first, *sorted(set(names).difference(first, last)), *last]


def run_of_member(name: str) -> str | None:
    """`entity/project/run_id` as the name of a run's file tells it, or None for any other file."""
    found = _RUN_MEMBER.fullmatch(name)
    if found is None:
        return None
    return "/".join(unquote(segment.split("~")[0]) for segment in found.groups())


def member_folders(paths: Iterable[RunPath]) -> dict[RunPath, str]:
    """The folder of each run, by the law of this module; it depends on the set of runs alone.

    Raises:
        DataError: A part of a path is empty, or two paths cannot be told apart.
    """
    paths = list(paths)
    projects: dict[str, dict[str, set[str]]] = {}
    for path in paths:
        projects.setdefault(path.entity, {}).setdefault(path.project, set()).add(path.run_id)
    entities = _segments(set(projects))
    folders: dict[str, dict[str, dict[str, str]]] = {}
    for entity, runs in projects.items():
        parents = folders[entity] = {}
        for project, segment in _segments(set(runs)).items():
            parent = f"runs/entity={entities[entity]}/project={segment}"
            parents[project] = {
                run_id: f"{parent}/run={run}" for run_id, run in _segments(runs[project]).items()
            }
    return {path: folders[path.entity][path.project][path.run_id] for path in paths}


def folder_of_file(name: str) -> str | None:
    """The run's folder that holds a file of that run; None for any other member."""
    found = _FILE_MEMBER.fullmatch(name) if f"/{FILES}/" in name else None
    return found and found[1]


def file_members(folder: str, names: Iterable[str]) -> dict[str, str]:
    """The member that holds each of the files of a run; it depends on the names of all of them.

    Args:
        folder: The run's folder.
        names: The names of its files, no two the same.

    Raises:
        DataError: A name is empty, or two cannot be told apart.
    """
    members = {}
    for name, segment in _segments(set(names)).items():
        safe = f"%{ord(segment[0]):02X}{segment[1:]}" if _RESERVED.fullmatch(segment) else segment
        members[name] = f"{folder}/{FILES}/{safe}"
    return members


def file_name_of(member: str) -> str | None:
    """The name that a file's member stands for; None where its name was cut or marked, and is told elsewhere."""
    segment = member.rpartition("/")[2]
    return None if "~" in segment else unquote(segment, errors="replace")


def _segments(texts: set[str]) -> dict[str, str]:
    """The encoded form of each of the names that share a folder."""
    encoded = {text: _encode(text) for text in texts}
    spellings: dict[str, int] = {}
    for segment in encoded.values():
        folded = segment.lower()
        spellings[folded] = spellings.get(folded, 0) + 1
    if len(spellings) == len(encoded):
        return encoded
    for text, segment in encoded.items():
        if spellings[segment.lower()] > 1:
            encoded[text] = _marked(segment, text)
    if len({segment.lower() for segment in encoded.values()}) != len(encoded):
        raise DataError(f"among {sorted(texts)[:5]!r} are names that no file system can tell apart")
    return encoded


def _encode(text: str) -> str:
    if not text:
        raise DataError("a run's path has an empty part")
    if len(text) <= MAX_SEGMENT and _PLAIN.fullmatch(text):
        return text
    # quote() lets "~" pass, which marks the suffix here; Windows drops a full stop at the end of a name.
    pieces = [quote(char, safe="").replace("~", "%7E") for char in canon_text(text)]
    if pieces[-1] == ".":
        pieces[-1] = "%2E"
    segment = "".join(pieces)
    if len(segment) <= MAX_SEGMENT:
        return segment
    room = MAX_SEGMENT - 9
    while len(segment) > room:
        segment = segment[: -len(pieces.pop())]
    return _marked(segment, text)


def _marked(segment: str, text: str) -> str:
    digest = hashlib.sha256(canon_text(text).encode()).hexdigest()
    return segment if "~" in segment else f"{segment}~{digest[:8]}"
