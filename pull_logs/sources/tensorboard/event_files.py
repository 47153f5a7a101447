"""Reading the event files of one run, in the order of their names, which begin with their times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pull_logs.errors import DataError
from pull_logs.rows.arrays import Ints
from pull_logs.rows.canonical import canon_members
from pull_logs.sources.point_rows import OtherValue, Points, Segment, SegmentWriter, together
from pull_logs.sources.tensorboard.events import START, Event, SummaryValue, read_event
from pull_logs.sources.tensorboard.hparams import PLUGIN, Hyperparameters
from pull_logs.sources.tensorboard.media_files import MediaWriter
from pull_logs.sources.tensorboard.record_framing import BLOCK_BYTES, FileDamage, RecordBlock, RecordReader
from pull_logs.sources.tensorboard.scalar_blocks import ScalarDecoder
from pull_logs.sources.tensorboard.values import read_value
from pull_logs.sources.tensorboard.wire import WireError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(slots=True)
class RunContent:
    """What the event files of a run contain.

    Attributes:
        segments: Its rows, in the order in which they were logged.
        hparams: Its hyperparameters.
        damages: What could not be read, by the name of the file.
        unread: The number of records, and of values in others, that are not valid.
        skipped: The number of values that are not values of a metric, by the name of their plugin.
        records: The number of records.
        first_time: The time of the first event; None without any.
        last_time: The time of the last event.
        version: The version of the files.
        writer: The program that wrote them.
    """

    segments: list[Segment] = field(default_factory=list)
    hparams: Hyperparameters = field(default_factory=Hyperparameters)
    damages: list[tuple[str, FileDamage]] = field(default_factory=list)
    unread: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    records: int = 0
    first_time: float | None = None
    last_time: float | None = None
    version: str | None = None
    writer: str | None = None

    @property
    def points(self) -> int:
        """The number of values."""
        return sum(segment.points for segment in self.segments)

    @property
    def repeated(self) -> int:
        """How many of them have a later value of the same tag and step in their segment."""
        return sum(segment.repeated for segment in self.segments)

    @property
    def torn(self) -> bool:
        """Whether the last file breaks off in a record."""
        return any(damage.torn for _, damage in self.damages)


class RunReader:
    """Reads the event files of one run.

    Attributes:
        content: What was read so far.
    """

    def __init__(self, folder: Path, media: MediaWriter, *, block_bytes: int = BLOCK_BYTES) -> None:
        self.content = RunContent()
        self._block_bytes = block_bytes
        self._folder = folder
        self._media = media
        self._decoder = ScalarDecoder()
        self._plugins: dict[str, str] = {}
        self._writer: SegmentWriter | None = None

    def read(self, files: Sequence[Path]) -> RunContent:
        """Read the files.

        Raises:
            OSError: A file cannot be read, or the rows cannot be written.
        """
        starts = [time for file in files if (time := _first_time(file)) is not None]
        self.content.first_time = min(starts, default=None)
        for file in files:
            self._begin(None)
            with file.open("rb") as source:
                reader = RecordReader(source, block_bytes=self._block_bytes)
                for block in reader:
                    self._take(block)
            self.content.records += reader.records
            self.content.damages += [(file.name, damage) for damage in reader.damages]
        self._finish()
        return self.content

    def _begin(self, start: int | None) -> None:
        """Begin a new segment."""
        self._finish()
        folder = self._folder / f"{len(self.content.segments):06d}"
        folder.mkdir()
        self._writer = SegmentWriter(
            folder, "tensorboard", self.content.first_time or 0.0, self._decoder.tags, start
        )

    def _finish(self) -> None:
        if self._writer is not None:
            self.content.segments.append(self._writer.close())
            self._writer = None

    def _take(self, block: RecordBlock) -> None:
        """Add the records of a block; a session log in it begins a new segment."""
        points, indices = self._decoder.decode(block)
        events = list(self._events(block, indices))
        restart = next((index for index, event in events if event.session == START), None)
        if restart is not None and restart > 0:
            self._take(RecordBlock(block.data, block.starts[:restart], block.ends[:restart]))
            self._take(RecordBlock(block.data, block.starts[restart:], block.ends[restart:]))
            return
        if restart is not None:
            event = events[0][1]
            self._begin(event.step)
            again = [index for index, later in events[1:] if later.session == START]
            if again:
                self._take(RecordBlock(block.data, block.starts[1:], block.ends[1:]))
                return
        self.content.unread += len(indices) - len(events)
        numbers, others = self._values([event for _, event in events])
        assert self._writer is not None  # noqa: S101 - for the type checker: each file begins a segment
        self._writer.add(together(points, numbers), others)
        self._see(points.times.max() if len(points.times) else None, events)

    def _see(self, time: float | None, events: Sequence[tuple[int, Event]]) -> None:
        times = [event.wall_time for _, event in events] + ([] if time is None else [float(time)])
        known = self.content.last_time
        self.content.last_time = max([*times, *([] if known is None else [known])], default=None)

    def _events(self, block: RecordBlock, indices: Ints) -> Iterator[tuple[int, Event]]:
        """Yield the events at some indices of a block that are valid."""
        starts, ends = block.starts[indices].tolist(), block.ends[indices].tolist()
        for index, start, end in zip(indices.tolist(), starts, ends, strict=True):
            try:
                yield index, read_event(block.data[start:end])
            except WireError:
                continue

    def _values(self, events: Sequence[Event]) -> tuple[Points, list[OtherValue]]:
        """Return the numbers of events, and their other values."""
        numbers: list[tuple[int, int, float, float]] = []
        others: list[OtherValue] = []
        tags = self._decoder.tags
        for event in events:
            self.content.version = self.content.version or event.file_version
            self.content.writer = self.content.writer or event.writer
            for value in event.values:
                found = self._value(value, event)
                if isinstance(found, float):
                    tag = tags.setdefault(value.tag, len(tags))
                    numbers.append((tag, event.step, event.wall_time, found))
                elif found is not None:
                    others.append(OtherValue(value.tag, event.step, event.wall_time, found))
        return (
            Points(
                np.array([number[0] for number in numbers], dtype=np.int64),
                np.array([number[1] for number in numbers], dtype=np.int64),
                np.array([number[2] for number in numbers], dtype=np.float64),
                np.array([number[3] for number in numbers], dtype=np.float64),
            ),
            others,
        )

    def _value(self, value: SummaryValue, event: Event) -> object:
        """Return the value of a metric; None if there is none."""
        if value.plugin:
            # The metadata is complete in the first value of a tag only.
            self._plugins.setdefault(value.tag, value.plugin)
        plugin = self._plugins.get(value.tag, "")
        try:
            if plugin == PLUGIN and value.plugin_data:
                self.content.hparams.add(value.plugin_data)
                return None
            found = read_value(value, plugin)
            if isinstance(found, tuple):
                return self._media.value(value.tag, event.step, found)
            if found is not None:
                canon_members({"": found})
        except (WireError, DataError):
            self.content.unread += 1
            return None
        if found is None and plugin != PLUGIN:
            self.content.skipped[plugin or "unknown"] += 1
        return found


def _first_time(file: Path) -> float | None:
    """Return the time of the first event of a file; None without one."""
    with file.open("rb") as source:
        for block in RecordReader(source, block_bytes=2**14):
            for start, end in zip(block.starts.tolist(), block.ends.tolist(), strict=True):
                try:
                    return read_event(block.data[start:end]).wall_time
                except WireError:
                    continue
    return None


def obsolete_from(segments: Sequence[Segment]) -> Iterator[tuple[Segment, Mapping[str, int], int | None]]:
    """Yield each segment, and from which step on each of its columns, or all of them, are obsolete.

    A session log makes all earlier values from its step on obsolete. A later file does so for the tags that
    it has, from their least step on: the run was started again from there, as TensorBoard shows it.
    """
    found: list[tuple[Segment, Mapping[str, int], int | None]] = []
    cuts: dict[str, int] = {}
    start: int | None = None
    for segment in reversed(segments):
        found.append((segment, dict(cuts), start))
        for name, step in segment.first.items():
            cuts[name] = min(step, cuts.get(name, step))
        if segment.start is not None:
            start = segment.start if start is None else min(start, segment.start)
    yield from reversed(found)


@dataclass(slots=True)
class MergedRows:
    """The rows of all segments of a run, merged.

    Attributes:
        obsolete: The number of values that later segments made obsolete; final after the iteration.
    """

    segments: Sequence[Segment]
    obsolete: int = 0

    def batches(self) -> Iterator[pa.Table]:
        """Yield the rows in step order, one per step."""
        from pull_logs.rows.merge import Lane, LanedBatch, merge_batches

        found = []
        self.obsolete = 0
        for segment, cuts, start in obsolete_from(self.segments):
            for batch, lost in segment.batches(cuts, start):
                self.obsolete += lost
                found.append(LanedBatch(Lane.LIVE, batch))
        return merge_batches(found)
