"""Images and sounds of event files as files of a run, and the values that point to them.

The names and the values are those of W&B: `media/images/TAG_STEP_HASH.png` and
`{"_type": "image-file", "path": ..., "format": "png", ...}`.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from pull_logs.snapshot import FileSelection
from pull_logs.snapshot.format import record_of
from pull_logs.sources.scratch_file import ScratchFile
from pull_logs.sources.tensorboard.values import Media
from pull_logs.sources.tracked_runs import path_part

_FOLDERS: Mapping[str, str] = {"image": "media/images", "audio": "media/audio"}
_TYPES = mimetypes.MimeTypes()
_HASH_DIGITS = 20


@dataclass(slots=True)
class MediaWriter:
    """Writes the selected files to a folder.

    Attributes:
        folder: The folder, which is created with the first file.
        selection: The files to write; None writes none.
        files: The files so far, by name.
    """

    folder: Path
    selection: FileSelection | None
    files: dict[str, ScratchFile] = field(default_factory=dict)

    def value(self, tag: str, step: int, items: tuple[Media, ...]) -> Any:
        """Return the value that points to the files of some media, which are written if they are selected.

        Raises:
            OSError: A file cannot be written.
        """
        pointers = [self._pointer(tag, step, item) for item in items]
        return pointers[0] if len(pointers) == 1 else pointers

    def _pointer(self, tag: str, step: int, item: Media) -> dict[str, Any]:
        digest = sha256(item.data).hexdigest()
        tag_part = "/".join(path_part(part) or "~" for part in tag.split("/"))
        name = f"{_FOLDERS[item.kind]}/{tag_part}_{step}_{digest[:_HASH_DIGITS]}.{item.format}"
        selection = self.selection
        if selection is not None and selection.matches(name) and selection.allows_size(len(item.data)):
            self._write(name, item.data)
        return {
            "_type": f"{item.kind}-file",
            "format": item.format,
            "path": name,
            "sha256": digest,
            "size": len(item.data),
            **item.facts,
        }

    def _write(self, name: str, data: bytes) -> None:
        if name in self.files:
            return
        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"{len(self.files):06d}"
        path.write_bytes(data)
        mediatype, _ = _TYPES.guess_type(name)
        self.files[name] = ScratchFile(record_of(name, [data], mediatype=mediatype), path)
