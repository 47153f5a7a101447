"""`skill print` and `skill install`, in processes of their own, with a home folder of their own."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from checkout import ROOT

from pull_logs import __version__

SKILL = (ROOT / "SKILL.md").read_bytes()
FOLDERS = {"claude": ".claude/skills", "codex": ".agents/skills", "cursor": ".cursor/skills"}
OLD = b"---\nname: wandb-pull-logs\ndescription: before\n---\n"
CHANGED = "and is left as it is; compare it with `pull-logs skill print`, and replace it with --force"

Done = tuple[int, str, str]
Call = Callable[..., Done]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def call(home: Path, project: Path) -> Call:
    """The command, in the folder of a project."""

    def run(*words: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "pull_logs", "skill", *words],
            capture_output=True,
            check=False,
            timeout=60,
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(home), "USERPROFILE": str(home)},
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    return run


def installed(base: Path, agent: str = "claude") -> Path:
    return base / FOLDERS[agent] / "wandb-pull-logs" / "SKILL.md"


def record_of(file: Path) -> Path:
    return file.with_name(".pull-logs.json")


def put(file: Path, content: bytes, *, recorded: bytes | None = None, version: str = "0.0.1") -> Path:
    """A file that is there already, with the record of what an earlier release wrote."""
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    if recorded is not None:
        digest = hashlib.sha256(recorded).hexdigest()
        record_of(file).write_text(json.dumps({"version": version, "sha256": [digest]}))
    return file


def files_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below a folder, with its content and when it was written."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    "words", [("print",), ("install", "--print"), ("install", "--print", "--agent", "codex")]
)
def test_the_skill_is_printed_byte_for_byte_and_nothing_is_written(
    words: tuple[str, ...], call: Call, home: Path, project: Path
) -> None:
    assert call(*words) == (0, SKILL.decode(), "")
    assert [*home.iterdir(), *project.iterdir()] == []


def test_the_skill_needs_no_file_besides_itself() -> None:
    """One file is installed: a link to another page would be broken."""
    assert re.findall(r"\]\((?!https?://)", SKILL.decode()) == []
    assert re.search(r"^name: wandb-pull-logs$", SKILL.decode(), re.MULTILINE)


@pytest.mark.parametrize("agent", FOLDERS)
def test_a_first_installation_writes_the_file_and_its_record(agent: str, call: Call, home: Path) -> None:
    file = installed(home, agent)
    assert call("install", "--agent", agent) == (0, f"installed {file}\n", "")
    record = {"version": __version__, "sha256": [hashlib.sha256(SKILL).hexdigest()]}
    assert file.read_bytes() == SKILL
    assert json.loads(record_of(file).read_bytes()) == record
    assert sorted(path.name for path in file.parent.iterdir()) == [".pull-logs.json", "SKILL.md"]


def test_a_second_installation_writes_nothing(call: Call, home: Path) -> None:
    call("install", "--agent", "claude")
    before = files_of(home)
    for force in ((), ("--force",)):
        done = call("install", "--agent", "claude", "--user", *force)
        assert done == (0, f"{installed(home)} is up to date\n", "")
    assert files_of(home) == before


def test_in_a_project_it_is_written_to_the_current_folder(call: Call, home: Path, project: Path) -> None:
    done = call("install", "--agent", "cursor", "--agent", "codex", "--agent", "cursor", "--project")
    shown = [str(installed(Path(), agent)) for agent in ("cursor", "codex")]
    assert done == (0, "".join(f"installed {path}\n" for path in shown), "")
    assert all((project / path).read_bytes() == SKILL for path in shown)
    assert list(home.iterdir()) == []


def test_without_an_agent_those_in_use_have_it(call: Call, home: Path, project: Path) -> None:
    (home / ".codex").mkdir()
    (project / ".cursor").mkdir()
    assert call("install") == (0, f"installed {installed(home, 'codex')}\n", "")
    shown = "".join(f"installed {installed(Path(), agent)}\n" for agent in ("codex", "cursor"))
    assert call("install", "--project") == (0, shown, "")


def test_where_no_agent_is_in_use_one_must_be_named(call: Call, home: Path) -> None:
    message = (
        f"no coding agent is known here: '{home}' has none of .agents, .claude, .codex, .cursor; "
        "name one: --agent claude, codex, cursor"
    )
    assert call("install") == (2, "", f"pull-logs: error: {message}\n")


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["as-written", "line-ends-changed"])
def test_an_older_one_is_updated(line_end: bytes, call: Call, home: Path) -> None:
    file = put(installed(home), OLD.replace(b"\n", line_end), recorded=OLD)
    assert call("install", "--agent", "claude") == (0, f"updated {file}, which was of 0.0.1\n", "")
    assert file.read_bytes() == SKILL
    assert json.loads(record_of(file).read_bytes())["version"] == __version__
    assert call("install", "--agent", "claude") == (0, f"{file} is up to date\n", "")


def test_a_changed_one_is_left_as_it_is_and_no_other_is_written(call: Call, home: Path) -> None:
    file = put(installed(home), OLD + b"Never use sudo.\n", recorded=OLD)
    before = files_of(home)
    message = f"'{file}' was changed after it was installed, {CHANGED}"
    assert call("install", "--agent", "codex", "--agent", "claude") == (
        2,
        "",
        f"pull-logs: error: {message}\n",
    )
    assert files_of(home) == before


@pytest.mark.parametrize(
    "record",
    [
        None,
        b"",
        b"[]",
        b"{",
        b'{"sha256": 3}',
        b'{"sha256": [3, null], "version": 1}',
        b"[" * 100_000,
        b"\xff",
    ],
    ids=["none", "empty", "list", "cut", "no-list", "no-digests", "deep", "not-text"],
)
def test_one_without_a_record_that_can_be_read_is_left_as_it_is(
    record: bytes | None, call: Call, home: Path
) -> None:
    file = put(installed(home), OLD)
    if record is not None:
        record_of(file).write_bytes(record)
    message = f"'{file}' was not installed by this command, {CHANGED}"
    assert call("install", "--agent", "claude") == (2, "", f"pull-logs: error: {message}\n")
    assert file.read_bytes() == OLD


def test_force_replaces_a_changed_one_which_is_updated_from_then_on(call: Call, home: Path) -> None:
    file = put(installed(home), OLD + b"mine\n", recorded=OLD)
    assert call("install", "--agent", "claude", "--force") == (0, f"replaced {file}\n", "")
    assert file.read_bytes() == SKILL
    assert call("install", "--agent", "claude") == (0, f"{file} is up to date\n", "")
    file.write_bytes(OLD + b"mine\n")
    assert call("install", "--agent", "claude")[0] == 2


def test_a_copy_of_this_release_made_by_hand_is_recorded(call: Call, home: Path) -> None:
    file = put(installed(home), SKILL)
    assert call("install", "--agent", "claude") == (0, f"{file} is up to date\n", "")
    assert json.loads(record_of(file).read_bytes())["sha256"] == [hashlib.sha256(SKILL).hexdigest()]


def test_an_update_that_was_interrupted_after_its_record_is_continued(call: Call, home: Path) -> None:
    file = put(installed(home), OLD, recorded=OLD)
    assert call("install", "--agent", "claude")[0] == 0
    file.write_bytes(OLD)
    assert call("install", "--agent", "claude")[:2] == (0, f"updated {file}, which was of {__version__}\n")
    assert file.read_bytes() == SKILL


def test_a_link_is_never_written_to(call: Call, home: Path, tmp_path: Path) -> None:
    target = tmp_path / "checkout"
    target.mkdir()
    (target / "SKILL.md").write_bytes(OLD)
    folder = installed(home).parent
    folder.parent.mkdir(parents=True)
    folder.symlink_to(target)
    message = (
        f"'{folder}' is a link to '{target}'; the file is updated there; remove the link to install a copy"
    )
    for force in ((), ("--force",)):
        done = call("install", "--agent", "claude", *force)
        assert done == (2, "", f"pull-logs: error: {message}\n")
    assert [path.name for path in target.iterdir()] == ["SKILL.md"]
    assert (target / "SKILL.md").read_bytes() == OLD


@pytest.mark.parametrize("name", ["SKILL.md.tmp", ".pull-logs.json", ".pull-logs.json.tmp"])
def test_no_link_that_a_foreign_project_has_is_written_to(name: str, call: Call, project: Path) -> None:
    victim = project.parent / "notes.txt"
    victim.write_text("mine")
    file = installed(project)
    file.parent.mkdir(parents=True)
    (file.parent / name).symlink_to(victim)
    assert call("install", "--agent", "claude", "--project")[0] == 0
    assert file.read_bytes() == SKILL
    assert victim.read_text() == "mine"
    assert sorted(path.name for path in file.parent.iterdir()) == [".pull-logs.json", "SKILL.md"]
    assert not record_of(file).is_symlink()


def test_a_file_or_a_folder_with_the_name_of_the_other_is_reported(call: Call, home: Path) -> None:
    (home / ".claude").write_text("")
    message = f"'{home / '.claude'}' is not a folder; rename it, or choose another agent"
    assert call("install", "--agent", "claude") == (2, "", f"pull-logs: error: {message}\n")
    installed(home, "codex").mkdir(parents=True)
    message = f"'{installed(home, 'codex')}' is a folder; rename it"
    assert call("install", "--agent", "codex") == (2, "", f"pull-logs: error: {message}\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "skill needs a command; write: pull-logs skill install or print"),
        (("instal",), "'instal' is not a command; the nearest is 'install'"),
        (("install", "--agent", "emacs"), "Invalid value for '--agent': 'emacs' is not one of 'claude', 'codex', 'cursor'; see `pull-logs skill install --help`"),  # noqa: E501
        (("install", "--agent", "cursr"), "Invalid value for '--agent': 'cursr' is not one of 'claude', 'codex', 'cursor'; the nearest is 'cursor'"),  # noqa: E501
        (("install", "--project", "--user"), "skill install has both --project and --user; write one of them"),  # noqa: E501
    ],
)  # fmt: skip
def test_wrong_usage_says_what_to_write(
    words: tuple[str, ...], message: str, call: Call, home: Path, project: Path
) -> None:
    assert call(*words) == (2, "", f"pull-logs: error: {message}\n")
    assert [*home.iterdir(), *project.iterdir()] == []
