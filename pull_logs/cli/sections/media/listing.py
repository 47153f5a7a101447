"""The answer of `media`: the files that rows and summaries point to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

from pull_logs._version import FORMAT
from pull_logs.cli.render import Nouns, Section, columns, name_cell
from pull_logs.cli.sections.legend import notes_section, runs_section
from pull_logs.suggestions import counted

if TYPE_CHECKING:
    from pull_logs.analyze import Subject
    from pull_logs.interface import RunMedia


class MediaRun(TypedDict):
    """A run."""

    label: str
    path: str
    name: str
    state: str
    media_total: int
    media_missing: int


class MediaFile(TypedDict):
    """A file that a value points to; `bytes` and `sha256` are None if the bundle does not have it."""

    run: str
    step: int | None
    key: str
    index: int | None
    kind: str
    file: str
    bytes: int | None
    sha256: str | None
    caption: str | None
    width: int | None
    height: int | None


class Media(TypedDict):
    """The JSON object of `media`; `pull_logs/data/schemas/media.json` describes it."""

    format: str
    command: str
    runs: list[MediaRun]
    media: list[MediaFile]
    notes: list[str]


def media_object(subjects: Sequence[Subject], media: Sequence[RunMedia]) -> Media:
    """Return what runs point to.

    Args:
        subjects: The runs.
        media: The media of each.
    """
    pairs = list(zip(subjects, media, strict=True))
    missing = sum(found.missing for found in media)
    return {
        "format": FORMAT,
        "command": "media",
        "runs": [
            {
                "label": subject.label,
                "path": str(subject.run.path),
                "name": subject.run.name,
                "state": subject.run.state,
                "media_total": len(found.items),
                "media_missing": found.missing,
            }
            for subject, found in pairs
        ],
        "media": [
            {
                "run": subject.label,
                "step": item.step,
                "key": item.key,
                "index": item.index,
                "kind": item.kind,
                "file": item.name,
                "bytes": None if item.file is None else item.file.size,
                "sha256": None if item.file is None else item.file.record.hash.removeprefix("sha256:"),
                "caption": item.caption,
                "width": item.width,
                "height": item.height,
            }
            for subject, found in pairs
            for item in found.items
        ],
        "notes": _notes(missing),
    }


def _notes(missing: int) -> list[str]:
    if not missing:
        return []
    return [f"{counted(missing, 'file')} not in the bundle: `fetch --media` and `import --media` add media"]


def media_sections(answer: Media) -> list[Section]:
    """Return the sections of `media` in order: one of files for each run that points to files."""
    files: dict[str, list[MediaFile]] = {}
    for file in answer["media"]:
        files.setdefault(file["run"], []).append(file)
    sections = [
        Section(
            name="MEDIA",
            facts={
                "run": run["label"],
                "media_total": run["media_total"],
                "media_missing": run["media_missing"],
            },
            columns=columns("step", "key", "index", "kind", "bytes", "caption", "file", key=name_cell),
            rows=[
                [
                    file["step"],
                    file["key"],
                    file["index"],
                    file["kind"],
                    file["bytes"],
                    file["caption"],
                    file["file"],
                ]
                for file in files[run["label"]]
            ],
            kept=5,
            nouns=Nouns(rows="files"),
            weight=6,
        )
        for run in answer["runs"]
        if run["label"] in files
    ]
    return [notes_section(answer["notes"]), runs_section(answer["runs"]), *sections]
