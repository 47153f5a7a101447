"""A bundle in the making: what arrived is on disk, so a crash costs the page that was on its way.

    OUT.partial/
      plan.json           what is being pulled; another plan is another spool
      lock                held by the process that pulls
      frames/KEY.frames   pages of one run as they came, each with a checksum
      runs/KEY.run        a finished run (see `stored`)

KEY is a hash of the run's path. A frame is whole or it is cut off when the
spool is opened again; a run is finished when its file has its name.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import orjson
import pyarrow as pa

from pull_logs.errors import BundleDamagedError, DataError, UsageError
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot.canon import Lane, canon_text
from pull_logs.snapshot.locking import FolderLock
from pull_logs.snapshot.merging import LanedBatch, merge_batches
from pull_logs.snapshot.run import Run
from pull_logs.snapshot.seal import SealReport, seal_runs
from pull_logs.snapshot.stored import StoredRun, copy_run, disk_errors, read_stored, store_run, sync

if TYPE_CHECKING:
    from types import TracebackType

_HEAD = struct.Struct("<4sIQ16s")  # magic, bytes of the header, bytes of the data, checksum of both
_MAGIC = b"WPLF"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A page or shard of a run that arrived.

    Attributes:
        lane: How it came.
        key: Which page or shard it is, in the words of whoever appended it.
        rows: Its rows.
        file: Where it lies.
        start: The offset of its data in the file.
        size: Bytes of its data.
    """

    lane: Lane
    key: str
    rows: int
    file: Path
    start: int
    size: int

    def load(self) -> pa.Table:
        """The batch.

        Raises:
            BundleDamagedError: The file was changed since its checksum was looked at.
        """
        with self.file.open("rb") as source:
            source.seek(self.start)
            data = source.read(self.size)
        try:
            return pa.ipc.open_stream(data).read_all()
        except (pa.ArrowException, OSError) as exc:
            raise BundleDamagedError(
                f"a frame in {str(self.file)!r} is damaged", path=str(self.file)
            ) from exc


class Spool:
    """The folder `OUT.partial` while it is held by this process; use it in `with`.

    `append`, `store`, `finish` and `adopt` may be called from several threads
    at once for different runs.

    Attributes:
        out: The bundle to be.
        folder: Where everything is until then.
    """

    def __init__(self, out: Path, folder: Path, lock: FolderLock) -> None:
        self.out, self.folder, self._lock = out, folder, lock
        self._runs, self._frames = folder / "runs", folder / "frames"
        self._stored: dict[RunPath, StoredRun] = {}
        self._known_frames: dict[RunPath, list[Frame]] = {}
        self._guard = threading.Lock()

    @classmethod
    def open(cls, out: Path, *, plan: Mapping[str, Any]) -> Spool:
        """Begin a spool, or go on with one that was begun under the same plan.

        Args:
            out: The bundle to be.
            plan: What is being pulled, as JSON-like values.

        Raises:
            UsageError: The folder holds another plan's data, or another process works on it.
            FileMissingError: The folder of `out` does not exist.
            PullLogsError: The disk is full or does not take it.
        """
        folder = out.with_name(out.name + ".partial")
        with disk_errors(folder, hint="free some space and run the same command again"):
            folder.mkdir(exist_ok=True)
            lock = FolderLock(folder)
            try:
                _claim(folder, plan)
                spool = cls(out, folder, lock)
                spool._recover()
            except BaseException:
                lock.release()
                raise
        return spool

    @property
    def stored(self) -> Mapping[RunPath, StoredRun]:
        """The runs that are finished, those of earlier attempts included."""
        return MappingProxyType(self._stored)

    def append(self, path: RunPath, lane: Lane, batch: pa.Table, *, key: str) -> None:
        """Keep a page of a run; it is on disk when this returns.

        Args:
            path: The run.
            lane: How the page came.
            batch: Its rows.
            key: Which page it is, to know it again after a crash.

        Raises:
            PullLogsError: The disk is full or does not take it; nothing of the page is left.
        """
        file, data = self._frame_file(path), _encode_frame(lane, batch, key)
        frames = self._frames_of(path)
        with self._writing(), file.open("ab") as out:
            start = out.tell()
            try:
                out.write(data)
                sync(out)
            except BaseException:
                os.truncate(file, start)
                raise
        frames.append(_frame_at(file, data, start))

    def frames(self, path: RunPath) -> Sequence[Frame]:
        """The pages of a run that arrived whole, in the order of their arrival."""
        return tuple(self._frames_of(path))

    def finish(self, info: RunInfo, coverage: Coverage, *, system: pa.Table | None = None) -> StoredRun:
        """Merge and encode the pages of a run; it is finished when this returns, and its pages are removed.

        Raises:
            DataError: A value cannot be kept.
            PullLogsError: The disk is full or does not take it; its pages are kept.
        """
        pages = self._frames_of(info.path)
        stored = self.store(
            info, coverage, [LanedBatch(page.lane, page.load()) for page in pages], system=system
        )
        self._drop_frames(info.path)
        return stored

    def store(
        self,
        info: RunInfo,
        coverage: Coverage,
        batches: Sequence[LanedBatch],
        *,
        system: pa.Table | None = None,
    ) -> StoredRun:
        """Merge and encode a run that is at hand whole; it is finished when this returns.

        Raises:
            DataError: A value cannot be kept.
            PullLogsError: The disk is full or does not take it.
        """
        merged = list(merge_batches(batches))
        with self._writing():
            stored = store_run(
                self._run_file(info.path),
                info=info,
                coverage=coverage,
                batches=lambda: merged,
                system=system,
            )
        self._stored[stored.path] = stored
        return stored

    def adopt(self, run: Run) -> StoredRun:
        """Take a run of another bundle as it is, byte for byte.

        Raises:
            BundleDamagedError: That bundle is damaged.
            PullLogsError: The disk is full or does not take it.
        """
        with self._writing():
            stored = copy_run(self._run_file(run.path), run)
        self._stored[stored.path] = stored
        return stored

    def discard(self, path: RunPath) -> None:
        """Forget a run, finished or not."""
        self._stored.pop(path, None)
        self._run_file(path).unlink(missing_ok=True)
        self._drop_frames(path)

    def seal(self) -> SealReport:
        """Make the bundle of the finished runs, check it, give it its name, and remove the spool.

        Raises:
            BundleDamagedError: What was written is not what can be read; the spool is kept.
            PullLogsError: The disk is full or does not take it; the spool is kept.
        """
        with self._writing():
            report = seal_runs(self._stored.values(), out=self.out, temp=self.folder / "bundle.zip")
        # A plan without runs is no spool, so the plan goes last: killed here, the next one starts anew.
        shutil.rmtree(self._runs, ignore_errors=True)
        shutil.rmtree(self._frames, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.close()
        return report

    def close(self) -> None:
        """Let go of the folder, which stays."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _writing(self) -> Any:
        hint = f"what arrived is kept in {str(self.folder)!r}: free some space and run the same command again"
        return disk_errors(self.out, hint=hint)

    def _recover(self) -> None:
        """Find the finished runs, and cut off what a crash left half-written."""
        for folder in (self._runs, self._frames):
            folder.mkdir(exist_ok=True)
        (self.folder / "bundle.zip").unlink(missing_ok=True)
        for file in sorted(self._runs.iterdir()):
            try:
                stored = read_stored(file)
            except BundleDamagedError:
                file.unlink()
                continue
            self._stored[stored.path] = stored
            (self._frames / f"{file.stem}.frames").unlink(missing_ok=True)
        for file in self._frames.iterdir():
            _cut_torn_tail(file)

    def _frames_of(self, path: RunPath) -> list[Frame]:
        with self._guard:
            frames = self._known_frames.get(path)
        if frames is None:
            file = self._frame_file(path)
            found = list(_walk_frames(file)) if file.exists() else []
            with self._guard:
                frames = self._known_frames.setdefault(path, found)
        return frames

    def _drop_frames(self, path: RunPath) -> None:
        with self._guard:
            self._known_frames.pop(path, None)
        self._frame_file(path).unlink(missing_ok=True)

    def _run_file(self, path: RunPath) -> Path:
        return self._runs / f"{_key(path)}.run"

    def _frame_file(self, path: RunPath) -> Path:
        return self._frames / f"{_key(path)}.frames"


def _claim(folder: Path, plan: Mapping[str, Any]) -> None:
    """Make the folder that of `plan`, unless it is another's."""
    wanted = orjson.dumps(plan, option=orjson.OPT_SORT_KEYS)
    file = folder / "plan.json"
    if file.exists():
        if file.read_bytes() != wanted:
            raise UsageError(
                f"{str(folder)!r} holds what arrived for another selection of runs",
                hint="run that command again to finish it, pass --fresh, or delete the folder",
            )
        return
    temp = folder / "plan.json.tmp"
    with temp.open("wb") as out:
        out.write(wanted)
        sync(out)
    temp.replace(file)


def _key(path: RunPath) -> str:
    return hashlib.sha256(canon_text(f"{path.entity}\n{path.project}\n{path.run_id}").encode()).hexdigest()[
        :32
    ]


def _encode_frame(lane: Lane, batch: pa.Table, key: str) -> bytes:
    header = orjson.dumps({"lane": int(lane), "key": canon_text(key), "rows": batch.num_rows})
    sink = io.BytesIO()
    try:
        with pa.ipc.new_stream(
            sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")
        ) as writer:
            writer.write_table(batch)
    except pa.ArrowException as exc:
        raise DataError(f"page {key!r} cannot be kept: {exc}") from exc
    data = sink.getvalue()
    return _HEAD.pack(_MAGIC, len(header), len(data), _checksum(header, data)) + header + data


def _checksum(header: bytes, data: bytes) -> bytes:
    digest = hashlib.blake2b(header, digest_size=16)
    digest.update(data)
    return digest.digest()


def _frame_at(file: Path, data: bytes, start: int) -> Frame:
    _, named, size, _ = _HEAD.unpack_from(data)
    header = orjson.loads(data[_HEAD.size : _HEAD.size + named])
    return Frame(
        lane=Lane(header["lane"]),
        key=header["key"],
        rows=header["rows"],
        file=file,
        start=start + _HEAD.size + named,
        size=size,
    )


def _walk_frames(file: Path) -> Iterator[Frame]:
    """The frames of a file up to the first that is not whole."""
    with file.open("rb") as source:
        while data := _read_frame(source):
            yield _frame_at(file, data, source.tell() - len(data))


def _read_frame(source: BinaryIO) -> bytes:
    """The bytes of the next frame, or none where there is no whole one."""
    left = os.fstat(source.fileno()).st_size - source.tell()
    head = source.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return b""
    magic, named, size, checksum = _HEAD.unpack(head)
    if magic != _MAGIC or named + size > left:
        return b""
    header, data = source.read(named), source.read(size)
    whole = len(header) == named and len(data) == size and _checksum(header, data) == checksum
    return head + header + data if whole else b""


def _cut_torn_tail(file: Path) -> None:
    end = 0
    for frame in _walk_frames(file):
        end = frame.start + frame.size
    if end < file.stat().st_size:
        os.truncate(file, end)
