"""Bundles that are named by a URL: every command that reads takes them."""

from __future__ import annotations

import http.server
import sys
import threading
from collections.abc import Iterator

import pytest
from checkout import RECORDED

from pull_logs.cli.main import main

BUNDLE = RECORDED


class _Ranges(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    body = BUNDLE.read_bytes()

    def do_GET(self) -> None:
        first, _, last = (self.headers.get("Range") or "").removeprefix("bytes=").partition("-")
        start, stop = int(first or 0), int(last or len(self.body) - 1) + 1
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(self.body)}")
        self.send_header("Content-Length", str(len(self.body[start:stop])))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(self.body[start:stop])

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Ranges)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/digits.wandb.zip"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_view_of_a_url_is_that_of_the_file(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["-r", "cnn1e1s0", "--stats", "--no-hints"]
    assert main(["-b", str(BUNDLE), *words]) == 0
    local = capsys.readouterr().out
    assert main(["-b", f"{url}?token=canary", *words]) == 0
    assert capsys.readouterr() == (local.replace(str(BUNDLE), url), "")


def test_a_key_in_a_url_is_not_in_a_hint(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-b", f"{url}?token=canary", "-r", "cnn1e1s0", "--schema"]) == 0
    reported = capsys.readouterr()
    assert "canary" not in reported.out + reported.err
    assert main(["-b", url, "-r", "cnn1e1s0", "--schema"]) == 0
    assert f"pull-logs: next: pull-logs -b {url} -r cnn1e1s0 " in capsys.readouterr().err


def test_a_run_that_a_url_lacks_is_reported_without_the_key(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-b", f"{url}?token=canary", "-p", "acme/other"]) == 3
    assert capsys.readouterr().err == (
        f"pull-logs: error: '{url}' does not contain acme/other; the nearest is 'acme/digits'\n"
    )


def test_info_and_diff_take_urls(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", url]) == 0
    assert f"[BUNDLE] path={url} runs=16 rows=4090" in capsys.readouterr().out
    assert main(["diff", str(BUNDLE), url, "--exit-code"]) == 0
    assert "same_content=yes" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["verify"], ["verify", "--quick", "--json"], ["audit"]], ids=" ".join)
def test_checks_take_urls(url: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, str(BUNDLE)]) == 0
    local = capsys.readouterr().out
    assert main([*words, f"{url}?token=canary"]) == 0
    assert capsys.readouterr() == (local.replace(str(BUNDLE), url), "")


def test_a_command_reads_a_url_as_wandb_does(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    program = "import wandb; print(wandb.Api().run('acme/digits/cnn1e1s0').summary['val/loss'])"
    for name in (str(BUNDLE), f"{url}?token=canary"):
        assert main(["exec", name, "--", sys.executable, "-c", program]) == 0
    first, second = capfd.readouterr().out.split()
    assert first == second


def test_what_is_not_on_object_storage_is_not_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["refresh", "https://host.invalid/b.wandb.zip?token=canary"]) == 2
    assert capsys.readouterr().err == (
        "pull-logs: error: 'https://host.invalid/b.wandb.zip' cannot be replaced, because it is not on object"
        " storage; write another bundle with -o FILE, and upload it\n"
    )


def test_verify_is_deep_unless_it_is_to_be_quick(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--deep"], ["--quick"]):
        assert main(["verify", str(BUNDLE), *words]) == 0
        assert capsys.readouterr().out == f"[VERIFY] path={BUNDLE} ok=yes members=37 bytes=301863\n"
