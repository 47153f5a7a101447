"""The files of a local folder become objects under a prefix, the one that shows that all are there last.

Storage has no folders, so that several objects do not appear at once. Each of them appears complete; a reader
that waits for the last one finds all the others.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pull_logs.errors import NetworkError
from pull_logs.snapshot.storage.systems import StoredObject, object_at


def list_objects(url: str, *, shown: str) -> dict[str, int]:
    """Return the sizes of the objects under a prefix, by their names below it; none if there are none.

    Raises:
        PullLogsError: As `storage_errors`.
    """
    return _sizes(object_at(url, shown=shown))


def upload_folder(folder: Path, url: str, *, shown: str, last: str = "", before: Collection[str] = ()) -> int:
    """Upload the files of a folder, and compare the sizes of the objects with theirs.

    The object `last` is removed first, if it is there, and uploaded after all others. So whenever this ends
    early, it is missing.

    Args:
        folder: The folder.
        url: The prefix.
        shown: The part of the URL that may be shown.
        last: The file that is uploaded after all others; all are uploaded in any order if it is empty.
        before: The names of the objects under the prefix, which are replaced or removed.

    Returns:
        The number of bytes that were uploaded.

    Raises:
        NetworkError: The upload failed, or an object does not have the size of its file.
        PullLogsError: As `storage_errors`.
    """
    target = object_at(url, shown=shown)
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    ordered = [name for name in sorted(files) if name != last]
    with target.errors("written"):
        if last in before:
            target.system.rm_file(_below(target, last))
        for name in sorted(set(before) - files.keys()):
            target.system.rm_file(_below(target, name))
        if ordered:
            target.system.put(
                [str(files[name]) for name in ordered], [_below(target, one) for one in ordered]
            )
    sizes = {name: files[name].stat().st_size for name in ordered}
    _compare(target, sizes)
    if last in files:
        with target.errors("written"):
            target.system.put_file(str(files[last]), _below(target, last))
        sizes[last] = files[last].stat().st_size
        _compare(target, sizes)
    return sum(sizes.values())


def _compare(target: StoredObject, sizes: dict[str, int]) -> None:
    found = _sizes(target)
    wrong = sorted(name for name, size in sizes.items() if found.get(name) != size)
    if wrong:
        raise NetworkError(
            f"the object {target.shown + wrong[0]!r} does not have the size of its file",
            hint="run the same command again; another program may have written it at the same time",
        )


def _sizes(target: StoredObject) -> dict[str, int]:
    return {name: int(info["size"]) for name, info in target.objects_below().items()}


def _below(target: StoredObject, name: str) -> str:
    return f"{target.path.rstrip('/')}/{name}"
