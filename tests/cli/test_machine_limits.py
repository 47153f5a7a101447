"""What the machine refuses (a full disk, a missing permission, closed streams) is the user's to know."""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest
from checkout import RECORDED, ROOT

from pull_logs.replay import ReplayServer, serve_bundle

RUN_FOLDERS = ROOT / "fixtures" / "digits" / "wandb"
SHOWN = ("info", str(RECORDED))
NOBODY = 54321
"""A user id that no machine knows."""


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "pull_logs", *map(str, words)]


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **changes}


def in_shell(words: Sequence[str | Path], redirect: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with the redirections of a shell."""
    line = f"exec {shlex.join(command(*words))} {redirect}"
    return subprocess.run(
        ["sh", "-c", line],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=cwd,
        env=environment(),
    )


@pytest.mark.parametrize(
    ("redirect", "code"), [(">&-", 0), ("2>&-", 0), (">&- 2>&- <&-", 0), ("2>/dev/full", 0)]
)
def test_a_closed_stream_discards_what_is_written_to_it(redirect: str, code: int, tmp_path: Path) -> None:
    done = in_shell(SHOWN, redirect, tmp_path)
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.startswith("[BUNDLE]") is (">&-" not in redirect.replace("2>&-", ""))


def test_a_bundle_written_with_closed_streams_is_a_bundle(tmp_path: Path) -> None:
    assert in_shell(["subset", RECORDED, "-o", "out.zip"], ">&- 2>&- <&-", tmp_path).returncode == 0
    assert in_shell(["verify", "out.zip"], "", tmp_path).returncode == 0


@pytest.mark.parametrize("words", [SHOWN, ("--help",), ("-b", str(RECORDED), "--json")])
def test_a_full_disk_under_stdout_is_said_and_exits_with_8(words: Sequence[str], tmp_path: Path) -> None:
    done = in_shell(words, ">/dev/full", tmp_path)
    reason = "the disk is full, 'standard output' is not finished"
    next_step = "free some space and run the same command again"
    assert (done.returncode, done.stderr) == (8, f"pull-logs: error: {reason}; {next_step}\n")


def test_a_usage_error_on_a_full_stderr_keeps_its_exit_code(tmp_path: Path) -> None:
    assert in_shell(["nope"], "2>/dev/full", tmp_path).returncode == 2


WRITERS: Mapping[str, tuple[str | Path, ...]] = {
    "merge": ("merge", RECORDED, "-o", "out.zip"),
    "subset": ("subset", RECORDED, "-o", "out.zip"),
    "subset of metrics": ("subset", RECORDED, "--metrics", "loss", "-o", "out.zip"),
    "redact": ("audit", RECORDED, "--redact", "-o", "out.zip"),
    "import": ("import", RUN_FOLDERS, "-o", "out.zip"),
    "export parquet": ("export", RECORDED, "-o", "out.zip", "--format", "parquet"),
    "export csv": ("export", RECORDED, "-o", "out.zip", "--format", "csv"),
    "export ndjson": ("export", RECORDED, "-o", "out.zip", "--format", "ndjson"),
    "fetch": ("demo", "-o", "out.zip"),
}
"""Every way to write a file, with `out.zip` as its name."""


@pytest.mark.parametrize("writer", WRITERS)
def test_a_limit_of_file_sizes_is_reported_by_every_writer(writer: str, tmp_path: Path) -> None:
    limit = 4096

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        command(*WRITERS[writer]),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
        preexec_fn=limited,
    )
    assert done.returncode == 8, done.stderr
    assert done.stderr.splitlines()[-1].startswith("pull-logs: error: the limit of file sizes is reached, ")
    assert done.stderr.endswith("raise it with `ulimit -f`\n")
    assert {item.name for item in tmp_path.iterdir()} <= {"out.zip.partial"}


@pytest.fixture
def full_disk(tmp_path: Path) -> Path:
    """A file system of 32 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a file system needs root")
    return folder


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_reported_by_every_writer(writer: str, full_disk: Path) -> None:
    try:
        done = subprocess.run(
            command(*WRITERS[writer]),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=full_disk,
            env=environment(),
        )
        left = {item.name for item in full_disk.iterdir()}
    finally:
        subprocess.run(["umount", "-l", str(full_disk)], check=True)
    assert done.returncode == 8, done.stderr
    assert done.stderr.splitlines()[-1].startswith("pull-logs: error: the disk is full, ")
    assert "free some space" in done.stderr.splitlines()[-1]
    assert left <= {"out.zip.partial"}


def as_nobody(words: Sequence[str | Path], cwd: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user that the machine does not know, without HOME."""
    variables = {key: value for key, value in environment(**changes).items() if key != "HOME"}
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "NETRC", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR"):
        if name not in changes:
            variables.pop(name, None)
    return subprocess.run(
        command(*words),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=cwd,
        env=variables,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
    )


@cache
def others_may_run_this() -> bool:
    """Whether another user may run this interpreter, and import the package."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", "import pull_logs"],
            check=False,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=environment(),
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
        )
    except PermissionError:
        return False
    return done.returncode == 0


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder that anyone may enter and only root may write; those of pytest are closed to others."""
    if os.getuid() != 0:
        pytest.skip("another user can be tried by root only")
    if not others_may_run_this():
        pytest.skip("the interpreter or this checkout is in a folder that other users may not read")
    folder = Path(tempfile.mkdtemp(prefix="limits-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_folder_without_permission_is_reported_by_every_writer(writer: str, nobody: Path) -> None:
    done = as_nobody(WRITERS[writer], nobody)
    assert done.returncode == 8, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("pull-logs: error: '")
    assert last.endswith(
        "cannot be written: Permission denied; check the permissions, or choose another path"
    )
    assert not list(nobody.iterdir())


SKILL_IN_PROJECT = ("skill", "install", "--project", "--agent", "claude")
SKILL_FILE = ".claude/skills/wandb-pull-logs/SKILL.md"


def test_a_skill_that_cannot_be_written_is_reported(nobody: Path) -> None:
    done = as_nobody(SKILL_IN_PROJECT, nobody)
    reason = f"'{SKILL_FILE}' cannot be written: Permission denied"
    next_step = "check the permissions, or choose another path"
    assert (done.returncode, done.stdout) == (8, "")
    assert done.stderr == f"pull-logs: error: {reason}; {next_step}\n"
    assert not list(nobody.iterdir())


def test_a_skill_for_a_user_without_a_home_folder_is_wrong_usage(nobody: Path) -> None:
    done = as_nobody(("skill", "install", "--agent", "claude"), nobody)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "pull-logs: error: the home folder is not known; set HOME, or use --project\n"


def test_a_skill_on_a_read_only_disk_is_left_as_it_is(full_disk: Path) -> None:
    file = full_disk / SKILL_FILE
    try:
        assert in_shell(SKILL_IN_PROJECT, "", full_disk).returncode == 0
        text = file.read_bytes()
        subprocess.run(["mount", "-o", "remount,ro", str(full_disk)], check=True)
        current = in_shell(SKILL_IN_PROJECT, "", full_disk)
        subprocess.run(["mount", "-o", "remount,rw", str(full_disk)], check=True)
        file.write_bytes(text + b"changed")
        subprocess.run(["mount", "-o", "remount,ro", str(full_disk)], check=True)
        forced = in_shell((*SKILL_IN_PROJECT, "--force"), "", full_disk)
        assert file.read_bytes() == text + b"changed"
    finally:
        subprocess.run(["umount", "-l", str(full_disk)], check=True)
    assert (current.returncode, current.stdout) == (0, f"{SKILL_FILE} is up to date\n")
    reason = f"'{SKILL_FILE}' cannot be written: Read-only file system"
    assert (forced.returncode, forced.stdout) == (8, "")
    assert forced.stderr == f"pull-logs: error: {reason}; choose a path on another file system\n"


@pytest.mark.parametrize(
    "words",
    [
        ("info", "locked.zip"),
        ("-b", "locked.zip"),
        ("-b", "locked/a.zip"),
        ("import", "locked", "-o", "never.zip"),
        ("-c", "locked.zip"),
        ("-c", "locked/a.pt"),
        ("-r", "locked/run-20260101_000000-a"),
    ],
)
def test_a_file_that_may_not_be_read_is_reported(words: Sequence[str], nobody: Path) -> None:
    (nobody / "locked.zip").write_bytes(RECORDED.read_bytes())
    (nobody / "locked.zip").chmod(0o600)
    (nobody / "locked").mkdir(mode=0o700)
    done = as_nobody(words, nobody)
    assert done.returncode == 8, done.stderr
    assert "Permission denied; check the permissions, or choose another path" in done.stderr


def test_without_a_home_folder_everything_works_that_needs_none(nobody: Path) -> None:
    for words in (SHOWN, ("-b", RECORDED, "-c", ROOT / "fixtures" / "digits" / "checkpoints")):
        done = as_nobody(words, nobody)
        assert (done.returncode, done.stdout != "") == (0, True), done.stderr
    done = as_nobody(("-r", "a/b/c"), nobody)
    assert done.returncode == 5
    assert done.stderr.startswith("pull-logs: error: no API key for ")
    done = as_nobody(("-r", "a/b/c", "--offline"), nobody)
    assert done.returncode == 3
    done = as_nobody(("-c", "~nobody-of-this-name/x.pt"), nobody)
    assert done.returncode == 3, done.stderr


@pytest.mark.parametrize("writer", WRITERS)
def test_every_writer_takes_a_name_that_is_not_text(writer: str, tmp_path: Path) -> None:
    words = [os.fsencode(word) for word in command(*WRITERS[writer])]
    words[words.index(b"out.zip")] = b"\xff.zip"
    folder = tmp_path / "\udcfe"
    folder.mkdir()
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=60, cwd=folder, env=environment()
    )
    assert done.returncode == 0, done.stderr
    report = ["\udcff-report.html"] if WRITERS[writer][0] == "demo" else []
    assert sorted(item.name for item in folder.iterdir()) == [*report, "\udcff.zip"]
    assert "\\udcff.zip" in done.stderr or writer == "merge"


@pytest.fixture(scope="module")
def server() -> Iterator[ReplayServer]:
    with serve_bundle(RECORDED) as serving:
        yield serving


def views(server: ReplayServer, cache: str) -> dict[str, str]:
    """The variables with which a view reads from a server through a cache."""
    known = server.environment()
    return {name: known[name] for name in ("WANDB_BASE_URL", "WANDB_API_KEY")} | {"XDG_CACHE_HOME": cache}


WITHOUT_CACHE = "# the cache {!r} cannot be used: {}; continuing without a cache"


def test_a_view_goes_on_without_a_cache_that_may_not_be_written(server: ReplayServer, nobody: Path) -> None:
    cache = nobody / "cache"
    cache.mkdir()
    done = as_nobody(("overview", "-r", "acme/digits/cnn1e2s0"), nobody, **views(server, str(cache)))
    assert done.returncode == 0, done.stderr
    assert "runs=1" in done.stdout
    reason = WITHOUT_CACHE.format(str(cache / "wandb-pull-logs"), "Permission denied")
    assert done.stdout.splitlines()[-1] == reason


def test_a_view_goes_on_without_a_cache_on_a_full_disk(server: ReplayServer, full_disk: Path) -> None:
    try:
        done = subprocess.run(
            command("-r", "acme/digits/cnn1e2s0", "-r", "acme/digits/cnn1e2s1", "-H"),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=environment(**views(server, str(full_disk))),
        )
        left = [item.name for item in full_disk.rglob("*") if item.is_file()]
    finally:
        subprocess.run(["umount", "-l", str(full_disk)], check=True)
    assert done.returncode == 0, done.stderr
    assert "runs=2" in done.stdout
    assert (
        done.stdout.count("continuing without a cache") + done.stderr.count("continuing without a cache") == 1
    )
    assert all(name == "gate.lock" or name.endswith(".wandb.zip") for name in left)


def test_a_view_without_a_home_folder_goes_on_without_a_cache(server: ReplayServer, nobody: Path) -> None:
    variables = views(server, "")
    del variables["XDG_CACHE_HOME"]
    done = as_nobody(("-r", "acme/digits/cnn1e2s0", "-H"), nobody, **variables)
    assert done.returncode == 0, done.stderr
    assert "continuing without a cache" in done.stdout + done.stderr
