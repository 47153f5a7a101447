"""Remote bundles: few requests, the same answers, and our own errors for every fault of the network."""

from __future__ import annotations

import http.server
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from bundlekit import ROWS, bundle_run, make_bundle, run_info, two_runs

from pull_logs.errors import (
    BundleDamagedError,
    FileMissingError,
    FormatTooNewError,
    NetworkError,
    ServerError,
    SignInError,
    UnsafeFileError,
    UsageError,
)
from pull_logs.rows.batches import batch_from_arrow
from pull_logs.runs import Coverage
from pull_logs.snapshot import Bundle, open_bundle, write_bundle
from pull_logs.snapshot.format import remote as remote_module
from pull_logs.snapshot.format.manifest import render_format
from pull_logs.snapshot.format.names import is_url, shown_url
from pull_logs.snapshot.write.run_sources import BundleRun

MOST_REQUESTS = 6
Mode = Literal["ranges", "complete", "short", "lost"]


class Served:
    """A server of files on loopback, and the requests it received.

    Attributes:
        url: The URL of the files.
        files: Bytes by name, or the status to answer with.
        mode: How ranges are served: correctly, not at all, cut short, or not after the first.
        asked: `HEAD`, or the first and last byte of each range.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.files: dict[str, bytes | int] = {}
        self.mode: Mode = "ranges"
        self.asked: list[str] = []
        self.sent = 0

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        found = self.files.get(request.path.partition("?")[0].lstrip("/"), 404)
        ranged = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("Range") or "")
        self.asked.append(f"{ranged[1]}-{ranged[2]}" if ranged else request.command)
        if isinstance(found, int):
            request.send_response(found)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        body, status = found, 200
        if ranged and self.mode != "complete":
            body, status = found[int(ranged[1]) : int(ranged[2]) + 1], 206
        if ranged and self.mode == "short":
            body = body[:-1]
        if ranged and self.mode == "lost":
            self.files = {}
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        if status == 206:
            last = int(ranged[1]) + len(body) - 1 if ranged else 0
            request.send_header("Content-Range", f"bytes {ranged[1] if ranged else 0}-{last}/{len(found)}")
        request.end_headers()
        if request.command == "GET":
            self.sent += len(body)
            request.wfile.write(body)

    @property
    def requests(self) -> int:
        return len(self.asked)


@pytest.fixture
def served() -> Iterator[Served]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            files.answer(self)

        def do_HEAD(self) -> None:
            files.answer(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    files = Served(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield files
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def opened(served: Served, bundle: Path | bytes, query: str = "") -> Iterator[Bundle]:
    served.files["b.wandb.zip"] = bundle if isinstance(bundle, bytes) else bundle.read_bytes()
    with open_bundle(f"{served.url}/b.wandb.zip{query}") as found:
        yield found


def wide_run(path: str, rows: int, columns: int, *, residual: bool = False) -> BundleRun:
    rng = np.random.default_rng(7)
    cells = {f"m/{number:02}": pa.array(rng.normal(size=rows)) for number in range(columns)}
    table: dict[str, Any] = {"_step": pa.array(np.cumsum(rng.integers(1, 1000, rows)))} | cells
    if residual:
        table["nested"] = pa.array([{"a": f"{value}"} if value % 9 == 0 else None for value in range(rows)])
    batch = batch_from_arrow(pa.table(table))
    coverage = Coverage(received_rows=rows, received_last_step=None)
    return BundleRun(info=run_info(path), coverage=coverage, batches=lambda: [batch])


def test_a_small_bundle_is_one_request_after_its_size(served: Served, tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "b.wandb.zip")
    with opened(served, path) as remote, open_bundle(path) as local:
        assert remote.bundle_id == local.bundle_id
        assert remote.run_paths == local.run_paths
        for there, here in zip(remote.runs(), local.runs(), strict=True):
            assert repr(there.info) == repr(here.info)
            assert repr(list(there.scan_history())) == repr(list(here.scan_history()))
            assert list(there.system_rows()) == list(here.system_rows())
    size = path.stat().st_size
    assert served.asked == ["HEAD", f"0-{size - 1}"]


@pytest.mark.parametrize("residual", [False, True])
def test_a_column_of_one_of_200_runs_is_within_the_requests(
    served: Served, tmp_path: Path, *, residual: bool
) -> None:
    path = tmp_path / "b.wandb.zip"
    write_bundle(
        path,
        [wide_run(f"acme/nano/r{number:03}", 500, 20, residual=residual) for number in range(200)],
        force=True,
    )
    with opened(served, path) as remote, open_bundle(path) as local:
        assert served.requests <= 3
        assert remote["r117"].arrow_table(["m/07"]).equals(local["r117"].arrow_table(["m/07"]))
        assert served.requests <= MOST_REQUESTS - 2
    assert served.sent < path.stat().st_size / 8


@pytest.mark.parametrize("residual", [False, True])
def test_a_column_of_a_large_run_is_within_the_requests_and_the_others_are_not_read(
    served: Served, tmp_path: Path, *, residual: bool
) -> None:
    path = tmp_path / "b.wandb.zip"
    runs = [wide_run(f"acme/nano/r{number}", 100_000, 24, residual=residual) for number in range(2)]
    write_bundle(path, runs, force=True)
    with opened(served, path) as remote, open_bundle(path) as local:
        assert remote["r1"].arrow_table(["m/13"]).equals(local["r1"].arrow_table(["m/13"]))
        assert served.requests <= MOST_REQUESTS
    assert served.sent < path.stat().st_size / 6


@pytest.mark.parametrize("count", [1_500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_column_of_one_of_thousands_of_runs_is_within_the_requests(
    served: Served, tmp_path: Path, count: int
) -> None:
    path = tmp_path / "b.wandb.zip"
    runs = [bundle_run(f"acme/nano/r{number:05}", ROWS, config={"seed": number}) for number in range(count)]
    write_bundle(path, runs, force=True)
    with opened(served, path) as remote:
        assert len(remote) == count
        assert served.requests == 4
        assert remote["r01234"].config == {"seed": 1234}
        assert remote["r01234"].arrow_table(["acc"]).num_rows == len(ROWS)
        assert served.requests == 5


def test_a_run_of_many_row_groups_is_read_in_few_spans_and_again_from_what_is_kept(
    served: Served, tmp_path: Path
) -> None:
    path = tmp_path / "b.wandb.zip"
    write_bundle(path, [wide_run("acme/nano/x", 300_000, 4)], force=True)
    with opened(served, path) as remote, open_bundle(path) as local:
        assert remote["x"].arrow_table().equals(local["x"].arrow_table())
        requests = served.requests
        assert requests <= MOST_REQUESTS
        assert remote["x"].arrow_table(["m/00"]).equals(local["x"].arrow_table(["m/00"]))
        assert served.requests == requests


def test_several_threads_read_from_one_bundle(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "b.wandb.zip"
    write_bundle(path, [wide_run(f"acme/nano/r{number}", 2_000, 8) for number in range(24)], force=True)
    with opened(served, path) as remote, open_bundle(path) as local, ThreadPoolExecutor(8) as pool:
        tables = pool.map(lambda name: remote[name].arrow_table(), remote)
        assert all(table.equals(local[name].arrow_table()) for name, table in zip(local, tables, strict=True))


def test_memory_is_bounded_by_what_is_kept(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_module, "_CACHED_BYTES", 2**20)
    path = tmp_path / "b.wandb.zip"
    write_bundle(path, [wide_run(f"acme/nano/r{number}", 5_000, 8) for number in range(12)], force=True)
    with opened(served, path) as remote, open_bundle(path) as local:
        file = remote._container._file  # type: ignore[attr-defined]
        for name in local:
            assert remote[name].arrow_table().equals(local[name].arrow_table())
            assert sum(len(data) for _, data in file._blocks) <= 2**20


def test_any_file_system_of_fsspec_will_do(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "b.wandb.zip")
    fsspec.filesystem("memory").pipe_file("/bundles/b.wandb.zip", path.read_bytes())
    for url in ("memory://bundles/b.wandb.zip", f"file://{path}"):
        with open_bundle(url) as remote:
            assert len(remote) == 2
            assert [row["_step"] for row in remote["3fk2a"].scan_history()] == [0, 1, 4]
            assert (remote.path, remote["b"].bundle_path) == (url, url)


def test_no_local_path_loads_fsspec_or_the_module_of_urls(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "b.wandb.zip")
    code = (
        "import sys; from pull_logs import open_bundle\n"
        f"with open_bundle({str(path)!r}) as bundle: bundle['3fk2a'].arrow_table()\n"
        "print({'fsspec', 'aiohttp', 'pull_logs.snapshot.format.remote'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_without_fsspec_the_error_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(UsageError) as caught:
        open_bundle("https://example.com/b.wandb.zip?sig=hidden")
    assert str(caught.value) == (
        "'https://example.com/b.wandb.zip' is a URL, and fsspec is not installed;"
        " pip install 'wandb-pull-logs[remote]', or download the bundle"
    )


def test_without_the_library_of_a_protocol_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(UsageError) as caught:
        open_bundle("s3://bucket/b.wandb.zip")
    assert str(caught.value) == (
        "'s3://bucket/b.wandb.zip' needs a library that is not installed: Install s3fs to access S3;"
        " pip install 'wandb-pull-logs[s3]'"
    )
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(UsageError, match=r"'https://example.com/b' needs a library"):
        open_bundle("https://example.com/b")


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^fsspec does not support the kind of URL of 'nosuch://x/b'"):
        open_bundle("nosuch://x/b")


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (404, FileMissingError, "there is no file at {!r}"),
        (410, FileMissingError, "there is no file at {!r}"),
        (401, SignInError, "{!r} may not be read"),
        (403, SignInError, "{!r} may not be read"),
        (500, ServerError, "{!r} cannot be read: the server answered 500"),
    ],
)
def test_errors_of_the_server_are_ours_and_show_no_query(
    served: Served, status: int, kind: type[Exception], message: str
) -> None:
    served.files["b.wandb.zip"] = status
    url = f"{served.url}/b.wandb.zip"
    with pytest.raises(kind) as caught:
        open_bundle(f"{url}?X-Amz-Signature=hidden")
    assert str(caught.value).split(";")[0] == message.format(url)


def test_a_host_that_does_not_answer_is_a_network_error(served: Served) -> None:
    with pytest.raises(NetworkError) as caught:
        open_bundle("http://127.0.0.1:9/b.wandb.zip")
    assert str(caught.value).startswith("'http://127.0.0.1:9/b.wandb.zip' cannot be read: ")


def test_a_server_without_ranges_is_refused_before_the_complete_file_is_read(
    served: Served, tmp_path: Path
) -> None:
    path = tmp_path / "b.wandb.zip"
    write_bundle(path, [wide_run("acme/nano/x", 50_000, 8)], force=True)
    served.mode = "complete"
    refused = pytest.raises(
        NetworkError, match=r"is not served in ranges; download the bundle and open the file$"
    )
    with refused, opened(served, path):
        pass
    assert served.requests == 2


def test_a_file_that_disappears_before_it_is_read_is_reported(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "b.wandb.zip"
    write_bundle(path, [wide_run("acme/nano/x", 50_000, 8)], force=True)
    served.mode = "lost"
    with pytest.raises(FileMissingError, match="there is no file at"), opened(served, path):
        pass


def test_an_answer_that_is_too_short_is_reported(served: Served, tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "b.wandb.zip")
    size = path.stat().st_size
    served.mode = "short"
    refused = pytest.raises(NetworkError, match=rf"returned {size - 1} bytes instead of {size}")
    with refused, opened(served, path):
        pass


def test_a_closed_bundle_is_reported(served: Served, tmp_path: Path) -> None:
    with opened(served, make_bundle(tmp_path / "b.wandb.zip")) as bundle:
        pass
    with pytest.raises(UsageError, match=r"/b.wandb.zip' is closed$"):
        bundle["b"].arrow_table()


def _flipped(data: bytes) -> bytes:
    number = data.index(b"PAR1", data.index(b"run=3fk2a")) + 40
    return data[:number] + bytes([data[number] ^ 1]) + data[number + 1 :]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda data: data[:-10], BundleDamagedError),
        (lambda data: data + b"x", BundleDamagedError),
        (lambda data: b"x" + data, UnsafeFileError),
        (lambda data: b"<html>" * 1000, UnsafeFileError),
        (lambda data: data[:200] + data[201:], BundleDamagedError),
        (
            lambda data: data.replace(render_format(1), render_format(1).replace(b"0.1.0", b"0.1.1")),
            BundleDamagedError,
        ),
        (_flipped, BundleDamagedError),
    ],
)
def test_damage_is_found_as_in_a_local_file(
    served: Served, tmp_path: Path, change: Callable[[bytes], bytes], kind: type[Exception]
) -> None:
    path = make_bundle(tmp_path / "b.wandb.zip", two_runs())
    data = change(path.read_bytes())
    with pytest.raises(kind), opened(served, data) as bundle:
        list(bundle["3fk2a"].scan_history())


def test_a_newer_format_is_refused_before_anything_else(served: Served, tmp_path: Path) -> None:
    import zlib

    data = make_bundle(tmp_path / "b.wandb.zip").read_bytes()
    newer = render_format(1).replace(b'"version":1', b'"version":3')
    start = data.index(render_format(1))
    data = (
        data[:14] + zlib.crc32(newer).to_bytes(4, "little") + data[18:start] + newer + b"what follows is new"
    )
    with pytest.raises(FormatTooNewError), opened(served, data):
        pass


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://h/b.zip?X-Amz-Signature=s#f", "https://h/b.zip"),
        ("https://jo:pw@h:8/b.zip", "https://h:8/b.zip"),
        ("s3://bucket/a@b/c.zip", "s3://bucket/a@b/c.zip"),
        ("https://h?token=t", "https://h"),
    ],
)
def test_a_url_is_shown_without_what_lets_somebody_in(text: str, shown: str) -> None:
    assert is_url(text)
    assert shown_url(text) == shown


@pytest.mark.parametrize("text", ["b.wandb.zip", "/a/b.zip", "C:\\b.zip", "a:b", "https:/x", "://x", ""])
def test_a_path_is_no_url(text: str) -> None:
    assert not is_url(text)


def test_the_query_reaches_the_server_and_nothing_else(served: Served, tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "b.wandb.zip")
    with opened(served, path, "?sig=hidden%2Fpart") as bundle:
        assert "hidden" not in str(bundle.path) + repr(bundle) + repr(list(bundle.runs()))
