"""A command that is stopped at any moment leaves nothing, or the next one removes it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from bundlekit import bundle_run, make_bundle
from checkout import RECORDED, ROOT

from pull_logs.replay import ReplayServer, serve_bundle
from pull_logs.snapshot.format import record_of
from pull_logs.snapshot.privacy.file_scrubber import TextFile

RUN_FOLDERS = ROOT / "fixtures" / "digits" / "wandb"

DRIVER = """
import os, signal, sys
folders, number, at, told = sys.argv[1].split(":"), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
seen = 0

def changes(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        return path, bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return (arguments[0] if arguments else None), event in ("os.mkdir", "os.rename", "os.remove")

def watch(event, arguments):
    global seen
    if event not in ("open", "os.mkdir", "os.rename", "os.remove"):
        return
    path, changing = changes(event, arguments)
    if not changing or not isinstance(path, (str, os.PathLike)):
        return
    if not any(os.path.abspath(path).startswith(folder) for folder in folders):
        return
    seen += 1
    if seen == at:
        os.kill(os.getpid(), number)

from pull_logs.cli.main import run
sys.addaudithook(watch)
sys.argv[1:] = sys.argv[5:]
try:
    run()
finally:
    with open(told, "w") as out:
        out.write(str(seen))
"""
"""Runs a command that gets a signal when it is about to change the file system for the n-th time."""

MEDIA = "MEDIA"
"""Stands for a bundle with media and a table."""

COMMANDS: Mapping[str, tuple[str | Path, ...]] = {
    "merge": ("merge", RECORDED, "-o", "out.zip"),
    "subset": ("subset", RECORDED, "-o", "out.zip"),
    "subset of metrics": ("subset", RECORDED, "--metrics", "loss", "-o", "out.zip"),
    "redact": ("audit", RECORDED, "--redact", "-o", "out.zip"),
    "import": ("import", RUN_FOLDERS, "-o", "out.zip"),
    "export parquet": ("export", RECORDED, "-o", "out", "--format", "parquet"),
    "export csv": ("export", RECORDED, "-o", "out", "--format", "csv"),
    "fetch": ("fetch", "-p", "acme/digits", "-o", "out.zip"),
    "view through the cache": ("-r", "acme/digits/cnn1e2s0", "-r", "acme/digits/cnn1e2s1", "-H"),
    "view of run folders": ("-r", RUN_FOLDERS, "-H"),
    "exec": ("exec", "-b", RECORDED, "--", sys.executable, "-c", ""),
    "fetch of media": ("fetch", "-p", "acme/nano", "--media", "-o", "out.zip"),
    "media": ("media", "-b", MEDIA, "-o", "out"),
}
FINAL = {"out", "out.zip"}
"""What a command was asked to write."""

CONTINUED = {"out.zip.partial"}
"""What the next download continues with."""


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a run with a table and images."""
    files = {f"media/images/{number}.png": bytes(5_000) for number in range(3)}
    files["media/table/t.table.json"] = b'{"columns":["who"],"data":[["a"]]}'
    rows = [
        {"_step": step, "it": {"_type": "table-file" if "table" in name else "image-file", "path": name}}
        for step, name in enumerate(files)
    ]
    held = [TextFile(record_of(name, [data]), data) for name, data in files.items()]
    run = replace(bundle_run("acme/nano/pictures", rows), files=held)
    return make_bundle(tmp_path_factory.mktemp("media") / "m.wandb.zip", [run])


@pytest.fixture(scope="module")
def server(media: Path) -> Iterator[ReplayServer]:
    with serve_bundle(RECORDED, media) as serving:
        yield serving


def _take_interrupts() -> None:
    """Take Ctrl-C even where this suite runs in the background of a shell, which ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Place:
    """The folders that a command may write to."""

    def __init__(self, folder: Path, server: ReplayServer, media: Path) -> None:
        self._media = media
        self.work, self.temporary, self.cache = (folder / name for name in ("work", "temporary", "cache"))
        for made in (self.work, self.temporary, self.cache):
            made.mkdir()
        self._told = folder / "told"
        known = server.environment()
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.temporary),
            "XDG_CACHE_HOME": str(self.cache),
            "WANDB_BASE_URL": known["WANDB_BASE_URL"],
            "WANDB_API_KEY": known["WANDB_API_KEY"],
        }

    def run(self, name: str, number: int = 0, at: int = 0) -> subprocess.CompletedProcess[str]:
        watched = ":".join(map(str, (self.work, self.temporary / ".pull-logs-", self.cache)))
        words = [watched, str(int(number)), str(at), str(self._told), *self._command(name)]
        return subprocess.run(
            [sys.executable, "-c", DRIVER, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=self.work,
            env=self._environment,
            preexec_fn=_take_interrupts,
        )

    def _command(self, name: str) -> list[str]:
        return [str(self._media) if word == MEDIA else str(word) for word in COMMANDS[name]]

    def changes(self, name: str) -> int:
        """How often the command changes the file system when nothing stops it."""
        done = self.run(name)
        assert done.returncode == 0, done.stderr
        assert self.left() <= FINAL
        for folder in (self.work, self.temporary, self.cache):
            shutil.rmtree(folder)
            folder.mkdir()
        return self.seen()

    def seen(self) -> int:
        """How often the last command changed the file system."""
        return int(self._told.read_text())

    def left(self) -> set[str]:
        """What is in the folders, apart from runs in the cache and what the modules of others put there."""
        cache = self.cache / "wandb-pull-logs"
        names = {item.name for item in cache.glob("runs/*/*") if not item.name.startswith("entity=")}
        names |= {item.name for item in cache.glob("in-use/*")}
        names |= {item.name for item in self.temporary.glob(".pull-logs-*")}
        return names | {item.name for item in self.work.iterdir()}


@pytest.fixture
def place(tmp_path: Path, server: ReplayServer, media: Path) -> Place:
    return Place(tmp_path, server, media)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_stopped_command_leaves_nothing_and_the_next_removes_what_a_killed_one_left(
    name: str, place: Place
) -> None:
    done = place.run(name, signal.SIGTERM, 3)
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    assert place.left() <= FINAL | CONTINUED, done.stderr
    assert place.run(name, signal.SIGKILL, 3).returncode == -signal.SIGKILL
    done = place.run(name)
    assert done.returncode == 0, done.stderr
    assert place.left() <= FINAL


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_signal_at_any_moment_leaves_nothing(name: str, place: Place) -> None:
    changes = place.changes(name)
    for number, at in ((signal.SIGHUP, 2), (signal.SIGTERM, max(changes // 2, 1)), (signal.SIGTERM, changes)):
        done = place.run(name, number, at)
        # The number of changes of a download varies: the last one may not be reached.
        assert done.returncode == (128 + number if place.seen() >= at else 0), (at, done.stderr)
        assert place.left() <= FINAL | CONTINUED, (at, done.stderr)
        for item in place.work.iterdir():
            shutil.rmtree(item) if item.is_dir() else item.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_killed_command_leaves_is_removed_by_the_next(name: str, place: Place) -> None:
    changes = place.changes(name)
    for at in {2, 2 * changes // 3}:
        assert place.run(name, signal.SIGKILL, at).returncode == -signal.SIGKILL
    done = place.run(name)
    assert done.returncode in (0, 2), done.stderr
    assert place.left() <= FINAL


AFTER = {
    "import": "the same command starts over",
    "export csv": "the same command starts over",
    "merge": "the same command starts over",
    "fetch": "the same command continues where it stopped",
    "view through the cache": (
        "the same command starts over; runs that were downloaded completely come from the cache"
    ),
}


@pytest.mark.parametrize("name", AFTER)
def test_ctrl_c_says_what_the_same_command_does(name: str, place: Place) -> None:
    done = place.run(name, signal.SIGINT, 2)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == f"pull-logs: stopped: interrupted; {AFTER[name]}"


def test_a_signal_that_is_ignored_stays_ignored(place: Place) -> None:
    script = "import os, signal; from pull_logs.cli.signals import StopSignals\n"
    script += "signal.signal(signal.SIGHUP, signal.SIG_IGN)\nStopSignals().install()\n"
    script += "os.kill(os.getpid(), signal.SIGHUP)\nprint('lives')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=place.work,
        env=os.environ,
    )
    assert done.stdout == "lives\n"


def test_where_ctrl_c_is_ignored_sigterm_is_not(place: Place) -> None:
    script = "import os, signal; from pull_logs.cli.signals import StopSignals\n"
    script += "signal.signal(signal.SIGINT, signal.SIG_IGN)\nstop = StopSignals()\nstop.install()\n"
    script += "try:\n    os.kill(os.getpid(), signal.SIGTERM)\n    signal.pause()\n"
    script += "except KeyboardInterrupt:\n    raise SystemExit(stop.exit_code(130))"
    done = subprocess.run([sys.executable, "-c", script], check=False, cwd=place.work, timeout=30)
    assert done.returncode == 143
