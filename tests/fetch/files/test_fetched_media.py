"""The media that rows point to are pulled by key or name, and what W&B does not have is reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from pulling import pull_from, reasons
from scripted_wandb import FakeRun, ScriptedWandb

from pull_logs.errors import UsageError
from pull_logs.fetch import PullOptions
from pull_logs.snapshot import open_bundle, verify_bundle

pytestmark = pytest.mark.anyio

FILES = {
    "media/images/a.png": b"a",
    "media/images/b.png": b"b",
    "media/html/other.html": b"other",
    "output.log": b"log",
}


def picture(name: str) -> dict[str, Any]:
    return {"_type": "image-file", "path": f"media/images/{name}.png", "caption": name}


ROWS: list[dict[str, Any]] = [
    {"_step": 0, "_timestamp": 1.0, "val": {"a": picture("a")}, "train": picture("b")},
    {"_step": 1, "_timestamp": 2.0, "gone": picture("gone")},
]


def a_run(rows: list[dict[str, Any]] = ROWS) -> FakeRun:
    return FakeRun.logging("r", rows, files=dict(FILES), state="finished")


def held(out: Path) -> set[str]:
    with open_bundle(out) as bundle:
        return set(bundle["r"].files)


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["*"], {"media/images/a.png", "media/images/b.png", "media/html/other.html"}),
        (["val.a"], {"media/images/a.png"}),
        (["val"], {"media/images/a.png"}),
        (["*.png"], {"media/images/a.png", "media/images/b.png"}),
        (["train", "media/images/a*"], {"media/images/a.png", "media/images/b.png"}),
        (["VAL*"], set()),
    ],
)
async def test_the_media_that_match_are_pulled(tmp_path: Path, patterns: list[str], names: set[str]) -> None:
    out = tmp_path / "b.zip"
    report = await pull_from(ScriptedWandb(a_run()), out, media=patterns)
    assert held(out) == names
    assert report.incomplete == ()
    assert verify_bundle(out).damages == ()


async def test_what_w_and_b_does_not_have_is_reported_and_in_the_index(tmp_path: Path) -> None:
    out = tmp_path / "b.zip"
    report = await pull_from(ScriptedWandb(a_run()), out, media=["*"])
    (note,) = report.notes
    assert note == (
        "the bundle lacks the files of 1 value of 1 key: gone (1 image-file), in 1 run: W&B does not have"
        " them"
    )
    with open_bundle(out) as bundle:
        assert {item.key: item.file is not None for item in bundle["r"].media()} == {
            "val.a": True,
            "train": True,
            "gone": False,
        }


async def test_media_of_new_rows_are_added_to_a_bundle_without_others(tmp_path: Path) -> None:
    out = tmp_path / "b.zip"
    await pull_from(ScriptedWandb(a_run(ROWS[1:])), out, media=["val"])
    assert held(out) == set()
    await pull_from(ScriptedWandb(a_run()), out, media=["val"])
    assert held(out) == {"media/images/a.png"}


@pytest.mark.parametrize(
    ("media", "before", "names"),
    [
        pytest.param(["*"], 1, {"a", "b"}, id="all its media: those of new keys too"),
        pytest.param(["val"], 2, {"a"}, id="a key of which it has all"),
        pytest.param([], 1, set(), id="no media"),
    ],
)
async def test_a_bundle_keeps_the_media_that_it_was_fetched_with_when_the_option_is_omitted(
    tmp_path: Path, media: list[str], before: int, names: set[str]
) -> None:
    rows: list[dict[str, Any]] = [
        {"_step": 0, "val": {"a": picture("a")}},
        {"_step": 1, "train": picture("b")},
        {"_step": 2, "train": picture("b"), "val": {"a": picture("a")}},
    ]
    out = tmp_path / "b.zip"
    await pull_from(ScriptedWandb(a_run(rows[:before])), out, media=media)
    report = await pull_from(ScriptedWandb(a_run(rows)), out)
    assert {name for name in held(out) if "images" in name} == {f"media/images/{name}.png" for name in names}
    assert report.notes == ()


async def test_media_of_a_key_of_which_the_bundle_has_a_part_are_not_added(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"_step": 0, "val": picture("a")},
        {"_step": 1, "val": picture("b")},
        {"_step": 2, "val": picture("c")},
    ]
    run = FakeRun.logging("r", rows, files={**FILES, "media/images/c.png": b"c"}, state="finished")
    out = tmp_path / "b.zip"
    await pull_from(ScriptedWandb(a_run(rows[:2])), out, media=["media/images/a*"])
    await pull_from(ScriptedWandb(run), out)
    assert held(out) == {"media/images/a.png"}


TABLE = "media/table/pred.table.json"
POINTED: dict[str, bytes] = {
    TABLE: b'{"columns":["id"],"data":[[9007199254740993],[NaN]]}',
    "media/images/a.png": bytes(range(256)),
}
POINTERS: list[dict[str, Any]] = [
    {"_step": 0, "pred": {"_type": "table-file", "path": TABLE}},
    {"_step": 1, "a": picture("a")},
]

DAMAGED: Mapping[str, Callable[[bytes], httpx.Response | Exception]] = {
    "refused": lambda _: httpx.Response(404),
    "reset": lambda _: httpx.ReadError("reset by peer"),
    "cut": lambda data: httpx.Response(
        200, headers={"Content-Length": str(len(data))}, stream=httpx.ByteStream(data[: len(data) // 2])
    ),
    "cut and said to be complete": lambda data: httpx.Response(200, content=data[:-1]),
    "empty": lambda _: httpx.Response(200, content=b""),
    "one bit": lambda data: httpx.Response(200, content=data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]),
    "a page": lambda data: httpx.Response(200, content=b"<html>".ljust(len(data))),
}
"""What comes in place of the bytes of a file."""


@pytest.mark.parametrize("name", POINTED)
@pytest.mark.parametrize("fault", DAMAGED)
async def test_a_download_that_is_damaged_is_asked_again_or_reported(
    tmp_path: Path, fault: str, name: str
) -> None:
    """Damaged once it is downloaded again; damaged always it is reported, and the next pull completes it."""

    def server(*, often: int) -> ScriptedWandb:
        made = ScriptedWandb(FakeRun.logging("r", POINTERS, files=dict(POINTED), state="finished"))
        left = [None] * often

        def damage(request: httpx.Request) -> httpx.Response | Exception | None:
            of_file = request.url.path == f"/files/r/{name.encode().hex()}"
            return DAMAGED[fault](POINTED[name]) if of_file and left and left.pop() is None else None

        made.faults.append(damage)
        return made

    calm, once, often = (tmp_path / f"{number}.zip" for number in range(3))
    await pull_from(server(often=0), calm, media=["*"])
    report = await pull_from(server(often=1), once, media=["*"])
    assert report.incomplete == ()
    assert once.read_bytes() == calm.read_bytes()
    report = await pull_from(server(often=1000), often, media=["*"])
    (reason,) = reasons(report).values()
    assert reason.startswith(f"file {name!r} could not be downloaded: ")
    with open_bundle(often) as bundle:
        assert {name: file.read() for name, file in bundle["r"].files.items()} == {
            other: data for other, data in POINTED.items() if other != name
        }
    assert verify_bundle(often).damages == ()
    report = await pull_from(server(often=0), often, media=["*"])
    assert report.incomplete == ()
    assert often.read_bytes() == calm.read_bytes()


async def test_files_that_arrived_are_not_asked_again_after_a_stop_though_the_rows_are(
    tmp_path: Path,
) -> None:
    """The rows of an exported run that went on are downloaded completely, and its files once."""
    out, calm = tmp_path / "b.zip", tmp_path / "calm.zip"
    before = FakeRun.exported("r", POINTERS[:1], files={TABLE: POINTED[TABLE]}, state="finished")
    await pull_from(ScriptedWandb(before), out, media=["*"])
    now = FakeRun.exported("r", POINTERS, files=dict(POINTED), state="finished")
    image = f"/files/r/{b'media/images/a.png'.hex()}"

    def stops(scope: anyio.CancelScope) -> Callable[[httpx.Request], None]:
        """Stop where the console log is requested: after the files."""
        return lambda request: scope.cancel() if b"RunConsole" in request.content else None

    with anyio.CancelScope() as scope:
        server = ScriptedWandb(now)
        server.faults.append(stops(scope))
        await pull_from(server, out, media=["*"], console=True)
    assert scope.cancelled_caught
    assert [request.url.path for request in server.requests].count(image) == 1
    again = ScriptedWandb(now)
    report = await pull_from(again, out, media=["*"], console=True)
    assert report.incomplete == ()
    assert image not in [request.url.path for request in again.requests]
    await pull_from(ScriptedWandb(now), calm, media=["*"], console=True)
    assert out.read_bytes() == calm.read_bytes()


def test_one_pattern_is_not_a_list() -> None:
    with pytest.raises(UsageError, match=r"^media is the string 'val', not a list of patterns; write "):
        PullOptions(media="val")
