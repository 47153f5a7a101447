"""Write the ZIP of a bundle, byte for byte as docs/bundle-format.md, "The ZIP", prescribes.

`zipfile` with a fixed `ZipInfo` writes the same bytes only for small bundles: it switches to ZIP64 fields at
2 GiB and by an estimated size, this format at 4 GiB and by the exact one. The headers also have to be built
here for readers, which compare them (`zip_layout`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import BinaryIO

from pull_logs.errors import BundleDamagedError
from pull_logs.snapshot.format import zip_layout as layout
from pull_logs.snapshot.format.zip_layout import Entry


class ContainerWriter:
    """Writes the ZIP of a bundle from its beginning: members in order, then `finish`.

    Args:
        file: Open for writing, empty, seekable; the caller closes it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._entries: list[Entry] = []
        self._end = 0

    def add(self, name: str, chunks: Iterable[bytes], *, size: int) -> None:
        """Append a member of `size` bytes.

        Raises:
            BundleDamagedError: The chunks hold another number of bytes.
        """
        entry = Entry(name, size, 0, self._end)
        self._file.write(layout.local_header(entry))
        crc = written = 0
        for chunk in chunks:
            self._file.write(chunk)
            crc, written = zlib.crc32(chunk, crc), written + len(chunk)
        if written != size:
            raise BundleDamagedError(
                f"{name!r} has {written} bytes and should have {size}", path=str(self._file.name), member=name
            )
        self._file.seek(self._end + layout.CRC_OFFSET)
        self._file.write(crc.to_bytes(4, "little"))
        self._end = entry.end
        self._file.seek(self._end)
        self._entries.append(Entry(name, size, crc, entry.header))

    def finish(self) -> int:
        """Write the directory; return the size of the complete file in bytes."""
        directory = b"".join(map(layout.central_entry, self._entries))
        end = layout.directory_end(count=len(self._entries), size=len(directory), start=self._end)
        self._file.write(directory + end)
        return self._end + len(directory) + len(end)
