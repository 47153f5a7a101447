"""The names of files inside a bundle, the check of untrusted names, and bundles that are named by a URL.

The files of a run are in `runs/entity=E/project=P/run=ID/`, so that tools that support Hive partitions return
the three as columns. All characters except `A-Z a-z 0-9 . _ -` are percent-encoded. Names that macOS or
Windows would confuse, and names too long for a file system, end in `~` and eight hex digits.

The files that a run logged are in `files/` in its folder, each under its complete name encoded as one
segment, slashes included (`media%2Fa.png`), so that no name is ever used as a path. See
docs/bundle-format.md, "Files".
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from urllib.parse import quote, unquote

from pull_logs.errors import DataError
from pull_logs.rows.canonical import canon_text
from pull_logs.runs import RunPath
from pull_logs.suggestions import listed

FORMAT = "FORMAT"
RUNS = "runs.parquet"
METRICS = "metrics.parquet"
MEDIA = "media.parquet"
MANIFEST = "datapackage.json"
DIGEST = "datapackage-digest.json"
HISTORY = "history.parquet"
SYSTEM = "system.parquet"
CONSOLE = "console.ndjson.zst"
ARTIFACTS = "artifacts.ndjson"
FILES = "files"
TABLE_FOLDER = "tables"

TABLES = (RUNS, METRICS, MEDIA)
"""The tables about all runs, in their order in the bundle."""

MAX_SEGMENT = 160
"""Longest encoded id: with prefix and suffix it is below 255 bytes, the limit of a file name."""

_PLAIN = re.compile(r"[A-Za-z0-9._-]*[A-Za-z0-9_-]")
_SEGMENT = r"(?:[A-Za-z0-9._-]++|%[0-9A-F]{2})++(?:~[0-9a-f]{8})?"
_FOLDER = rf"runs/entity={_SEGMENT}/project={_SEGMENT}/run={_SEGMENT}"
HISTORY_NAME = rf"{_FOLDER}/{re.escape(HISTORY)}"
"""The regular expression of the names of histories."""
_FILE = (
    rf"{FILES}/(?:[A-Za-z0-9._-]|%[0-9A-F]{{2}}){{0,160}}(?:[A-Za-z0-9_-]|%[0-9A-F]{{2}})(?:~[0-9a-f]{{8}})?"
)
_TABLE = (
    rf"{TABLE_FOLDER}/(?:[A-Za-z0-9._-]|%[0-9A-F]{{2}}){{0,160}}(?:[A-Za-z0-9_-]|%[0-9A-F]{{2}})(?:~[0-9a-f]{{8}})?"
    r"/(?:summary|-?[0-9]{1,19})(?:\.[0-9]{1,9})?\.parquet"
)
_MEMBER = re.compile(
    r"FORMAT|(?:runs|metrics|media)\.parquet|datapackage\.json|datapackage-digest\.json"
    r"|contents/[0-9a-f]{64}(?:\.zst)?"
    rf"|{_FOLDER}/(?:(?:history|system)\.parquet|{re.escape(CONSOLE)}|{re.escape(ARTIFACTS)}|{_FILE}(?:\.zst)?|{_TABLE})"
)
_RUN_MEMBER = re.compile(
    rf"runs/entity=({_SEGMENT})/project=({_SEGMENT})/run=({_SEGMENT})"
    rf"/(?:[a-z]+\.parquet|{re.escape(CONSOLE)}|{re.escape(ARTIFACTS)}|{_FILE}(?:\.zst)?|{_TABLE})"
)
_FILE_MEMBER = re.compile(rf"({_FOLDER})/({_FILE})")
_TABLE_MEMBER = re.compile(rf"({_FOLDER})/{_TABLE}")
_RESERVED = re.compile(
    r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?|(?:history|system|runs)\.parquet", re.IGNORECASE
)
"""Names of devices on Windows, and those that patterns like `runs/**/history.parquet` must not match."""


def is_member_name(name: str) -> bool:
    """Return whether a bundle can have a file of this name."""
    return _MEMBER.fullmatch(name) is not None


def is_content_name(name: str) -> bool:
    """Return whether a name is that of a content of artifacts, which a bundle has once."""
    return name.startswith("contents/") and is_member_name(name)


def why_refused(name: str) -> str:
    """Return what is wrong with a name that no bundle has, as the end of a sentence."""
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
    """Return the names of a bundle's members in their order in the ZIP."""
    given = set(names)
    first = [FORMAT, RUNS, *(name for name in TABLES[1:] if name in given)]
    last = [MANIFEST, DIGEST]
    return [*first, *sorted(given.difference(first, last)), *last]


def run_of_member(name: str) -> str | None:
    """Return `entity/project/run_id` according to the name of a run's file, or None for any other file."""
    found = _RUN_MEMBER.fullmatch(name)
    if found is None:
        return None
    return "/".join(unquote(segment.split("~")[0]) for segment in found.groups())


def member_folders(paths: Iterable[RunPath]) -> dict[RunPath, str]:
    """Return the folder of each run; it depends only on the set of runs.

    Raises:
        DataError: A part of a path is empty, or two paths would have the same folder.
    """
    paths = list(paths)
    projects: dict[tuple[str, str], set[str]] = {}
    for path in paths:
        projects.setdefault(path[:2], set()).add(path.run_id)
    parents = project_folders(projects)
    segments = {project: changed_segments(ids) for project, ids in projects.items()}
    return {
        path: run_folder(parents[path[:2]], segments[path[:2]].get(path.run_id, path.run_id))
        for path in paths
    }


def project_folders(projects: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the folder of each project of a bundle, by entity and project.

    Raises:
        DataError: A name is empty, or two would have the same folder.
    """
    of_entity: dict[str, set[str]] = {}
    for entity, project in projects:
        of_entity.setdefault(entity, set()).add(project)
    entities = _segments(set(of_entity))
    return {
        (entity, project): f"runs/entity={entities[entity]}/project={segment}"
        for entity, names in of_entity.items()
        for project, segment in _segments(names).items()
    }


def changed_segments(ids: set[str]) -> dict[str, str]:
    """Return the segments of the run ids of a project that are not the ids themselves.

    Raises:
        DataError: An id is empty, or two would have the same folder.
    """
    return {run_id: segment for run_id, segment in _segments(ids).items() if segment != run_id}


def run_folder(parent: str, segment: str) -> str:
    """Return the folder of a run by the folder of its project and the segment of its id."""
    return f"{parent}/run={segment}"


def folder_of_file(name: str) -> str | None:
    """Return the folder of the run that a logged file belongs to; None for any other member."""
    found = _FILE_MEMBER.fullmatch(name) if f"/{FILES}/" in name else None
    return found and found[1]


def file_members(folder: str, names: Iterable[str]) -> dict[str, str]:
    """Return the member of each file of a run; it depends on the names of all of them.

    Args:
        folder: The run's folder.
        names: The names of its files, all different.

    Raises:
        DataError: A name is empty, or two would have the same member.
    """
    return {name: f"{folder}/{FILES}/{segment}" for name, segment in segments_of(names).items()}


def segments_of(names: Iterable[str]) -> dict[str, str]:
    """Return the segment of each name, which no system takes for a device; it depends on all names.

    Raises:
        DataError: A name is empty, or two would have the same segment.
    """
    segments = _segments(set(names))
    return {
        name: f"%{ord(segment[0]):02X}{segment[1:]}" if _RESERVED.fullmatch(segment) else segment
        for name, segment in segments.items()
    }


def folder_of_table(name: str) -> str | None:
    """Return the folder of the run that a logged table belongs to; None for any other member."""
    found = _TABLE_MEMBER.fullmatch(name) if f"/{TABLE_FOLDER}/" in name else None
    return found and found[1]


def file_name_of(member: str) -> str | None:
    """Return the name of the file in a member; None if it was shortened or marked, and is in the manifest."""
    segment = member.rpartition("/")[2]
    return None if "~" in segment else unquote(segment, errors="replace")


def _segments(texts: set[str]) -> dict[str, str]:
    """Return the encoded form of each of the names in one folder."""
    encoded = {text: _encode(text) for text in texts}
    counts = Counter(segment.lower() for segment in encoded.values())
    if len(counts) == len(encoded):
        return encoded
    for text, segment in encoded.items():
        if counts[segment.lower()] > 1:
            encoded[text] = _marked(segment, text)
    if len({segment.lower() for segment in encoded.values()}) != len(encoded):
        raise DataError(f"two of the names {listed(sorted(texts))} would be the same file")
    return encoded


def _encode(text: str) -> str:
    if not text:
        raise DataError("a run's path has an empty part")
    if len(text) <= MAX_SEGMENT and _PLAIN.fullmatch(text):
        return text
    # quote() keeps "~", which marks the suffix here; Windows drops a full stop at the end of a name.
    pieces = [quote(char, safe="").replace("~", "%7E") for char in canon_text(text)]
    if pieces[-1] == ".":
        pieces[-1] = "%2E"
    segment = "".join(pieces)
    if len(segment) <= MAX_SEGMENT:
        return segment
    while len(segment) > MAX_SEGMENT - 9:  # the length of the suffix
        segment = segment[: -len(pieces.pop())]
    return _marked(segment, text)


def _marked(segment: str, text: str) -> str:
    digest = hashlib.sha256(canon_text(text).encode()).hexdigest()
    return segment if "~" in segment else f"{segment}~{digest[:8]}"


BUNDLE_ENDING = ".wandb.zip"
"""How the name of the file of a bundle ends."""

_CATALOG = re.compile(r"catalog-([0-9]{8})\.parquet")


def catalog_name(version: int) -> str:
    """Return the name of a version of the catalog of a bundle set."""
    return f"catalog-{version:08}.parquet"


def catalog_version(name: str) -> int | None:
    """Return the version of the catalog that a file is; None for any other file."""
    found = _CATALOG.fullmatch(name)
    return found and int(found[1])


_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*::)*[a-z][a-z0-9+.-]+://")


def is_url(text: str) -> bool:
    """Return whether a bundle is given by a URL rather than by a path."""
    return _URL.match(text) is not None


def shown_url(url: str) -> str:
    """Return a URL without the parts that may grant access: user, password, query and fragment."""
    scheme, _, rest = re.split(r"[?#]", url, maxsplit=1)[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
