"""No run is safe to delete of which the bundle lacks a media file, or of whose table one byte differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pulling import PROJECT, pull_from
from scripted_wandb import QUICK, SETTINGS, FakeRun, Instant, Row, ScriptedWandb, rows_of

from pull_logs.fetch import run_async
from pull_logs.proof import AskOptions, RunProof, prove_against_wandb

TABLE, SUMMARY_TABLE = "media/table/pred.table.json", "media/table/best.table.json"
IMAGE, MASK = "media/images/a.png", "media/images/mask.png"
FILES: Mapping[str, bytes] = {
    TABLE: b'{"columns":["id","x"],"data":[[9007199254740993,NaN]]}',
    SUMMARY_TABLE: b'{"columns":["x"],"data":[[NaN]]}',
    IMAGE: b"\x89PNG",
    MASK: b"mask",
    "media/audio/beep.wav": b"RIFF",
    "media/videos/film.mp4": b"mp4",
    "media/html/page.html": b"<p>hi",
    "media/plotly/line.plotly.json": b'{"data":[]}',
    "media/html/unnamed.html": b"no row points to it",
}


def _file(kind: str, path: str, **more: Any) -> dict[str, Any]:
    return {"_type": kind, "path": path, **more}


ROWS: Sequence[Row] = [
    {"_step": 0, "pred": _file("table-file", TABLE), "loss": 0.5},
    {"_step": 1, "a": _file("image-file", IMAGE, masks={"m": _file("mask", MASK)})},
    {"_step": 2, "beep": _file("audio-file", "media/audio/beep.wav")},
    {"_step": 3, "film": [_file("video-file", "media/videos/film.mp4")]},
    {"_step": 4, "val": {"page": _file("html-file", "media/html/page.html")}},
    {"_step": 5, "line": _file("plotly-file", "media/plotly/line.plotly.json")},
    *rows_of(range(6, 9)),
]


def a_run(run_id: str, files: Mapping[str, bytes] = FILES) -> FakeRun:
    summary = {"best": _file("table-file", SUMMARY_TABLE)}
    return FakeRun.logging(run_id, list(ROWS), state="finished", files=dict(files), summary=summary)


def verdicts(
    held: Sequence[Mapping[str, bytes]], there: Sequence[Mapping[str, bytes]], out: Path, **options: Any
) -> list[RunProof]:
    """Pull runs with these files, and compare them with runs that have those."""
    before, now = (
        ScriptedWandb(*(a_run(f"r{number:03}", files) for number, files in enumerate(of_runs)))
        for of_runs in (held, there)
    )
    run_async(partial(pull_from, before, out, PROJECT, **{"media": ["*"], **options}))
    asked = AskOptions(settings=SETTINGS, policy=QUICK, transport=now.transport, clock=Instant().clock)
    return list(prove_against_wandb(out, compare_rows=True, options=asked).runs)


def test_each_single_media_file_that_the_bundle_lacks_makes_the_run_not_safe(tmp_path: Path) -> None:
    held = [{name: data for name, data in FILES.items() if name != gone} for gone in (*FILES, None)]
    found = verdicts(held, [FILES] * len(held), tmp_path / "b.zip")
    assert [run.verdict for run in found] == [*["not safe"] * len(FILES), "safe"]
    for run, name in zip(found, FILES, strict=False):
        reasons = [f"1 of 9 files are not in the bundle: {name!r}"]
        if name != "media/html/unnamed.html":
            reasons.append("1 of 8 files of its media are not in the bundle")
        assert list(run.reasons) == reasons


@pytest.mark.parametrize("name", [SUMMARY_TABLE, IMAGE])
def test_each_single_byte_of_a_media_file_that_differs_makes_the_run_not_safe(
    tmp_path: Path, name: str
) -> None:
    data = FILES[name]
    others = [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(len(data))]
    others += [data[:-1], data + b" ", b""]
    there = [{**FILES, name: other} for other in (*others, data)]
    found = verdicts([FILES] * len(there), there, tmp_path / "b.zip")
    assert [run.verdict for run in found] == [*["not safe"] * len(others), "safe"]
    assert {run.reasons for run in found[:-1]} == {(f"1 file differs: {name!r}",)}


@pytest.mark.parametrize(
    ("patterns", "lacking"),
    [(["pred"], 8), (["*.table.json"], 7), (["a", "beep", "film"], 5), (["nothing"], 9)],
)
def test_a_pull_of_some_media_is_not_safe(tmp_path: Path, patterns: list[str], lacking: int) -> None:
    (found,) = verdicts([FILES], [FILES], tmp_path / "b.zip", media=patterns)
    assert found.verdict == "not safe"
    assert found.reasons[0].startswith(f"{lacking} of 9 files are not in the bundle: ")


def test_a_file_that_w_and_b_does_not_have_either_is_not_lost_with_the_run(tmp_path: Path) -> None:
    without = {name: data for name, data in FILES.items() if name != MASK}
    (found,) = verdicts([without], [without], tmp_path / "b.zip")
    (media,) = (part for part in found.parts if part.part == "media")
    assert (found.verdict, media.wandb, media.bundle) == ("safe", 7, 7)
