"""Install SKILL.md where coding agents look for it, without replacing what somebody changed.

Beside an installed file is a record of what was written there. A file with a recorded digest is as it was
installed, and is updated; any other belongs to somebody else. The record is written first, and names the old
file as well as the new one, so that an interrupted update is continued by the next.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pull_logs._version import __version__
from pull_logs.errors import FileMissingError, UsageError

SKILL = "SKILL.md"
NAME = "wandb-pull-logs"
"""The name of the skill in its front matter, which its folder must have too."""

RECORD = ".pull-logs.json"
"""The record beside an installed file."""

SKILL_FOLDERS: Mapping[str, str] = {
    "claude": ".claude/skills",
    "codex": ".agents/skills",
    "cursor": ".cursor/skills",
}
"""Where each agent looks, in the home folder and in a project (docs/cli.md, "Coding agents")."""

_OWN_FOLDERS: Mapping[str, tuple[str, ...]] = {
    "claude": (".claude",),
    "codex": (".codex", ".agents"),
    "cursor": (".cursor",),
}
"""The folders that show that an agent is used."""

State = Literal["missing", "current", "unrecorded", "older", "changed"]
"""What is installed: nothing, this text (with or without its record), a text that was installed, another."""


@dataclass(frozen=True, slots=True)
class Installed:
    """What there is at one of the paths of the skill.

    Attributes:
        path: The path of SKILL.md.
        state: How it compares with the text of this release.
        version: The release that wrote it; empty if none is recorded.
        digests: The digests of the texts that were written there.
    """

    path: Path
    state: State
    version: str = ""
    digests: tuple[str, ...] = ()


def skill_text() -> str:
    """Return SKILL.md: of the wheel, or of the checkout if the package is used from there.

    Raises:
        FileMissingError: The installation lacks it.
    """
    package = files("pull_logs")
    for file in (package / "data" / SKILL, Path(str(package)).parent / SKILL):
        if file.is_file():
            return file.read_text(encoding="utf-8")
    raise FileMissingError(f"this installation has no {SKILL}", hint="install wandb-pull-logs again")


def agents_in_use(*folders: Path) -> list[str]:
    """Return the agents that have a folder in one of these.

    Raises:
        UsageError: None has.
    """
    found = [
        agent
        for agent, own in _OWN_FOLDERS.items()
        if any((folder / name).is_dir() for folder in folders for name in own)
    ]
    if not found:
        looked = ", ".join(sorted({name for own in _OWN_FOLDERS.values() for name in own}))
        where = " or ".join(repr(str(folder)) for folder in folders)
        raise UsageError(
            f"no coding agent is known here: {where} has none of {looked}",
            hint=f"name one: --agent {', '.join(SKILL_FOLDERS)}",
        )
    return found


def home_folder() -> Path:
    """Return the home folder of the user.

    Raises:
        UsageError: The system does not say which it is.
    """
    try:
        return Path.home()
    except RuntimeError as exc:
        raise UsageError("the home folder is not known", hint="set HOME, or use --project") from exc


def inspect(agent: str, base: Path, text: str) -> Installed:
    """Return what is installed for an agent.

    Args:
        agent: The name of the agent.
        base: The home folder, or the folder of a project.
        text: SKILL.md of this release.

    Raises:
        UsageError: Something else has the path: a link, or a file instead of a folder.
        PullLogsError: The file cannot be read.
    """
    from pull_logs.system_errors import from_system_error

    path = base / SKILL_FOLDERS[agent] / NAME / SKILL
    _check_path(path, base)
    try:
        if not path.exists():
            return Installed(path, "missing")
        digest = _digest(path.read_bytes())
        version, digests = _recorded(path.with_name(RECORD))
    except OSError as exc:
        raise from_system_error(exc, path=path, action="read") from exc
    known = digest in digests
    if digest == _digest(text.encode()):
        return Installed(path, "current" if known else "unrecorded", version, digests)
    return Installed(path, "older" if known else "changed", version, (digest,) if known else ())


def refuse_changed(found: Sequence[Installed]) -> None:
    """Refuse to replace files that somebody changed.

    Raises:
        UsageError: There is one.
    """
    for installed in found:
        if installed.state == "changed":
            why = (
                "was changed after it was installed"
                if installed.version
                else "was not installed by this command"
            )
            raise UsageError(
                f"'{installed.path}' {why}, and is left as it is",
                hint="compare it with `pull-logs skill print`, and replace it with --force",
            )


def install(installed: Installed, text: str) -> str:
    """Write SKILL.md unless it is there already, and return what was done as a line of text.

    Raises:
        PullLogsError: It cannot be written.
    """
    if installed.state == "current":
        return f"{installed.path} is up to date"
    from pull_logs.snapshot import disk_errors, make_folder

    digests = (*installed.digests, _digest(text.encode()))
    record = json.dumps({"version": __version__, "sha256": sorted(set(digests))}) + "\n"
    with disk_errors(installed.path, hint="free some space and run the same command again"):
        make_folder(installed.path.parent)
        _write(installed.path.with_name(RECORD), record)
        if installed.state != "unrecorded":
            _write(installed.path, text)
    match installed.state:
        case "missing":
            return f"installed {installed.path}"
        case "unrecorded":
            return f"{installed.path} is up to date"
        case "older":
            return f"updated {installed.path}, which was of {installed.version or 'an unknown release'}"
        case "changed":
            return f"replaced {installed.path}"


def _check_path(path: Path, base: Path) -> None:
    for link in (path.parent, path):
        if link.is_symlink():
            raise UsageError(
                f"'{link}' is a link to '{link.readlink()}'",
                hint="the file is updated there; remove the link to install a copy",
            )
    for folder in path.parents:
        if folder == base:
            break
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"'{folder}' is not a folder", hint="rename it, or choose another agent")
    if path.is_dir():
        raise UsageError(f"'{path}' is a folder", hint="rename it")


def _recorded(record: Path) -> tuple[str, tuple[str, ...]]:
    """Return the release and the digests of a record; nothing of one that is missing or not ours."""
    try:
        content = json.loads(record.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return "", ()
    if not isinstance(content, dict):
        return "", ()
    version, digests = content.get("version"), content.get("sha256")
    known = digests if isinstance(digests, list) else []
    return version if isinstance(version, str) else "", tuple(item for item in known if isinstance(item, str))


def _digest(content: bytes) -> str:
    """Return the digest of a text; line ends do not count, which Git may have changed in a project."""
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()


def _write(file: Path, text: str) -> None:
    """Write a file, which gets its name when it is complete; a link in a foreign project is not followed."""
    from pull_logs.snapshot import write_file

    write_file(file, text.encode())
