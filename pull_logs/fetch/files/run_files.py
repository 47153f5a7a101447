"""The files of one run: listed, left out where they are not wanted, downloaded side by side.

A file that an earlier bundle has with the MD5 that W&B tells is taken from there. One whose
size or MD5 is another than told is listed again, for a run that goes on writes its logs anew;
after some attempts it is told as lost, with the reason, and the run is not whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pull_logs.errors import AccessError
from pull_logs.fetch.api import KeyRefusedError, UnreachableError, UrlRefusedError
from pull_logs.fetch.concurrency import for_each
from pull_logs.fetch.context import Workshop
from pull_logs.fetch.files.download import FileChangedError, at_hand, fetch_file
from pull_logs.fetch.files.listing import ListedFile, list_files, why_unkept
from pull_logs.runs import Coverage, RunPath
from pull_logs.snapshot import RunFile
from pull_logs.snapshot.format import FileSource

_WORKERS = 8
_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Gathered:
    """The files of a run that arrived.

    Attributes:
        sources: Their bytes.
        lost: Why files could not be had, by name.
    """

    sources: tuple[FileSource, ...]
    lost: Mapping[str, str]

    def judge(self, coverage: Coverage) -> Coverage:
        """What of the run arrived, files considered: without one of them it is not whole."""
        if not self.lost or not coverage.complete:
            return coverage
        name = min(self.lost)
        more = f", nor {len(self.lost) - 1} more" if len(self.lost) > 1 else ""
        return replace(
            coverage, complete=False, reason=f"file {name!r} could not be had: {self.lost[name]}{more}"
        )


NOTHING = Gathered((), {})


async def read_files(
    shop: Workshop, path: RunPath, *, earlier: Mapping[str, RunFile] | None = None
) -> Gathered:
    """Bring the files of a run that are wanted into the spool, and those that an earlier bundle has of it.

    Args:
        shop: What reading needs; which files are wanted.
        path: The run.
        earlier: Its files in an earlier bundle: those are brought up to date, whatever is wanted.

    Raises:
        RunNotFoundError: The run was deleted meanwhile.
        AccessError: The API could not be asked.
    """
    if shop.files is None and not earlier:
        return NOTHING
    return await _FileReader(shop, path, earlier or {}).read()


class _FileReader:
    def __init__(self, shop: Workshop, path: RunPath, earlier: Mapping[str, RunFile]) -> None:
        self._shop = shop
        self._path = path
        self._earlier = earlier
        self._found: dict[str, FileSource] = {}
        self._lost: dict[str, str] = {}
        self._folder = Path()
        self._matched = 0

    async def read(self) -> Gathered:
        wanted = await self._list()
        if self._shop.files is not None:
            self._shop.file_tally.asked += 1
            self._shop.file_tally.without += not self._matched
        if wanted:
            self._folder = await self._shop.in_thread(partial(self._shop.spool.files_folder, self._path))
            await for_each(wanted, self._bring, workers=_WORKERS)
        for name in self._lost.keys() & self._earlier.keys():
            self._found[name] = self._earlier[name]
        return Gathered(tuple(self._found.values()), dict(self._lost))

    async def _list(self) -> list[ListedFile]:
        files = self._shop.files
        names: set[str] | None = set(self._earlier)
        if files is not None:
            literal = files.names()
            names = None if literal is None else {*literal, *self._earlier}
        return [
            listed
            async for listed in list_files(self._shop.client, self._path, names=names)
            if self._is_wanted(listed)
        ]

    def _is_wanted(self, listed: ListedFile) -> bool:
        files = self._shop.files
        matches = files is not None and files.matches(listed.name)
        self._matched += matches
        if not matches and listed.name not in self._earlier:
            return False
        limit = files.most_bytes if files else None
        if limit is not None and (listed.size or 0) > limit:
            self._shop.file_tally.left_out.append((self._path, listed.name, listed.size or 0))
            return False
        reason = why_unkept(listed)
        if reason:
            self._lost[listed.name[:80]] = reason
        return not reason

    async def _bring(self, listed: ListedFile) -> None:
        kept = self._earlier.get(listed.name)
        if kept is not None and listed.md5 == kept.md5 and listed.size in (None, kept.size):
            self._found[listed.name] = kept
            return
        place = self._folder / hashlib.sha256(listed.name.encode()).hexdigest()[:32]
        there = await self._shop.in_thread(partial(at_hand, listed, place))
        if there is not None:
            self._found[listed.name] = there
            return
        reason = await self._download(listed, place)
        if reason:
            self._lost[listed.name] = reason

    async def _download(self, listed: ListedFile, place: Path) -> str:
        """Put a file into the spool; why that cannot be, if it cannot."""
        reason = "W&B names no address for it"
        for number in range(_ATTEMPTS):
            # Storage knows its signed URLs without a key; where it takes none, the API's own address may do.
            direct = listed.direct_url if listed.url is None or not number % 2 else None
            url = direct or listed.url
            if url is None:
                return reason
            try:
                reason = await self._try(listed, url, place, signed=direct is not None)
            except AccessError as exc:
                if _concerns_the_api(exc, self._shop.client.host):
                    raise
                return exc.message
            if not reason:
                return ""
            again = [found async for found in list_files(self._shop.client, self._path, names={listed.name})]
            if not again:
                return "it is no longer listed"
            listed = again[0]
        return reason

    async def _try(self, listed: ListedFile, url: str, place: Path, *, signed: bool) -> str:
        """Download a file; why it has to be listed again, if it has."""
        client = self._shop.client
        try:
            found = await fetch_file(client, listed, url, place=place, signed=signed)
        except UrlRefusedError as exc:
            return exc.error.message
        except FileChangedError as exc:
            return str(exc)
        self._found[listed.name] = found
        return ""


def _concerns_the_api(error: AccessError, host: str) -> bool:
    return isinstance(error, KeyRefusedError) or (isinstance(error, UnreachableError) and error.host == host)
