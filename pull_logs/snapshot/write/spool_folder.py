"""The files of a spool: their names, and the plan that the spool belongs to.

    OUT.partial/
      plan.json           what is downloaded; a spool belongs to one plan
      lock                held by the process that downloads
      frames/KEY.frames   the pages of one run as they arrived, each with a checksum
      files/KEY/          files that a run logged, while they are downloaded
      contents/SHA256     a content of artifacts, which several runs may have
      runs/KEY.run        a finished run
      bundle.zip          the bundle, while it is written

KEY is a hash of the path of the run.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from pull_logs.errors import UsageError
from pull_logs.rows.canonical import canon_text
from pull_logs.runs import RunPath
from pull_logs.snapshot.disk import sync_folder, write_file

_PAGES, _SCRATCH, _RUN = ".frames", ".merged", ".run"


def spool_path(out: Path) -> Path:
    """Return the folder of the spool of a bundle, `OUT.partial`."""
    return out.with_name(out.name + ".partial")


@dataclass(frozen=True, slots=True)
class SpoolFolder:
    """The folder of a spool.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def runs(self) -> Path:
        """The folder of the finished runs."""
        return self.path / "runs"

    @property
    def pages(self) -> Path:
        """The folder of the pages of unfinished runs."""
        return self.path / "frames"

    @property
    def files(self) -> Path:
        """The folder of the logged files of unfinished runs."""
        return self.path / "files"

    @property
    def contents(self) -> Path:
        """The folder of the contents of artifacts."""
        return self.path / "contents"

    @property
    def bundle(self) -> Path:
        """The bundle while it is written."""
        return self.path / "bundle.zip"

    def run_file(self, run: RunPath) -> Path:
        """Return the file of a finished run."""
        return self.runs / f"{_key(run)}{_RUN}"

    def page_file(self, run: RunPath) -> Path:
        """Return the file of the pages of a run."""
        return self.pages / f"{_key(run)}{_PAGES}"

    def scratch_file(self, run: RunPath) -> Path:
        """Return the file for the merged rows of a run while it is encoded."""
        return self.pages / f"{_key(run)}{_SCRATCH}"

    def files_of(self, run: RunPath) -> Path:
        """Return the folder of the logged files of a run."""
        return self.files / _key(run)

    def is_run_file(self, file: Path) -> bool:
        """Return whether a file in `runs` is that of a finished run, and not one that was being written."""
        return file.suffix == _RUN

    def is_page_file(self, file: Path) -> bool:
        """Return whether a file in `pages` holds pages, and not merged rows."""
        return file.suffix == _PAGES

    def claim(self, plan: Mapping[str, Any]) -> None:
        """Record the plan that the spool belongs to.

        Raises:
            UsageError: The folder belongs to another plan.
            OSError: The file cannot be written.
        """
        wanted = orjson.dumps(plan, option=orjson.OPT_SORT_KEYS)
        file = self.path / "plan.json"
        if file.exists():
            if file.read_bytes() != wanted:
                raise UsageError(
                    f"{str(self.path)!r} holds what arrived for another selection of runs",
                    hint="run that command again to finish it, pass --fresh, or delete the folder",
                )
            return
        self._discard_unclaimed()
        write_file(file, wanted)

    def _discard_unclaimed(self) -> None:
        """Remove data of no plan, which a removal that was interrupted left; it may be of any selection."""
        found = [folder for folder in self._data() if folder.exists()]
        for folder in found:
            shutil.rmtree(folder)
        if found:
            # Otherwise a loss of power may keep the data and the name of the plan that is written next.
            sync_folder(self.path)

    def create_folders(self) -> None:
        """Create the folders of pages and finished runs, and remove an incomplete bundle."""
        for folder in (self.runs, self.pages):
            folder.mkdir(exist_ok=True)
        self.bundle.unlink(missing_ok=True)

    def remove_leftovers(self, run: RunPath) -> None:
        """Remove what a finished run no longer needs: its pages and the folder of its files."""
        self.remove_pages(run)
        shutil.rmtree(self.files_of(run), ignore_errors=True)

    def remove_pages(self, run: RunPath) -> None:
        """Remove the pages of a run."""
        self.page_file(run).unlink(missing_ok=True)

    def remove_data(self) -> None:
        """Remove everything but the plan and the lock.

        The folder is removed last: if the process is killed meanwhile, the next one finds a spool of the same
        plan, or of no plan, without data.
        """
        for folder in self._data():
            shutil.rmtree(folder, ignore_errors=True)

    def _data(self) -> tuple[Path, ...]:
        return self.runs, self.pages, self.files, self.contents


def _key(run: RunPath) -> str:
    text = canon_text(f"{run.entity}\n{run.project}\n{run.run_id}")
    return hashlib.sha256(text.encode()).hexdigest()[:32]
