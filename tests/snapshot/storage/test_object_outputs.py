"""Commands that write objects: replaced only if they are what was read, and nothing is lost by a fault.

Those that take long: `pytest -m slow tests/snapshot/storage`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import httpx
import pytest
from bundlekit import bundle_run, make_bundle
from checkout import RECORDED, ROOT
from objectserver import LARGE_BODIES, SECRET, ObjectServer, every_service, every_service_slowly, lab_server

from pull_logs.cli.main import main
from pull_logs.errors import FileMissingError, ServerError
from pull_logs.fetch import Selection, load_settings, pull_sync
from pull_logs.replay import ReplayServer, serve_bundle
from pull_logs.runs import RunReference
from pull_logs.snapshot import open_bundle, verify_bundle
from pull_logs.snapshot.format import remote
from pull_logs.snapshot.storage import Unchanged, object_version, upload_file
from pull_logs.snapshot.storage import upload as upload_module

URL = "s3://lab/digits.wandb.zip"
MB = 2**20


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[ObjectServer]:
    with lab_server(getattr(request, "param", "s3")) as server:
        yield server


@pytest.fixture
def server(running: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectServer]:
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    running.fault = lambda _method, _path: ""
    running.requests.clear()
    yield running
    running.fault = lambda _method, _path: ""
    running.clear()


@pytest.fixture(scope="module")
def serving() -> Iterator[ReplayServer]:
    with serve_bundle(RECORDED) as running:
        yield running


@pytest.fixture
def wandb(serving: ReplayServer, monkeypatch: pytest.MonkeyPatch) -> ReplayServer:
    """W&B, which commands find by the variables of this process."""
    for name, value in serving.environment().items():
        monkeypatch.setenv(name, value)
    return serving


@pytest.fixture(scope="module")
def downloaded(serving: ReplayServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of two runs that W&B has."""
    file = tmp_path_factory.mktemp("some") / "some.wandb.zip"
    names = ("cnn1e1s0", "cnn1e1s1")
    selection = Selection(runs=tuple(RunReference(name, "digits", "acme") for name in names))
    pull_sync(selection, out=file, settings=load_settings(environ=serving.environment()))
    return file


@pytest.fixture
def some(downloaded: Path, tmp_path: Path) -> Path:
    """A copy of it in the current folder."""
    return Path(shutil.copy(downloaded, tmp_path))


def system() -> Any:
    return fsspec.filesystem("s3", skip_instance_cache=True)


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(words) == code, capsys.readouterr()
    out, err = capsys.readouterr()
    assert SECRET not in out + err
    return out + err


def before(server: ObjectServer, wanted: Callable[[str, str], bool], change: Callable[[], object]) -> None:
    """Change something just before the first such request is answered."""

    def fault(method: str, path: str) -> str:
        if wanted(method, path):
            server.fault = lambda _method, _path: ""
            change()
        return ""

    server.fault = fault


@every_service_slowly
@pytest.mark.slow
def test_a_download_is_written_to_an_object(
    server: ObjectServer, wandb: ReplayServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reports and messages name the URL; the report is an object too; so is the archive of `sync`."""
    url = server.at("digits.wandb.zip")
    words = ["-r", "acme/digits/cnn1e1s0", "-o", url, "--report-json", server.at("report.json")]
    shown = said(capsys, "fetch", *words)
    assert f"{url}: 1 run, 264 rows, " in shown
    assert json.loads(server.system().cat_file("lab/report.json"))["out"] == url
    assert str(Path.cwd()) not in shown
    assert server.requests
    assert f"{url}: 2 runs, " in said(capsys, "sync", "-r", "acme/digits/cnn1e1s1", *words)
    with open_bundle(url) as bundle:
        assert [run.path.run_id for run in bundle.runs()] == ["cnn1e1s0", "cnn1e1s1"]
    refused = said(capsys, "fetch", *words[:2], "-o", url, code=2)
    assert f"'{url}' is a bundle of another selection" in refused


@every_service_slowly
@pytest.mark.slow
def test_a_refresh_replaces_the_object_that_it_read(
    server: ObjectServer, wandb: ReplayServer, some: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In place, or to another object or file; a set is refreshed under its prefix."""
    url = server.at("digits.wandb.zip")
    upload_file(some, url, shown=url)
    assert f"{url} has these bytes already" in said(capsys, "refresh", url)
    assert f"{url}: 16 runs, " in said(capsys, "refresh", url, "--new")
    with open_bundle(url) as bundle, open_bundle(RECORDED) as recorded:
        assert bundle.content_id == recorded.content_id
    said(capsys, "refresh", url, "-o", server.at("copy.wandb.zip"))
    said(capsys, "refresh", url, "-o", "copy.wandb.zip")
    assert server.system().cat_file("lab/copy.wandb.zip") == Path("copy.wandb.zip").read_bytes()
    assert said(capsys, "refresh", server.at("none.wandb.zip"), code=3) == (
        f"pull-logs: error: there is no file at '{server.at('none.wandb.zip')}'\n"
    )
    said(capsys, "set", "add", server.at("set/"), str(some))
    assert "every run is finished and complete" in said(capsys, "set", "refresh", server.at("set/"))
    assert "is a bundle set; write: pull-logs set refresh" in said(
        capsys, "refresh", server.at("set/"), code=2
    )


@pytest.mark.usefixtures("wandb")
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("refresh", URL, "--new"), marks=pytest.mark.slow, id="refresh"),
        pytest.param(("audit", URL, "--redact", "-o", URL), id="audit"),
    ],
)
def test_an_object_that_another_program_wrote_meanwhile_is_not_replaced(
    server: ObjectServer, some: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither of the two is lost: the other one stays, and the same command begins with it."""
    owned = [bundle_run("acme/digits/cnn1e1s0", config={"owner": "jo@corp.co.uk"}, host="api.wandb.ai")]
    first = make_bundle(some.with_name("first.wandb.zip"), owned)
    if words[0] == "refresh":
        shutil.copy(some, first)
    upload_file(first, URL, shown=URL)
    other = make_bundle(some.with_name("other.wandb.zip"), [*owned, bundle_run("acme/digits/other")])
    before(
        server,
        lambda method, path: method == "PUT" and "digits" in path,
        lambda: system().put_file(str(other), "lab/digits.wandb.zip"),
    )
    assert said(capsys, *words, code=5).splitlines()[-1] == (
        f"pull-logs: error: '{URL}' was written by another program meanwhile, and was not replaced; run the"
        " same command again, which begins with what is there now"
    )
    assert system().cat_file("lab/digits.wandb.zip") == other.read_bytes()
    if words[0] == "audit":
        said(capsys, *words)
        with open_bundle(URL) as bundle:
            assert {run.path.run_id for run in bundle.runs()} == {"cnn1e1s0", "other"}
            assert "corp" not in bundle["cnn1e1s0"].config["owner"]


@every_service
@LARGE_BODIES
@pytest.mark.parametrize("size", [1, pytest.param(11, marks=pytest.mark.slow)])
def test_the_condition_holds_for_uploads_of_one_and_of_many_parts(
    server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """The last request has it, so that an object that appears, or is replaced, during the upload stays."""
    parts = size > 10 and server.scheme != "az"
    if parts and server.kind == "gs-emulator":
        pytest.skip("fake-gcs-server checks no condition of an upload in parts")
    monkeypatch.setattr(upload_module, "PART", 5 * MB)
    file, url, storage = tmp_path / "file", server.at("big"), server.system()
    file.write_bytes(bytes(size * MB))

    def refuse(condition: Unchanged) -> None:
        with pytest.raises(ServerError) as caught:
            upload_file(file, url, shown=url, condition=condition)
        assert str(caught.value) == (
            f"'{url}' was written by another program meanwhile, and was not replaced; run the same command"
            " again, which begins with what is there now"
        )
        server.fault = lambda _method, _path: ""

    last = 4 if parts else 1
    for existing in (False, True):
        condition = Unchanged(object_version(url, shown=url))
        assert (condition.version is not None) is existing
        server.conditions.clear()
        if parts and server.kind == "s3":  # moto checks no condition when an upload is completed
            server.fault = lambda method, path: "412" if method == "POST" and "uploadId=" in path else ""
            refuse(condition)
            storage.pipe_file("lab/big", b"other")
        else:
            server.requests.clear()
            before(
                server,
                lambda *_: [method for method, _ in server.requests].count("PUT") == last,
                lambda: storage.pipe_file("lab/big", os.urandom(9)),
            )
            refuse(condition)
            assert storage.info("lab/big")["size"] == 9
        if server.scheme != "gs":
            tag = condition.version.tag if condition.version else "*"
            assert next(one for one in server.conditions if one[2])[2] == tag
    condition = Unchanged(object_version(url, shown=url))
    assert upload_file(file, url, shown=url, condition=condition).bytes == size * MB
    if server.kind == "s3":
        assert storage.list_multipart_uploads("lab") == []
    else:
        refuse(condition)
        condition = Unchanged(object_version(url, shown=url))
        storage.rm_file("lab/big")
        refuse(condition)


@every_service
def test_an_empty_file_is_an_object(server: ObjectServer, tmp_path: Path) -> None:
    """Nothing of it can be requested in ranges."""
    file, url = tmp_path / "file", server.at("empty")
    file.write_bytes(b"")
    assert upload_file(file, url, shown=url, condition=Unchanged(None)).bytes == 0
    with pytest.raises(ServerError, match="was written by another program meanwhile"):
        upload_file(file, url, shown=url, condition=Unchanged(None))


def test_a_server_without_conditional_requests_is_asked_before_the_upload(
    server: ObjectServer, tmp_path: Path
) -> None:
    """It answers 501 to a condition; then the object is looked at once more."""
    file, url = tmp_path / "file", "s3://lab/old"
    file.write_bytes(b"new")
    refused: list[str] = []

    def fault(method: str, path: str) -> str:
        if method != "PUT" or refused:
            return ""
        refused.append(path)
        return "501"

    server.fault = fault
    upload_file(file, url, shown=url, condition=Unchanged(None))
    assert system().cat_file("lab/old") == b"new"
    refused.clear()
    with pytest.raises(ServerError, match="was written by another program meanwhile"):
        upload_file(file, url, shown=url, condition=Unchanged(None))


@every_service_slowly
@pytest.mark.slow
@pytest.mark.usefixtures("wandb")
@pytest.mark.parametrize("fault", ["503", "500"])
def test_an_upload_that_fails_leaves_the_object_and_the_same_command_completes_it(
    server: ObjectServer, some: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was downloaded from W&B is kept, and not downloaded again."""
    url = server.at("digits.wandb.zip")
    upload_file(some, url, shown=url)
    words = ("refresh", url, "--new", "--report-json", "report.json")
    server.fault = lambda method, _path: fault if method == "PUT" else ""
    assert f"'{url}' cannot be written: " in said(capsys, *words, code=5)
    server.fault = lambda _method, _path: ""
    assert server.system().cat_file("lab/digits.wandb.zip") == some.read_bytes()
    said(capsys, *words)
    report = json.loads(Path("report.json").read_text())
    assert {run["how"] for run in report["runs"]} == {"copied"}
    with open_bundle(url) as bundle:
        assert len(bundle) == 16


@every_service_slowly
@pytest.mark.slow
def test_a_refresh_that_is_killed_during_the_upload_leaves_the_object(
    server: ObjectServer, wandb: ReplayServer, some: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is half published, the lock is free again, and the same command completes it."""
    url = server.at("digits.wandb.zip")
    upload_file(some, url, shown=url)
    server.waiting.clear()
    server.released.clear()
    server.fault = lambda method, _path: "wait" if method == "PUT" else ""
    environment = {**os.environ, **wandb.environment(), "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "pull_logs", "refresh", url, "--new", "-q"]
    with subprocess.Popen(words, env=environment) as process:
        assert server.waiting.wait(100)
        assert server.system().cat_file("lab/digits.wandb.zip") == some.read_bytes()
        process.send_signal(signal.SIGKILL)
    server.fault = lambda method, _path: "503" if method == "PUT" else ""
    server.released.set()
    server.fault = lambda _method, _path: ""
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    with open_bundle(url) as bundle:
        assert len(bundle) == 16
    assert verify_bundle(url).damages == ()
    assert capsys.readouterr().out == ""


@every_service
def test_an_export_is_complete_when_its_table_is_there(
    server: ObjectServer, some: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table of runs is the last object; an interrupted export does not have it, and can be replaced."""
    server.fault = lambda method, path: "503" if method == "PUT" and "runs.parquet" in path else ""
    plain, storage = server.at("plain"), server.system()
    words = ("export", str(some), "-o", plain)
    assert "cannot be written: " in said(capsys, *words, code=5)
    server.fault = lambda _method, _path: ""
    assert not storage.exists("lab/plain/runs.parquet")
    assert said(capsys, *words, code=2) == (
        f"pull-logs: error: '{plain}/' already exists; pass --force to replace it\n"
    )
    server.requests.clear()
    said(capsys, *words, "--force")
    puts = [path for method, path in server.requests if method == "PUT"]
    assert "plain/runs.parquet" in puts[-1]
    said(capsys, *words[:-1], "local")
    assert {name.removeprefix("lab/plain/") for name in storage.find("lab/plain")} == {
        file.relative_to("local").as_posix() for file in Path("local").rglob("*") if file.is_file()
    }
    said(capsys, *words, "-r", "cnn1e1s1", "--force")
    assert [name for name in storage.find("lab/plain") if "cnn1e1s0" in name] == []
    storage.pipe_file("lab/plain/mine.txt", b"mine")
    storage.pipe_file("lab/plain2/mine.txt", b"mine")
    assert said(capsys, *words, "--force", code=2) == (
        f"pull-logs: error: there are other files at '{plain}/', such as 'mine.txt'; name a prefix"
        " without objects\n"
    )


def test_two_commands_that_write_one_object_do_not_share_a_file(
    server: ObjectServer, some: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second one is refused while the first one runs on this machine."""
    from pull_logs.cli.pulling import staged

    assert server.url
    with staged(URL, force=False) as local:
        local.write_bytes(some.read_bytes())
        refused = said(capsys, "subset", str(some), "-o", URL, code=2)
        assert refused.startswith(f"pull-logs: error: '{URL}' is in use by process {os.getpid()}; ")
    said(capsys, "subset", str(some), "-o", URL)


@pytest.mark.slow
def test_a_server_reads_an_object(server: ObjectServer, some: Path, tmp_path: Path) -> None:
    """`serve URL` answers the SDK's questions from ranges."""
    upload_file(some, URL, shown=URL)
    server.requests.clear()
    words = [sys.executable, "-m", "pull_logs", "serve", URL, "--api-key", "k" * 40]
    with subprocess.Popen(
        words, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            lines = dict(
                line.removeprefix("export ").strip().split("=", 1) for line in iter_until(process.stdout)
            )
            answer = httpx.post(
                f"{lines['WANDB_BASE_URL']}/graphql",
                json={"query": 'query { project(name: "digits", entityName: "acme") { runCount } }'},
                auth=("api", "k" * 40),
                trust_env=False,
            )
            assert answer.json()["data"]["project"]["runCount"] == 2
        finally:
            process.terminate()
    assert {method for method, _ in server.requests} <= {"GET", "HEAD"}


def iter_until(lines: Any) -> Iterator[str]:
    """Iterate over the variables that `serve` prints."""
    for line in lines:
        yield line
        if line.startswith("export WANDB_CACHE_DIR"):
            return


@pytest.mark.parametrize("deep", [True, False])
def test_a_check_of_a_url_requests_each_byte_about_once(
    server: ObjectServer, monkeypatch: pytest.MonkeyPatch, *, deep: bool
) -> None:
    """In large parts, whatever the members are."""
    monkeypatch.setattr(remote, "_MAX_REQUEST", 64 * 2**10)
    upload_file(RECORDED, URL, shown=URL)
    server.requests.clear()
    server.sent = 0
    report = verify_bundle(URL, deep=deep)
    local = verify_bundle(RECORDED, deep=deep)
    size = RECORDED.stat().st_size
    assert (report.members, report.bytes, report.damages) == (local.members, local.bytes, ())
    assert str(report.path) == URL
    assert size <= server.sent < 2 * size + MB
    assert {method for method, _ in server.requests} <= {"GET", "HEAD"}


@every_service
def test_an_object_that_is_replaced_while_it_is_checked_is_no_damage(
    server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Services refuse to read another version than the one that was opened."""
    monkeypatch.setattr(remote, "_MAX_REQUEST", 64 * 2**10)
    monkeypatch.setattr(remote, "_TAIL", 16 * 2**10)
    url, storage = server.at("digits.wandb.zip"), server.system()
    upload_file(RECORDED, url, shown=url)
    other = make_bundle(tmp_path / "other.wandb.zip")
    server.requests.clear()
    before(
        server,
        lambda method, _path: method == "GET" and len(server.requests) > 3,
        lambda: storage.put_file(str(other), "lab/digits.wandb.zip"),
    )
    with pytest.raises(ServerError) as caught:
        verify_bundle(url)
    assert str(caught.value) == f"'{url}' was replaced while it was read; run the same command again"
    upload_file(RECORDED, url, shown=url)
    server.requests.clear()
    before(
        server,
        lambda method, _path: method == "GET" and len(server.requests) > 3,
        lambda: storage.rm_file("lab/digits.wandb.zip"),
    )
    with pytest.raises(FileMissingError) as removed:
        verify_bundle(url)
    assert str(removed.value) == f"there is no file at '{url}'"


@pytest.mark.parametrize(
    "fault", ["cut", *(pytest.param(fault, marks=pytest.mark.slow) for fault in ("500", "503", "reset"))]
)
def test_a_check_that_cannot_read_is_an_error_and_no_damage(
    server: ObjectServer, fault: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(remote, "_MAX_REQUEST", 64 * 2**10)
    monkeypatch.setattr(remote, "_TAIL", 16 * 2**10)
    upload_file(RECORDED, URL, shown=URL)
    server.requests.clear()
    server.fault = lambda method, _path: fault if method == "GET" and len(server.requests) > 4 else ""
    assert f"'{URL}' " in said(capsys, "verify", URL, code=5)
