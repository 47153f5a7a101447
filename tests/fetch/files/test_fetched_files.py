"""The files of runs: the selected ones arrive completely, and only the API receives the key."""

from __future__ import annotations

import base64
import hashlib
import json
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from pulling import PROJECT, named, pull_from, reasons
from scripted_wandb import API, KEY, QUICK, SETTINGS, FakeRun, ScriptedWandb, once, rows_of

from pull_logs.errors import UsageError
from pull_logs.fetch import PullOptions, estimate_pull, pull
from pull_logs.fetch.files import run_files as files
from pull_logs.snapshot import open_bundle, verify_bundle

pytestmark = pytest.mark.anyio

LOG_MD5 = "8e4e66d084de4f07f60995c902921394"
FILES: Mapping[str, bytes] = {
    "output.log": b"epoch 0\n" * 50,
    "config.yaml": b"lr:\n  value: 0.1\n",
    "media/images/a.png": bytes(range(256)) * 40,
    "empty.txt": b"",
    "../../evil": b"not a path",
}
ROWS = rows_of(range(3))


def a_run(run_id: str = "r", files: Mapping[str, bytes] = FILES, **more: Any) -> FakeRun:
    return FakeRun.exported(run_id, ROWS, files=dict(files), **more)


def files_in(out: Path, run: str = "r") -> dict[str, bytes]:
    with open_bundle(out) as bundle:
        return {name: file.read() for name, file in bundle[run].files.items()}


def of_file(request: httpx.Request) -> bool:
    return request.method == "GET" and "/files/" in request.url.path


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def downloads(server: ScriptedWandb) -> list[str]:
    """The files that were asked for, with their range."""
    return [
        bytes.fromhex(request.url.path.rpartition("/")[2]).decode() + request.headers.get("range", "")
        for request in server.requests
        if of_file(request)
    ]


@pytest.mark.parametrize(
    ("globs", "names"),
    [
        (("*",), set(FILES)),
        (("*.log", "*.yaml"), {"output.log", "config.yaml"}),
        (("media/*",), {"media/images/a.png"}),
        (("*.png",), {"media/images/a.png"}),
        (("output.log", "none.txt"), {"output.log"}),
        (("OUTPUT.*",), set()),
        (("[ce]*",), {"config.yaml", "empty.txt"}),
    ],
)
async def test_the_files_that_match_are_pulled(
    tmp_path: Path, globs: tuple[str, ...], names: set[str]
) -> None:
    out, server = tmp_path / "b.zip", ScriptedWandb(a_run())
    report = await pull_from(server, out, files=globs)
    assert files_in(out) == {name: FILES[name] for name in sorted(names)}
    assert (report.incomplete, report.seal.files) == ((), len(names))
    assert report.to_json()["file_bytes"] == sum(len(FILES[name]) for name in names)
    assert not verify_bundle(out).damages
    assert names_in(tmp_path) == ["b.zip"]


async def test_nothing_is_asked_about_files_that_nobody_wants(tmp_path: Path) -> None:
    server = ScriptedWandb(a_run())
    await pull_from(server, tmp_path / "b.zip")
    assert (server.count("RunFiles"), downloads(server)) == (0, [])


async def test_names_alone_are_requested_by_name(tmp_path: Path) -> None:
    server = ScriptedWandb(a_run())
    await pull_from(server, tmp_path / "b.zip", files=("output.log",))
    (asked,) = [
        json.loads(request.content)["variables"]
        for request in server.requests
        if b"RunFiles" in request.content
    ]
    assert asked["fileNames"] == ["output.log"]


async def test_a_listing_continues_over_pages_and_gives_way_in_size(tmp_path: Path) -> None:
    many = {f"{number}.txt": str(number).encode() for number in range(230)}
    server = ScriptedWandb(a_run(files=many))
    server.faults.append(
        lambda request: (
            httpx.Response(400, json={"errors": ["too many"]})
            if b'"fileLimit":200' in request.content
            else None
        )
    )
    await pull_from(server, tmp_path / "b.zip", files=("*",))
    assert files_in(tmp_path / "b.zip") == many
    assert server.count("RunFiles") == 1 + 5


async def test_what_has_no_match_and_what_is_too_large_is_reported_once(tmp_path: Path) -> None:
    server = ScriptedWandb(a_run("a"), a_run("b", {}), a_run("c", {"x.bin": b"1" * 500, "y.bin": b"1"}))
    report = await pull_from(server, tmp_path / "b.zip", files=("*.log", "x.*"), max_file_size=450)
    assert report.notes == (
        "1 of 3 runs have no file that matches '*.log' or 'x.*'",
        (
            "omitted 1 file of more than 450 bytes, 500 bytes in total;"
            " the first, 'x.bin' of acme/nano/c, has 500"
        ),
    )
    assert report.incomplete == ()
    with open_bundle(tmp_path / "b.zip") as bundle:
        assert [list(run.files) for run in bundle.runs()] == [["output.log"], [], []]


async def test_a_dry_run_counts_them(tmp_path: Path) -> None:
    server = ScriptedWandb(a_run("a"), a_run("b", {}))
    options = PullOptions(files=("*",), max_file_size=1000)
    found = await estimate_pull(PROJECT, options=options, settings=SETTINGS, transport=server.transport)
    assert (found.run_files, found.run_file_bytes) == (4, 400 + 17 + 10)
    assert found.notes[0] == "1 of 2 runs have no file that matches '*'"
    assert found.requests == len(server.requests) + 2 + 4
    assert downloads(server) == []
    assert names_in(tmp_path) == []
    plain = await estimate_pull(PROJECT, settings=SETTINGS, transport=server.transport)
    assert (plain.run_files, plain.to_json()["run_files"]) == (None, None)


async def test_the_key_goes_to_the_api_and_never_along_a_redirect(tmp_path: Path) -> None:
    server = ScriptedWandb(a_run())
    server.faults.append(
        lambda request: (
            httpx.Response(403, text="expired")
            if of_file(request)
            and request.url.host == "storage.test"
            and request.url.params["sig"] != "redirected"
            else None
        )
    )
    report = await pull_from(server, tmp_path / "b.zip", files=("*",))
    assert (report.incomplete, files_in(tmp_path / "b.zip")) == ((), dict(sorted(FILES.items())))
    for request in server.requests:
        assert ("authorization" in request.headers) == (request.url.host == "api.test")
    assert any(of_file(request) and request.url.host == "api.test" for request in server.requests)


async def test_an_api_that_repeats_the_key_does_not_get_it_into_a_report(tmp_path: Path) -> None:
    run = a_run(reported={"output.log": {"directUrl": None}})
    server = ScriptedWandb(run)
    server.faults.append(
        lambda request: httpx.Response(404, json={"error": f"not for {KEY}"}) if of_file(request) else None
    )
    report = await pull_from(server, tmp_path / "b.zip", files=("output.log",))
    assert reasons(report) == {
        "r": "file 'output.log' could not be downloaded: api.test answered 404: not for (the key)"
    }
    assert KEY not in json.dumps(report.to_json())


async def test_a_file_at_another_host_never_gets_the_key(tmp_path: Path) -> None:
    run = a_run(reported={"output.log": {"directUrl": None, "url": "https://evil.test/x"}})
    server = ScriptedWandb(run)
    server.faults.append(
        lambda request: (
            httpx.Response(200, content=FILES["output.log"]) if request.url.host == "evil.test" else None
        )
    )
    await pull_from(server, tmp_path / "b.zip", files=("output.log",))
    (asked,) = [request for request in server.requests if request.url.host == "evil.test"]
    assert "authorization" not in asked.headers
    assert files_in(tmp_path / "b.zip") == {"output.log": FILES["output.log"]}


async def test_an_address_may_be_reported_without_its_origin(tmp_path: Path) -> None:
    run = a_run()
    place = f"/files/r/{b'output.log'.hex()}"
    run.reported["output.log"] = {"directUrl": "", "url": place}
    server = ScriptedWandb(run)
    await pull_from(server, tmp_path / "b.zip", files=("output.log",))
    assert f"{API}{place}" in [str(request.url) for request in server.requests]
    assert files_in(tmp_path / "b.zip") == {"output.log": FILES["output.log"]}


def cut(request: httpx.Request, data: bytes, at: int) -> httpx.Response:
    """The beginning of an answer, whose end does not come."""
    return httpx.Response(200, headers={"Content-Length": str(len(data))}, stream=httpx.ByteStream(data[:at]))


async def test_a_download_that_breaks_off_continues_where_it_ended(tmp_path: Path) -> None:
    data = FILES["media/images/a.png"]
    server = ScriptedWandb(a_run())
    left = [1000]
    server.faults.append(
        lambda request: cut(request, data, left.pop()) if of_file(request) and left else None
    )
    await pull_from(server, tmp_path / "b.zip", files=("*.png",))
    assert downloads(server) == ["media/images/a.png", "media/images/a.pngbytes=1000-"]
    assert files_in(tmp_path / "b.zip") == {"media/images/a.png": data}


async def test_without_an_md5_it_begins_again(tmp_path: Path) -> None:
    data = FILES["media/images/a.png"]
    server = ScriptedWandb(a_run(reported={"media/images/a.png": {"md5": None}}))
    left = [1000]
    server.faults.append(
        lambda request: cut(request, data, left.pop()) if of_file(request) and left else None
    )
    await pull_from(server, tmp_path / "b.zip", files=("*.png",))
    assert downloads(server) == ["media/images/a.png"] * 2
    assert files_in(tmp_path / "b.zip") == {"media/images/a.png": data}


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_passes_is_asked_again(tmp_path: Path, status: int) -> None:
    server = ScriptedWandb(a_run())
    server.faults.append(once(httpx.Response(status), httpx.ReadError("reset"), when=of_file))
    report = await pull_from(server, tmp_path / "b.zip", files=("output.log",))
    assert (report.incomplete, report.retries) == ((), 2)
    assert files_in(tmp_path / "b.zip") == {"output.log": FILES["output.log"]}


async def test_a_log_that_is_written_again_meanwhile_is_listed_again(tmp_path: Path) -> None:
    run = a_run()
    server = ScriptedWandb(run)

    def grow(request: httpx.Request) -> None:
        if of_file(request) and len(run.files["output.log"]) == len(FILES["output.log"]):
            run.files["output.log"] += b"more\n"

    server.faults.append(grow)
    report = await pull_from(server, tmp_path / "b.zip", files=("output.log",))
    assert report.incomplete == ()
    assert files_in(tmp_path / "b.zip") == {"output.log": FILES["output.log"] + b"more\n"}


@pytest.mark.parametrize(
    ("reported", "reason"),
    [
        (
            {"md5": base64.b64encode(b"x" * 16).decode()},
            f"its MD5 is {LOG_MD5} and W&B reports {'78' * 16}",
        ),
        ({"md5": None, "sizeBytes": 401}, "it has 400 bytes and W&B reports 401"),
        ({"sizeBytes": 399}, "it has more than the 399 bytes that W&B reports"),
        ({"directUrl": None, "url": None}, "W&B names no address for it"),
        (
            {"directUrl": "ftp://x/y", "url": None},
            "the server named a file that is not at an http(s) address",
        ),
        (
            {"directUrl": "https://storage.test/files/r/00?sig=1", "url": None},
            "storage.test answered 404: an XML page with the code NoSuchKey",
        ),
    ],
)
async def test_a_file_that_cannot_be_downloaded_makes_its_run_incomplete(
    tmp_path: Path, reported: dict[str, Any], reason: str
) -> None:
    out, run = tmp_path / "b.zip", a_run(reported={"output.log": reported})
    server = ScriptedWandb(run, a_run("s"))
    report = await pull_from(server, out, files=("*.log", "*.yaml"))
    assert reasons(report) == {"r": f"file 'output.log' could not be downloaded: {reason}"}
    assert files_in(out) == {"config.yaml": FILES["config.yaml"]}
    run.reported.clear()
    before = len(downloads(server))
    again = await pull_from(server, out, files=("*.log", "*.yaml"))
    assert again.incomplete == ()
    assert set(downloads(server)[before:]) == {"output.log"}
    assert files_in(out) == {name: FILES[name] for name in ("config.yaml", "output.log")}


async def test_a_name_that_no_bundle_can_hold_is_reported(tmp_path: Path) -> None:
    server = ScriptedWandb(a_run(files={"x" * 1025: b"1", "a": b"2"}))
    report = await pull_from(server, tmp_path / "b.zip", files=("*",))
    assert reasons(report)["r"].endswith(
        "could not be downloaded: a file's name has 1025 bytes, not 1 to 1024"
    )
    assert files_in(tmp_path / "b.zip") == {"a": b"2"}


async def test_an_md5_in_hex_or_none_and_sizes_of_any_kind_do(tmp_path: Path) -> None:
    log = FILES["output.log"]
    run = a_run(
        reported={
            "output.log": {
                "md5": hashlib.md5(log, usedforsecurity=False).hexdigest().upper(),
                "sizeBytes": 400,
            },
            "config.yaml": {"md5": "??", "sizeBytes": None, "mimetype": "text/x\r\nX-Y: z"},
        }
    )
    report = await pull_from(ScriptedWandb(run), tmp_path / "b.zip", files=("*.log", "*.yaml"))
    assert report.incomplete == ()
    with open_bundle(tmp_path / "b.zip") as bundle:
        mediatypes = {name: file.mediatype for name, file in bundle["r"].files.items()}
        assert mediatypes == {"output.log": "text/plain", "config.yaml": None}


# Stopping and going on


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_WORKERS", 1)


@pytest.mark.usefixtures("one_at_a_time")
async def test_a_pull_that_was_stopped_asks_for_no_file_twice(tmp_path: Path) -> None:
    out, server = tmp_path / "b.zip", ScriptedWandb(a_run())
    with anyio.CancelScope() as scope:
        server.faults = [
            lambda request: scope.cancel() if of_file(request) and downloads(server)[2:] else None
        ]
        await pull_from(server, out, files=("*",))
    assert scope.cancelled_caught
    server.faults = []
    left = [path.read_bytes() for path in (tmp_path / "b.zip.partial" / "files").rglob("*") if path.is_file()]
    first = [name for name in downloads(server) if FILES[name] in left]
    assert len(first) == 2
    before = len(downloads(server))
    await pull_from(server, out, files=("*",))
    assert not set(first) & set(downloads(server)[before:])
    calm = ScriptedWandb(a_run())
    await pull_from(calm, tmp_path / "calm.zip", files=("*",))
    assert out.read_bytes() == (tmp_path / "calm.zip").read_bytes()


async def test_other_files_are_another_pull(tmp_path: Path) -> None:
    server = ScriptedWandb(a_run())
    with anyio.CancelScope() as scope:
        server.faults = [lambda request: scope.cancel() if of_file(request) else None]
        await pull_from(server, tmp_path / "b.zip", files=("*.log",))
    server.faults = []
    for other in ({}, {"files": ("*.txt",)}, {"files": ("*.log",), "max_file_size": 7}):
        with pytest.raises(UsageError, match="holds what arrived for another selection of runs"):
            await pull_from(server, tmp_path / "b.zip", **other)
    again = await pull_from(server, tmp_path / "b.zip", files=("*.log",))
    assert (again.incomplete, again.seal.files) == ((), 1)


@pytest.mark.usefixtures("one_at_a_time")
async def test_storage_that_cannot_be_reached_is_reported_and_the_same_call_asks_for_the_rest(
    tmp_path: Path,
) -> None:
    out, server = tmp_path / "b.zip", ScriptedWandb(a_run())
    server.faults = [lambda request: httpx.ConnectError("unplugged") if downloads(server)[2:] else None]
    report = await pull_from(server, out, files=("*",))
    assert reasons(report)["r"].endswith(
        "could not be downloaded: storage.test cannot be reached, nor 2 more"
    )
    server.faults, before = [], len(downloads(server))
    await pull_from(server, out, files=("*",))
    assert len(downloads(server)[before:]) == 3
    assert files_in(out) == dict(sorted(FILES.items()))


@pytest.mark.parametrize("wrong", [{"files": ("",)}, {"files": ("*",), "max_file_size": -1}])
async def test_a_wish_that_is_none_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        await pull_from(ScriptedWandb(a_run()), tmp_path / "b.zip", **wrong)


# Bringing a bundle up to date


async def test_the_files_of_runs_that_did_not_change_are_copied(tmp_path: Path) -> None:
    out, server = tmp_path / "b.zip", ScriptedWandb(a_run())
    await pull_from(server, out, files=("*",))
    sealed, before = out.read_bytes(), server.count("RunFiles")
    report = await pull_from(server, out, named("r"), previous=out)
    assert out.read_bytes() == sealed
    assert (server.count("RunFiles"), [outcome.how for outcome in report.runs]) == (before, ["copied"])


async def test_of_a_run_that_went_on_its_files_are_brought_up_to_date(tmp_path: Path) -> None:
    out, rows = tmp_path / "b.zip", rows_of(range(40))
    run = FakeRun.logging("r", rows[:20], files=dict(FILES))
    server = ScriptedWandb(run)
    await pull_from(server, out, files=("*.log", "*.yaml"))
    run.live, run.lines, run.last_step = rows, 40, 39
    run.files["output.log"] += b"epoch 51\n"
    run.files["new.log"] = b"new"
    run.extra = {"heartbeatAt": "2026-01-02T09:05:05Z"}
    before = len(downloads(server))
    report = await pull_from(server, out, named("r"), previous=out)
    assert [outcome.how for outcome in report.runs] == ["appended"]
    assert downloads(server)[before:] == ["output.log"]
    assert files_in(out) == {"config.yaml": FILES["config.yaml"], "output.log": run.files["output.log"]}
    await pull_from(server, out, named("r"), previous=out, files=("new.*",))
    assert list(files_in(out)) == ["config.yaml", "new.log", "output.log"]
    fresh = tmp_path / "fresh.zip"
    await pull_from(server, fresh, files=("*.log", "*.yaml"))
    assert fresh.read_bytes() == out.read_bytes()


async def test_a_file_that_cannot_be_downloaded_any_more_stays_as_it_was_and_is_reported(
    tmp_path: Path,
) -> None:
    out, server = tmp_path / "b.zip", ScriptedWandb(run := a_run())
    await pull_from(server, out, files=("*.log",))
    run.files["output.log"] = b"other"
    server.faults.append(lambda request: httpx.Response(404) if of_file(request) else None)
    report = await pull_from(server, out, named("r"), previous=out, files=("*.log",))
    assert reasons(report) == {"r": "file 'output.log' could not be downloaded: api.test answered 404"}
    assert files_in(out) == {"output.log": FILES["output.log"]}


async def test_a_large_file_is_never_in_memory_complete(tmp_path: Path) -> None:
    size = 48 * 2**20
    chunk = b"0123456789abcdef" * 4096
    md5 = hashlib.md5(usedforsecurity=False)
    for _ in range(size // len(chunk)):
        md5.update(chunk)
    run = a_run(files={"weights.bin": b""})
    run.reported["weights.bin"] = {"sizeBytes": size, "md5": md5.hexdigest()}

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            for _ in range(size // len(chunk)):
                yield chunk

    class Large(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if of_file(request):
                return httpx.Response(200, headers={"Content-Length": str(size)}, stream=Endless())
            await request.aread()
            return server.handle(request)

    server = ScriptedWandb(run)
    tracemalloc.start()
    try:
        options = PullOptions(files=("*",), policy=QUICK)
        await pull(PROJECT, out=tmp_path / "b.zip", options=options, settings=SETTINGS, transport=Large())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * 2**20
    with open_bundle(tmp_path / "b.zip") as bundle:
        assert bundle["r"].files["weights.bin"].size == size
