"""The damage proof: whatever happens to the bytes of a recorded bundle is found, located, and never read as rows.

Edits are random but seeded. Half of their places are drawn from all bytes, half
from the parts of the ZIP (each header, each file, each directory entry alike),
so that the small parts are hit as well as the large ones.
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
from checkout import RECORDED

from pull_logs.errors import PullLogsError
from pull_logs.snapshot.format.container import ZipContainer
from pull_logs.snapshot.format.names import run_of_member
from pull_logs.snapshot.read import parquet_member
from pull_logs.snapshot.read.bundle import Bundle, open_bundle
from pull_logs.snapshot.read.run import Run
from pull_logs.snapshot.read.verify import CONTAINER, Damage, verify_bundle
from pull_logs.snapshot.write.seal import write_bundle

RUNS = ("kill1e2s", "mlp5e2s0", "nan1e6s0")
"""A run that was killed, one of another model, and one whose loss became NaN: mixed columns and media in each."""

SLOW = (pytest.mark.slow, pytest.mark.timeout(1200))


def counts(sample: int, full: int, *, parts: int) -> pytest.MarkDecorator:
    """A sample for every day, and all in parts of a few minutes; each part draws changes of its own."""
    every = [pytest.param(full // parts, part, id=f"part-{part}", marks=SLOW) for part in range(parts)]
    return pytest.mark.parametrize(("count", "seed"), [pytest.param(sample, -1, id="sample"), *every])


@dataclass(frozen=True, slots=True)
class Part:
    """Some bytes of the ZIP: a file's own, the header before it, its directory entry, or the end record.

    Attributes:
        member: The file they speak of; "container" for the end record.
        content: Whether they are the file's own bytes.
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
        parts: Them again, part by part.
        told: Per run, what reading it gives.
        tables: Per run, the same as the tables that its rows are made of.
    """

    data: bytes
    parts: tuple[Part, ...]
    told: dict[str, str]
    tables: dict[str, bytes]

    def around(self, place: int) -> Part:
        return next(part for part in self.parts if part.start <= place < part.end)

    def place(self, chance: random.Random) -> int:
        if chance.random() < 0.5:
            return chance.randrange(len(self.data))
        part = chance.choice(self.parts)
        return chance.randrange(part.start, part.end)


def parts_of(path: Path) -> Iterator[Part]:
    container = ZipContainer(path)
    entries, place = container.entries, 0
    for name, entry in entries.items():
        yield Part(entry.header, entry.start, name, content=False)
        yield Part(entry.start, entry.end, name, content=True)
        place = entry.end
    for name in entries:
        yield Part(place, place := place + 46 + len(name), name, content=False)
    yield Part(place, container.length, CONTAINER, content=False)
    container.close()


def told_by(run: Run) -> str:
    """All that a run says, kinds and NaN included."""
    return repr((run.info, run.coverage, list(run.scan_history()), list(run.system_rows())))


def tables_of(run: Run) -> bytes:
    """Facts and tables of a run: where these are the same bytes, so are the rows that are made of them."""
    digest = hashlib.sha256(repr((run.info, run.coverage)).encode())
    system = run.system_table()
    for table in [*run.batches(), *([] if system is None else [system])]:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as out:
            out.write_table(table)
        digest.update(sink.getvalue())
    return digest.digest()


def says_the_same(run: Run, whole: Whole) -> bool:
    name = str(run.path)
    return tables_of(run) == whole.tables[name] or told_by(run) == whole.told[name]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    path = tmp_path_factory.mktemp("whole") / "a.wandb.zip"
    with open_bundle(RECORDED) as recorded:
        write_bundle(path, [recorded[run_id] for run_id in RUNS])
    assert verify_bundle(path).damages == ()
    parts = tuple(parts_of(path))
    assert parts[0].start == 0
    assert all(left.end == right.start for left, right in pairwise(parts))
    with open_bundle(path) as bundle:
        told = {str(run.path): told_by(run) for run in bundle.runs()}
        tables = {str(run.path): tables_of(run) for run in bundle.runs()}
        assert len(set(tables.values())) == len(told)
        return Whole(path.read_bytes(), parts, told, tables)


def silently_wrong(path: Path, whole: Whole) -> list[str]:
    """The runs that read otherwise than they were written, without an error."""
    try:
        bundle = open_bundle(path)
    except PullLogsError:
        return []
    with bundle:
        if bundle.run_paths != tuple(whole.told):
            return ["run_paths"]
        return [name for name in whole.told if reads_wrong(bundle, name, whole)]


def reads_wrong(bundle: Bundle, name: str, whole: Whole) -> bool:
    try:
        return not says_the_same(bundle[name], whole)
    except PullLogsError:
        return False


def readable(path: Path, whole: Whole) -> set[str]:
    """The runs that can be read still, the way large files are: page by page, not hashed whole before."""
    try:
        bundle = open_bundle(path)
    except PullLogsError:
        return set()
    with bundle, pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_member, "SMALL_FILE", 0)
        found = set()
        for name in whole.told:
            try:
                assert says_the_same(bundle[name], whole), name
            except PullLogsError:
                continue
            found.add(name)
        return found


def check_location(damages: tuple[Damage, ...], part: Part, offset: int) -> None:
    """A flip is told where it is; `offset` counts from the beginning of the part."""
    assert damages
    if not part.content:
        assert {damage.member for damage in damages} <= {part.member, CONTAINER}
        return
    for damage in damages:
        assert (damage.member, damage.run) == (part.member, run_of_member(part.member))
        if damage.byte_range is not None:
            assert damage.byte_range[0] <= offset < damage.byte_range[1]


def sharpness(damages: tuple[Damage, ...], part: Part) -> str:
    """How closely a damage was located."""
    if not part.content or run_of_member(part.member) is None:
        return "member"
    if damages[0].column:
        return "column"
    return "bytes" if damages[0].byte_range else "run"


@counts(50, 10_000, parts=20)
def test_every_flipped_bit_is_found_and_located_and_never_read_as_rows(
    whole: Whole, tmp_path: Path, count: int, seed: int
) -> None:
    chance, path, located = random.Random(seed), tmp_path / "a.wandb.zip", Counter[str]()
    path.write_bytes(whole.data)
    for _ in range(count):
        place, bit = whole.place(chance), chance.randrange(8)
        part = whole.around(place)
        with path.open("r+b") as file:
            file.seek(place)
            file.write(bytes([whole.data[place] ^ 1 << bit]))
        where = f"bit {bit} of byte {place - part.start} of {part}"
        damages = verify_bundle(path).damages
        check_location(damages, part, place - part.start)
        located[sharpness(damages, part)] += 1
        assert silently_wrong(path, whole) == [], where
        left = readable(path, whole)
        if part.content and (hurt := run_of_member(part.member)):
            assert left >= whole.told.keys() - {hurt}, where
        with path.open("r+b") as file:
            file.seek(place)
            file.write(whole.data[place : place + 1])
    assert path.read_bytes() == whole.data
    print(dict(located))  # noqa: T201 - `pytest -s` tells how closely


def cut(whole: Whole, chance: random.Random) -> tuple[bytes, int, int]:
    """The bundle without its end, or without some bytes in the middle; and where these were."""
    start = whole.place(chance)
    end = (
        len(whole.data) if chance.random() < 0.5 else min(start + chance.randrange(1, 5000), len(whole.data))
    )
    return whole.data[:start] + whole.data[end:], start, end


def edited(whole: Whole, chance: random.Random) -> tuple[bytes, int, int]:
    """The bundle with up to 512 bytes zeroed, replaced at random or by those of another place; and where."""
    while True:
        start = whole.place(chance)
        size = min(chance.choice([2, 3, 8, 64, 512]), len(whole.data) - start)
        other = chance.randrange(len(whole.data) - size)
        new = chance.choice([bytes(size), chance.randbytes(size), whole.data[other : other + size]])
        data = whole.data[:start] + new + whole.data[start + size :]
        if data != whole.data:
            return data, start, start + size


Change: TypeAlias = Callable[[Whole, random.Random], tuple[bytes, int, int]]


@pytest.mark.parametrize("change", [cut, edited])
@counts(20, 1_000, parts=2)
def test_every_cut_and_edit_is_found_and_located_and_never_read_as_rows(
    whole: Whole, tmp_path: Path, count: int, seed: int, change: Change
) -> None:
    chance, path = random.Random(seed), tmp_path / "a.wandb.zip"
    for number in range(count):
        data, start, end = change(whole, chance)
        path.write_bytes(data)
        touched = {part.member for part in whole.parts if part.start < end and start < part.end}
        where = f"{number}: bytes {start} to {end}, of {sorted(touched)}"
        named = {damage.member for damage in verify_bundle(path).damages}
        assert named, where
        assert named <= {*touched, CONTAINER}, where
        if change is edited and CONTAINER not in named:
            assert named >= {member for member in touched if differs(whole, data, member)}, where
        assert silently_wrong(path, whole) == [], where
        readable(path, whole)
    print({change.__name__: count})  # noqa: T201


def differs(whole: Whole, data: bytes, member: str) -> bool:
    """Whether a file's own bytes are others in `data`."""
    return any(
        whole.data[part.start : part.end] != data[part.start : part.end]
        for part in whole.parts
        if part.content and part.member == member
    )
