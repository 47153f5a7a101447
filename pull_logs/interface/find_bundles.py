"""The bundles that a name means: a file, an unzipped bundle, a set, a folder or glob of bundles, or a URL."""

from __future__ import annotations

from collections.abc import Iterable
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING

from pull_logs.errors import FileMissingError, UsageError
from pull_logs.suggestions import did_you_mean

if TYPE_CHECKING:
    from pull_logs.interface.run_sources import BundleSource

_ENDING = ".wandb.zip"
_MANIFEST = "datapackage.json"


def find_bundles(names: Iterable[Path | str]) -> list[Path | str]:
    """Return the bundles that these names mean, each once; those of a folder or a glob are sorted.

    Args:
        names: Paths, globs and URLs. A path that exists is never read as a glob.

    Raises:
        UsageError: A name is empty.
        FileMissingError: A folder or a glob has no bundle.
    """
    found: list[Path | str] = []
    for name in names:
        found += _meant_by(name)
    return list(dict.fromkeys(found))


def check_bundles(bundles: Iterable[BundleSource]) -> None:
    """Check that these are bundles or name bundles, without reading what is in them (`check_location`).

    Raises:
        PullLogsError: As `open_bundle` does for one of them.
    """
    from pull_logs.snapshot import check_location

    for path in find_bundles(bundle for bundle in bundles if isinstance(bundle, (Path, str))):
        check_location(path)


def _meant_by(name: Path | str) -> list[Path | str]:
    if name == "":
        raise UsageError("-b '' names no bundle", hint="give a file, a folder or a glob of bundles, or a URL")
    from pull_logs.snapshot import is_bundle_set
    from pull_logs.snapshot.format import is_url

    if isinstance(name, str) and is_url(name):
        return [name]
    path = Path(name)
    if path.is_dir() and not (path / _MANIFEST).exists() and not is_bundle_set(path):
        return [*_of_folder(path)]
    if not path.exists() and has_magic(str(path)):
        return [*_of_glob(str(path))]
    return [path]


def _of_folder(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if _is_bundle(path))
    if found:
        return found
    below = sorted(folder.glob(f"*/*{_ENDING}"))
    hint = f"there are bundles in {str(below[0].parent)!r}" if below else f"bundles are called NAME{_ENDING}"
    raise FileMissingError(f"the folder {str(folder)!r} has no bundles", hint=hint)


def _of_glob(pattern: str) -> list[Path]:
    matched = sorted(map(Path, glob(pattern, recursive=True)))  # noqa: PTH207 - absolute patterns too
    found = [path for path in matched if path.is_file() or _is_bundle(path)]
    if found:
        return found
    folder = Path(pattern).parent
    others = [] if has_magic(str(folder)) or not folder.is_dir() else [p.name for p in folder.iterdir()]
    hint = did_you_mean(Path(pattern).name, others, otherwise="check the folder and the pattern", cutoff=0.3)
    raise FileMissingError(f"the glob {pattern!r} matches no bundle", hint=hint)


def _is_bundle(path: Path) -> bool:
    return path.name.endswith(_ENDING) or (path / _MANIFEST).is_file()
