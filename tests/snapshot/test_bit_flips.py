"""Every change of the bytes of a recorded bundle is found and located, and never read as rows.

Edits are random but seeded. Half of the offsets are drawn from all bytes, half from the parts of the
ZIP (each header, each file, each directory entry with the same weight), so that small parts are changed too.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pytest
from artifactkit import Version, artifacts_of, reference
from checkout import RECORDED
from consolekit import console_of, printed

from pull_logs.errors import PullLogsError
from pull_logs.snapshot.format.container import ZipContainer
from pull_logs.snapshot.format.names import run_of_member
from pull_logs.snapshot.read import parquet_member
from pull_logs.snapshot.read.bundle import Bundle, open_bundle
from pull_logs.snapshot.read.run import Run
from pull_logs.snapshot.read.verify import CONTAINER, Damage, verify_bundle
from pull_logs.snapshot.write.run_sources import CopiedRun
from pull_logs.snapshot.write.seal import write_bundle

WEIGHTS = Version({"w.bin": bytes(range(256)) * 40, "empty": b""}, metadata={"acc": 0.5})
DATA = Version(
    {"a.txt": b"one", "b.txt": b"two", "long.csv": b"".join(b"%d,%d\n" % (n, n * n) for n in range(300))},
    name="data",
    algorithm="XXH128",
    references=[reference("c", "s3://b/k")],
)

RUNS = ("kill1e2s", "mlp5e2s0", "nan1e6s0")
"""A killed run, one of another model, and one whose loss became NaN; each has mixed columns and media."""

SLOW = (pytest.mark.slow, pytest.mark.timeout(1200))


def counts(sample: int, full: int, *, parts: int) -> pytest.MarkDecorator:
    """A sample for every day, and the rest in parts of a few minutes; each part draws different changes."""
    every = [pytest.param(full // parts, part, id=f"part-{part}", marks=SLOW) for part in range(parts)]
    return pytest.mark.parametrize(("count", "seed"), [pytest.param(sample, -1, id="sample"), *every])


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the ZIP: the content of a file, the header before it, its directory entry, or the end record.

    Attributes:
        member: The file that it belongs to; "container" for the end record.
        content: Whether it is the content of the file.
    """

    start: int
    end: int
    member: str
    content: bool


@dataclass(frozen=True, slots=True)
class Whole:
    """The bundle as it was written.

    Attributes:
        data: Its bytes.
        parts: The parts of the ZIP.
        readings: Per run, all that reading it returns.
        tables: Per run, its facts and the tables of its rows.
    """

    data: bytes
    parts: tuple[Part, ...]
    readings: dict[str, str]
    tables: dict[str, bytes]

    def around(self, position: int) -> Part:
        return next(part for part in self.parts if part.start <= position < part.end)

    def position(self, chance: random.Random) -> int:
        if chance.random() < 0.5:
            return chance.randrange(len(self.data))
        part = chance.choice(self.parts)
        return chance.randrange(part.start, part.end)


def parts_of(path: Path) -> Iterator[Part]:
    container = ZipContainer(path)
    entries, position = container.entries, 0
    for name, entry in entries.items():
        yield Part(entry.header, entry.start, name, content=False)
        yield Part(entry.start, entry.end, name, content=True)
        position = entry.end
    for name in entries:
        yield Part(position, position := position + 46 + len(name), name, content=False)
    yield Part(position, container.length, CONTAINER, content=False)
    container.close()


def logged_by(run: Run) -> object:
    """Return the console log of a run and its artifacts, with the bytes of their files."""
    artifacts = [*run.logged_artifacts(), *run.used_artifacts()]
    entries = [
        (artifact.record, entry.entry, entry.content and entry.read())
        for artifact in artifacts
        for entry in artifact.entries.values()
    ]
    return list(run.console_logs()), entries


def reading_of(run: Run) -> str:
    """Return all content of a run, including kinds and NaN."""
    rows = list(run.scan_history()), list(run.system_rows())
    return repr((run.info, run.coverage, rows, logged_by(run)))


def tables_of(run: Run) -> bytes:
    """Return facts and tables of a run as bytes: if they are equal, the rows are."""
    digest = hashlib.sha256(repr((run.info, run.coverage, logged_by(run))).encode())
    system = run.system_table()
    for table in [*run.batches(), *([] if system is None else [system])]:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as out:
            out.write_table(table)
        digest.update(sink.getvalue())
    return digest.digest()


def says_the_same(run: Run, intact: Whole) -> bool:
    name = str(run.path)
    return tables_of(run) == intact.tables[name] or reading_of(run) == intact.readings[name]


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    path = tmp_path_factory.mktemp("intact") / "a.wandb.zip"
    with open_bundle(RECORDED) as recorded:
        runs = [recorded[run_id] for run_id in RUNS]
        printing = CopiedRun(
            run=runs[0], console=console_of(printed(60)), artifacts=artifacts_of([WEIGHTS], [DATA])
        )
        write_bundle(path, [printing, *runs[1:]], force=True)
    assert verify_bundle(path).damages == ()
    parts = tuple(part for part in parts_of(path) if part.start < part.end)
    assert parts[0].start == 0
    assert all(left.end == right.start for left, right in pairwise(parts))
    with open_bundle(path) as bundle:
        readings = {str(run.path): reading_of(run) for run in bundle.runs()}
        tables = {str(run.path): tables_of(run) for run in bundle.runs()}
        assert len(set(tables.values())) == len(readings)
        return Whole(path.read_bytes(), parts, readings, tables)


def silently_wrong(path: Path, intact: Whole) -> list[str]:
    """Return the runs that are read with other content than was written, without an error."""
    try:
        bundle = open_bundle(path)
    except PullLogsError:
        return []
    with bundle:
        if bundle.run_paths != tuple(intact.readings):
            return ["run_paths"]
        return [name for name in intact.readings if reads_wrong(bundle, name, intact)]


def reads_wrong(bundle: Bundle, name: str, intact: Whole) -> bool:
    try:
        return not says_the_same(bundle[name], intact)
    except PullLogsError:
        return False


def readable(path: Path, intact: Whole) -> set[str]:
    """Return the runs that can still be read as large files are: by page, without a hash of the file."""
    try:
        bundle = open_bundle(path)
    except PullLogsError:
        return set()
    with bundle, pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_member, "SMALL_FILE", 0)
        found = set()
        for name in intact.readings:
            try:
                assert says_the_same(bundle[name], intact), name
            except PullLogsError:
                continue
            found.add(name)
        return found


def check_location(damages: tuple[Damage, ...], part: Part, offset: int) -> None:
    """Check that a flip is located; `offset` counts from the beginning of the part."""
    assert damages
    if not part.content:
        assert {damage.member for damage in damages} <= {part.member, CONTAINER}
        return
    for damage in damages:
        assert (damage.member, damage.run) == (part.member, run_of_member(part.member))
        if damage.byte_range is not None:
            assert damage.byte_range[0] <= offset < damage.byte_range[1]


def sharpness(damages: tuple[Damage, ...], part: Part) -> str:
    """Return how exactly damage was located."""
    if not part.content or run_of_member(part.member) is None:
        return "member"
    if damages[0].column:
        return "column"
    return "bytes" if damages[0].byte_range else "run"


@counts(50, 10_000, parts=20)
def test_every_flipped_bit_is_found_and_located_and_never_read_as_rows(
    intact: Whole, tmp_path: Path, count: int, seed: int
) -> None:
    chance, path, located = random.Random(seed), tmp_path / "a.wandb.zip", Counter[str]()
    path.write_bytes(intact.data)
    for _ in range(count):
        position, bit = intact.position(chance), chance.randrange(8)
        part = intact.around(position)
        with path.open("r+b") as file:
            file.seek(position)
            file.write(bytes([intact.data[position] ^ 1 << bit]))
        where = f"bit {bit} of byte {position - part.start} of {part}"
        damages = verify_bundle(path).damages
        check_location(damages, part, position - part.start)
        located[sharpness(damages, part)] += 1
        assert silently_wrong(path, intact) == [], where
        left = readable(path, intact)
        if part.content and (hurt := run_of_member(part.member)):
            assert left >= intact.readings.keys() - {hurt}, where
        with path.open("r+b") as file:
            file.seek(position)
            file.write(intact.data[position : position + 1])
    assert path.read_bytes() == intact.data
    print(dict(located))  # noqa: T201 - `pytest -s` shows how exactly


def cut(intact: Whole, chance: random.Random) -> tuple[bytes, int, int]:
    """Return the bundle without its end or without some bytes inside, and their range."""
    start = intact.position(chance)
    end = (
        len(intact.data)
        if chance.random() < 0.5
        else min(start + chance.randrange(1, 5000), len(intact.data))
    )
    return intact.data[:start] + intact.data[end:], start, end


def edited(intact: Whole, chance: random.Random) -> tuple[bytes, int, int]:
    """Return the bundle with up to 512 bytes zeroed, random or copied from elsewhere, and their range."""
    while True:
        start = intact.position(chance)
        size = min(chance.choice([2, 3, 8, 64, 512]), len(intact.data) - start)
        other = chance.randrange(len(intact.data) - size)
        new = chance.choice([bytes(size), chance.randbytes(size), intact.data[other : other + size]])
        data = intact.data[:start] + new + intact.data[start + size :]
        if data != intact.data:
            return data, start, start + size


Change: TypeAlias = Callable[[Whole, random.Random], tuple[bytes, int, int]]


@pytest.mark.parametrize("change", [cut, edited])
@counts(20, 1_000, parts=2)
def test_every_cut_and_edit_is_found_and_located_and_never_read_as_rows(
    intact: Whole, tmp_path: Path, count: int, seed: int, change: Change
) -> None:
    chance, path = random.Random(seed), tmp_path / "a.wandb.zip"
    for number in range(count):
        data, start, end = change(intact, chance)
        path.write_bytes(data)
        touched = {part.member for part in intact.parts if part.start < end and start < part.end}
        where = f"{number}: bytes {start} to {end}, of {sorted(touched)}"
        named = {damage.member for damage in verify_bundle(path).damages}
        assert named, where
        assert named <= {*touched, CONTAINER}, where
        if change is edited and CONTAINER not in named:
            assert named >= {member for member in touched if differs(intact, data, member)}, where
        assert silently_wrong(path, intact) == [], where
        readable(path, intact)
    print({change.__name__: count})  # noqa: T201


def differs(intact: Whole, data: bytes, member: str) -> bool:
    """Return whether the content of a file differs in `data`."""
    return any(
        intact.data[part.start : part.end] != data[part.start : part.end]
        for part in intact.parts
        if part.content and part.member == member
    )
