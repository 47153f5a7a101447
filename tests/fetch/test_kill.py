"""Killed at any instant, however often, the same command ends in the bundle of an undisturbed pull."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copyfile

import anyio
import pytest
from manyruns import DATA, LARGE, RUNS, SHARD_ROWS, WEIGHTS, write_project
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pull_logs.replay import ReplayServer, serve_bundle
from pull_logs.replay.data.links import object_path
from pull_logs.runs import RunPath
from pull_logs.snapshot import Bundle, open_bundle, verify_bundle
from pull_logs.snapshot.write.spool_folder import SpoolFolder

KEY = "k" * 40
LATENCY = 0.02
OUT = "out.wandb.zip"
MORE = ("--files", "*.log", "--files", "*.bin", "--media", "--console", "--artifacts", "all")
CONTENTS = [data for version in (*WEIGHTS, DATA, LARGE) for data in version.files.values()]
"""The bytes of all files of artifacts."""


@dataclass
class Bell:
    """Rung with the number of a request when it comes in (`False`) and when it is answered (`True`)."""

    ring: Callable[[int, bool], None] | None = None
    requests: int = 0
    paths: list[str] = field(default_factory=list)

    def listen(self, ring: Callable[[int, bool], None] | None = None) -> None:
        """Count from one again, and report to `ring`."""
        self.requests, self.ring, self.paths = 0, ring, []

    def tell(self, number: int, *, answered: bool) -> None:
        if self.ring is not None:
            self.ring(number, answered)


class Slow:
    """ASGI middleware: every answer takes its time, and a bell is rung before and after it."""

    def __init__(self, app: ASGIApp, *, bell: Bell) -> None:
        self.app, self.bell = app, bell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.bell.requests += 1
        number = self.bell.requests
        self.bell.paths.append(scope.get("path", ""))
        self.bell.tell(number, answered=False)
        await anyio.sleep(LATENCY)

        async def send_and_count(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body":
                self.bell.tell(number, answered=True)

        await self.app(scope, receive, send_and_count)


def encoded(name: str) -> str:
    """The name of a file in the path of its object."""
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


@dataclass(frozen=True)
class Served:
    """A run on the server: the sizes of its files by name, and the names of its exported files."""

    path: RunPath
    files: Mapping[str, int]
    exports: Sequence[str]


def served_runs(bundle: Bundle, asked: Iterable[str]) -> tuple[Served, ...]:
    """The runs of a bundle, with the exported files among the paths that an undisturbed pull asked for."""
    found = []
    for run in bundle.runs():
        start = object_path(run.path, "")
        names = [path.removeprefix(start) for path in asked if path.startswith(start)]
        exports = [name for name in names if name.endswith(".runhistory.parquet")]
        files = {name: file.size for name, file in run.files.items()}
        found.append(Served(run.path, files, exports))
    return tuple(found)


@dataclass(frozen=True)
class Calm:
    """What undisturbed pulls made and took.

    Attributes:
        old: The bundle of yesterday.
        new: The bundle of today.
        requests: How many requests the pull of today was.
        seconds: How long it took.
        runs: The runs of today.
    """

    server: ReplayServer
    bell: Bell
    old: bytes
    new: bytes
    requests: int
    seconds: float
    runs: tuple[Served, ...] = ()


@dataclass
class Place:
    """A folder to pull into, and what was seen there."""

    folder: Path
    calm: Calm
    command: tuple[str, ...] = ("fetch", "-p", "acme/many", "-o", OUT, "--system", *MORE)
    renewed: bool = False
    _seen: tuple[int, int] | None = field(default=None)

    def __post_init__(self) -> None:
        for name in ("work", "temp", "home"):
            (self.folder / name).mkdir(parents=True)
        self.out = self.folder / "work" / OUT
        self.spool = self.folder / "work" / f"{OUT}.partial"

    def start(self) -> subprocess.Popen[str]:
        """The real command, in a process of its own."""
        home = {name: str(self.folder / "home") for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
        where = {
            "TMPDIR": str(self.folder / "temp"),
            "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path]),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "pull_logs", *self.command],
            cwd=self.folder / "work",
            env={**os.environ, **self.calm.server.environment(), **home, **where},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def watch(self, child: subprocess.Popen[str], until: Callable[[], bool]) -> None:
        """Look at the file at `out` until a condition holds, or the command ended."""
        while child.poll() is None and not until():
            self.look()
            time.sleep(0.0005)
        self.look()

    def look(self) -> None:
        """The file at `out` is complete: none or yesterday's bundle before, today's from then on."""
        try:
            status = self.out.stat()
        except FileNotFoundError:
            assert self._seen is None
            return
        if self._seen != (status.st_ino, status.st_mtime_ns):
            self._seen = (status.st_ino, status.st_mtime_ns)
            found = self.out.read_bytes()
            assert found == self.calm.new or (found == self.calm.old and not self.renewed)
            self.renewed = found == self.calm.new

    def assert_nothing_strange(self) -> None:
        """Beside the bundle there is at most the spool."""
        assert {path.name for path in (self.folder / "work").iterdir()} <= {OUT, self.spool.name}

    def arrived(self) -> set[str]:
        """The paths of the objects that arrived completely and are in the spool.

        Those are the objects of finished runs, the files of others, and the contents of artifacts, which any
        run may have.
        """
        if not (self.spool / "plan.json").exists():
            return set()
        spool = SpoolFolder(self.spool)
        contents = {path.name for path in spool.contents.glob("*") if path.suffix == ""}
        found: set[str] = set()
        for run in self.calm.runs:
            finished, folder = spool.run_file(run.path).exists(), spool.files_of(run.path)
            for name, size in run.files.items():
                held = folder / hashlib.sha256(name.encode()).hexdigest()[:32]
                if finished or size_of(held) == size:
                    found.add(object_path(run.path, f"file-{encoded(name)}"))
            found |= {object_path(run.path, f"content-{name}") for name in contents}
            if finished:
                found |= {object_path(run.path, name) for name in run.exports}
        return found

    def finish(self) -> None:
        """Run the command to its end: today's bundle, and nothing else anywhere."""
        arrived = self.arrived()
        self.calm.bell.listen()
        child = self.start()
        self.watch(child, lambda: False)
        assert [path for path in self.calm.bell.paths if path in arrived] == []
        said = child.communicate()[0]
        assert child.returncode == 0, said
        assert f"{RUNS} of {RUNS} runs complete" in said
        assert self.renewed
        assert self.out.read_bytes() == self.calm.new
        left = [path for path in self.folder.rglob("*") if not path.is_dir()]
        assert left == [self.out]
        assert {path.name for path in self.folder.rglob("*")} == {"work", "temp", "home", OUT}


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def largest_in(spool: Path) -> int:
    """The bytes of the largest file in which rows or files arrive; folders may go meanwhile."""
    found = [
        Path(folder, name)
        for folder, _, names in os.walk(spool)
        for name in names
        if name.endswith((".frames", ".part")) or Path(folder).parent.name == "files"
    ]
    return max([0, *map(size_of, found)])


def count_of(folder: Path, pattern: str) -> int:
    return len(list(folder.glob(pattern)))


MOMENTS = ("asked", "stored", "sealing", "answered", "time", "spooled", "sealed")


def strike(place: Place, kind: str, chance: random.Random) -> bool:
    """Start the command and kill it at a moment of that kind; whether it had not ended before.

    The moments: the nth request comes in, or is answered; a share of the time has passed; n runs are
    stored; so many bytes of the long runs are spooled; so many bytes of the bundle are written; the bundle
    has its name, and the spool is being removed.
    """
    calm, share = place.calm, chance.random()
    child = place.start()
    number = 1 + int(share * calm.requests)
    bell_kinds = {"asked": False, "answered": True}

    def ring(came: int, answered: bool) -> None:  # noqa: FBT001
        if came == number and answered == bell_kinds[kind]:
            child.kill()

    began = time.monotonic()
    calm.bell.listen(ring if kind in bell_kinds else None)
    renewed = place.renewed
    until: dict[str, Callable[[], bool]] = {
        "time": lambda: time.monotonic() - began > share * calm.seconds,
        "stored": lambda: count_of(place.spool, "runs/*.run") > share * (RUNS - 1),
        "spooled": lambda: largest_in(place.spool) > share * share * 1_000_000,
        "sealing": lambda: size_of(place.spool / "bundle.zip") >= share * len(calm.new),
        "sealed": lambda: place.renewed and (not renewed or not place.spool.exists()),
    }
    place.watch(child, until.get(kind, lambda: False))
    if kind == "sealed":
        moment = time.perf_counter() + share * 0.01
        while time.perf_counter() < moment:
            pass
    child.kill()
    child.communicate()
    calm.bell.listen()
    place.look()
    place.assert_nothing_strange()
    return child.returncode < 0


MODES = ("fetch", "fetch over a bundle", "refresh")


def a_story(place: Place, mode: str, kinds: list[str], chance: random.Random) -> Counter[str]:
    """Kill a pull at each of these kinds of moments, then let it end; return the kills that hit."""
    if mode != "fetch":
        place.out.write_bytes(place.calm.old)
    if mode == "refresh":
        place.command = ("refresh", OUT, "--media")
    hits = Counter(kind for kind in kinds if strike(place, kind, chance))
    place.finish()
    return hits


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calm]:
    folder = tmp_path_factory.mktemp("calm")
    yesterday = write_project(folder / "yesterday.wandb.zip", today=False)
    today = write_project(folder / "today.wandb.zip", today=True)
    bell = Bell()
    middleware = [Middleware(Slow, bell=bell)]

    def pull(server: ReplayServer, name: str) -> tuple[bytes, float]:
        place = Place(folder / name, Calm(server, bell, b"", b"", 0, 0.0))
        bell.listen()
        began = time.monotonic()
        child = place.start()
        said = child.communicate()[0]
        assert child.returncode == 0, said
        assert verify_bundle(place.out).damages == ()
        copyfile(place.out, folder / f"{name}.zip")
        return place.out.read_bytes(), time.monotonic() - began

    with serve_bundle(yesterday, api_key=KEY, shard_rows=SHARD_ROWS, middleware=middleware) as server:
        old, _ = pull(server, "old")
    port = int(server.url.rpartition(":")[2])
    with serve_bundle(today, port=port, api_key=KEY, shard_rows=SHARD_ROWS, middleware=middleware) as server:
        new, seconds = pull(server, "new")
        with open_bundle(folder / "new.zip") as pulled, open_bundle(today) as served:
            assert pulled.content_id == served.content_id
            assert all(run.complete for run in pulled.runs())
            for name in ("files_hash", "console_hash", "artifacts_hash"):
                hashes = {run.path: getattr(run, name) for run in served.runs()}
                assert {run.path: getattr(run, name) for run in pulled.runs()} == hashes
                assert len(set(hashes.values())) > 3
            runs = served_runs(served, bell.paths)
        assert sum(len(run.exports) for run in runs) > 30
        with zipfile.ZipFile(folder / "new.zip") as members:
            assert len([name for name in members.namelist() if "/tables/" in name]) == 4 * (4 + 1)
            assert "media.parquet" in members.namelist()
        names = {path.rpartition("/")[2] for path in bell.paths if "/content-" in path}
        assert len(names) == len(set(CONTENTS))
        yield Calm(server, bell, old, new, bell.requests, seconds, runs)


@pytest.mark.parametrize(
    ("mode", "kinds"),
    [
        ("fetch", ["answered"]),
        ("fetch", ["spooled", "sealing"]),
        ("fetch over a bundle", ["sealed"]),
        ("refresh", ["stored"]),
    ],
)
def test_killed_the_same_command_ends_in_the_same_bundle(
    calm: Calm, tmp_path: Path, mode: str, kinds: list[str]
) -> None:
    a_story(Place(tmp_path / "place", calm), mode, kinds, random.Random(f"{mode} {kinds}"))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_kills_at_random_moments(
    calm: Calm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hits: Counter[str] = Counter()
    stories = 0
    began = time.monotonic()
    while hits.total() < 100:
        chance = random.Random(stories)
        often = chance.choice([1, 1, 2, 3])
        kinds = [MOMENTS[(stories + more * 3) % len(MOMENTS)] for more in range(often)]
        mode = MODES[stories % len(MODES)]
        try:
            hits += a_story(Place(tmp_path / f"{stories}", calm), mode, kinds, chance)
        except AssertionError as exc:
            raise AssertionError(f"story {stories}: {mode} {kinds}: {exc}") from exc
        stories += 1
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{hits.total()} kills in {stories} pulls of {RUNS} runs, {time.monotonic() - began:.0f} s"
            f" (undisturbed {calm.seconds:.1f} s, {calm.requests} requests): {dict(hits)}"
        )
