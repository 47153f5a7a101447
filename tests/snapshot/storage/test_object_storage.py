"""Bundles on S3: read by ranges, written in parts, published complete or not at all, with clear errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
from bundlekit import bundle_run, make_bundle
from checkout import RECORDED, ROOT
from objectserver import LARGE_BODIES, SECRET, ObjectServer, every_service, lab_server

from pull_logs.cli.main import main
from pull_logs.errors import (
    NetworkError,
    PullLogsError,
    ServerError,
    SignInError,
    UsageError,
)
from pull_logs.replay import ReplayServer, serve_bundle
from pull_logs.snapshot import open_bundle
from pull_logs.snapshot.format import remote
from pull_logs.snapshot.storage import Unchanged, object_at, upload_file
from pull_logs.snapshot.storage import upload as upload_module

URL = "s3://lab/sweeps/digits.wandb.zip"
MB = 2**20
AZURE_HINT = (
    "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY,"
    " or run `az login` and set AZURE_STORAGE_ACCOUNT_NAME"
)
GOOGLE_HINT = "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[ObjectServer]:
    with lab_server(getattr(request, "param", "s3")) as server:
        yield server


@pytest.fixture
def server(running: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> ObjectServer:
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    running.fault = lambda _method, _path: ""
    running.requests.clear()
    running.sent = 0
    return running


@pytest.fixture
def stored(server: ObjectServer) -> ObjectServer:
    url = server.at("sweeps/digits.wandb.zip")
    upload_file(RECORDED, url, shown=url)
    server.requests.clear()
    server.sent = 0
    return server


@pytest.fixture(scope="module")
def wandb() -> Iterator[ReplayServer]:
    with serve_bundle(RECORDED) as serving:
        yield serving


def keys() -> list[str]:
    found: list[str] = fsspec.filesystem("s3", skip_instance_cache=True).find("lab")
    return found


def unfinished() -> list[Any]:
    found: list[Any] = fsspec.filesystem("s3", skip_instance_cache=True).list_multipart_uploads("lab")
    return found


@every_service
def test_one_column_of_one_run_takes_four_requests_at_most(
    stored: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the end of the object, which is requested first, has neither the index nor the run."""
    monkeypatch.setattr(remote, "_TAIL", 128 * 2**10)
    url = stored.at("sweeps/digits.wandb.zip")
    with open_bundle(url) as bundle, open_bundle(RECORDED) as local:
        frame = bundle["cnn1e1s0"].history(["val/loss"])
        assert frame.equals(local["cnn1e1s0"].history(["val/loss"]))
        assert str(bundle.path) == url
    assert 2 < len(stored.requests) <= 4
    assert {method for method, _ in stored.requests} <= {"HEAD", "GET"}
    assert stored.sent <= MB


@every_service
@LARGE_BODIES
def test_a_file_is_uploaded_in_parts_and_compared(
    server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Azure's library has parts of its own, for files of more than 64 MiB."""
    monkeypatch.setattr(upload_module, "PART", 5 * MB)
    file, url = tmp_path / "big", server.at("big")
    file.write_bytes(os.urandom(11 * MB))
    done = upload_file(file, url, shown=url)
    assert (done.bytes, done.compared) == (11 * MB, 8 * 64 * 2**10)
    parts = sum("partNumber=" in path or "upload_id=" in path for _, path in server.requests)
    assert parts == (0 if server.scheme == "az" else 3)
    assert server.system().cat_file("lab/big") == file.read_bytes()


@pytest.mark.parametrize(
    ("fault", "request_"),
    [
        ("503", "partNumber=2"),
        ("reset", "partNumber=2"),
        pytest.param("503", "?uploads", marks=pytest.mark.slow),
        pytest.param("reset", "?uploads", marks=pytest.mark.slow),
        pytest.param("503", "uploadId=", marks=pytest.mark.slow),
        pytest.param("reset", "uploadId=", marks=pytest.mark.slow),
    ],
)
def test_an_upload_that_fails_publishes_nothing_and_leaves_no_parts(
    server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, request_: str
) -> None:
    monkeypatch.setattr(upload_module, "PART", 5 * MB)
    file = tmp_path / "big"
    file.write_bytes(bytes(11 * MB))
    name = f"lab/failed-{fault}-{request_.strip('?=')}"
    server.fault = lambda method, path: (
        fault if request_ in path and method in ("PUT", "POST") and name in path else ""
    )
    with pytest.raises(NetworkError) as caught:
        upload_file(file, f"s3://{name}", shown=f"s3://{name}")
    assert f"'s3://{name}' cannot be written" in str(caught.value)
    assert str(caught.value).endswith("; nothing was published; run the same command again")
    assert SECRET not in str(caught.value)
    server.fault = lambda _method, _path: ""
    assert name not in keys()
    assert [one for one in unfinished() if one["Key"] == name.removeprefix("lab/")] == []


def test_a_killed_upload_publishes_nothing(server: ObjectServer, tmp_path: Path) -> None:
    file = tmp_path / "big"
    file.write_bytes(bytes(11 * MB))
    server.waiting.clear()
    server.released.clear()
    server.fault = lambda _method, path: "wait" if "partNumber=2" in path else ""
    program = (
        "import sys; from pathlib import Path; from pull_logs.snapshot.storage import upload as m;"
        "m.PART = 5 * 2**20; m.upload_file(Path(sys.argv[1]), 's3://lab/killed', shown='s3://lab/killed')"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", program, str(file)], env=environment) as process:
        assert server.waiting.wait(60)
        process.kill()
    server.released.set()
    server.fault = lambda _method, _path: ""
    assert "lab/killed" not in keys()
    upload_file(file, "s3://lab/killed", shown="s3://lab/killed")
    assert "lab/killed" in keys()


@pytest.mark.slow
@pytest.mark.parametrize("running", ["az", "az-emulator"], indirect=True)
@LARGE_BODIES
def test_a_large_file_is_sent_to_azure_in_blocks(server: ObjectServer, tmp_path: Path) -> None:
    """The last request publishes them, with the condition."""
    file, url = tmp_path / "big", server.at("blocks")
    file.write_bytes(os.urandom(70 * MB))
    upload_file(file, url, shown=url, condition=Unchanged(None))
    assert sum("comp=block&" in path for _, path in server.requests) == 18
    assert [one for _, path, one in server.conditions if "comp=blocklist" in path] == ["*"]
    with pytest.raises(ServerError, match="was written by another program meanwhile"):
        upload_file(file, url, shown=url, condition=Unchanged(None))


def test_an_object_that_another_program_replaced_is_reported(
    server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"a" * 1000)
    system = fsspec.filesystem("s3", skip_instance_cache=True)

    def replaced(method: str, path: str) -> str:
        if method == "HEAD" and path == "/lab/raced":
            server.fault = lambda _method, _path: ""
            system.pipe_file("lab/raced", b"b" * 1000)
        return ""

    server.fault = replaced
    monkeypatch.setattr(server, "fault", replaced)
    with pytest.raises(NetworkError) as caught:
        upload_file(file, "s3://lab/raced", shown="s3://lab/raced")
    assert str(caught.value) == (
        "the object 's3://lab/raced' is not the file that was uploaded: its bytes from 0 on are others;"
        " run the same command again; another program may have written it at the same time"
    )


@every_service
def test_the_error_names_what_is_missing(
    server: ObjectServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An object, or its bucket: to read, to write, to list and to add to."""
    bundle = str(make_bundle(tmp_path / "a.wandb.zip"))
    nobody = f"{server.scheme}://nobody/"
    kind, also = ("container", " and the account") if server.scheme == "az" else ("bucket", "")
    missing = f"no {kind} 'nobody' for '{nobody}{{}}'; make the {kind}, or check its name{also}"
    expected = {
        ("info", server.at("none.zip")): f"no file at '{server.at('none.zip')}'",
        ("info", f"{nobody}a.zip"): missing.format("a.zip"),
        ("merge", bundle, "-o", f"{nobody}a.zip"): missing.format("a.zip"),
        ("export", bundle, "-o", f"{nobody}a"): missing.format("a/"),
        ("set", "list", f"{nobody}set/"): missing.format("set/"),
        ("set", "add", f"{nobody}set/", bundle): missing.format("set/"),
        ("import", f"{nobody}logs", "-o", str(tmp_path / "b.zip")): missing.format("logs"),
    }
    if server.kind == "s3":  # a prefix of no bucket has no objects
        expected = {words: message for words, message in expected.items() if words[0] in ("info", "merge")}
    for words, message in expected.items():
        assert (main(words), capsys.readouterr().err) == (3, f"pull-logs: error: there is {message}\n")


@pytest.mark.parametrize(
    ("url", "fault", "kind", "message"),
    [
        (URL, "503", ServerError, f"'{URL}' cannot be read: the server answered 503"),
        (URL, "reset", NetworkError, f"'{URL}' cannot be read: "),
        (URL, "cut", PullLogsError, f"'{URL}' "),
    ],
)
def test_what_cannot_be_read_is_an_error_of_ours(
    stored: ObjectServer, url: str, fault: str, kind: type[PullLogsError], message: str
) -> None:
    stored.fault = lambda method, _path: fault if fault != "cut" or method == "GET" else ""
    with pytest.raises(kind) as caught:
        open_bundle(url)
    assert str(caught.value).startswith(message)
    assert SECRET not in str(caught.value)


def test_without_credentials_the_error_names_the_variables(
    stored: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert stored.url
    with pytest.raises(SignInError) as caught:
        open_bundle(URL)
    assert str(caught.value) == (
        f"there are no credentials for '{URL}'; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or"
        " AWS_PROFILE"
    )


@pytest.mark.parametrize("running", ["gs", "az"], indirect=True)
def test_credentials_that_are_missing_invalid_or_refused_have_their_errors(
    server: ObjectServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each names the next step, and shows nothing of the credentials."""
    url = server.at("a.wandb.zip")
    connection = "AZURE_STORAGE_CONNECTION_STRING"

    def refused() -> str:
        assert main(["info", url]) == 5
        shown = capsys.readouterr().err
        assert SECRET not in shown
        message, _, hint = shown.removeprefix("pull-logs: error: ").partition("; ")
        assert hint == (AZURE_HINT if server.scheme == "az" else GOOGLE_HINT) + "\n"
        return message

    server.fault = lambda _method, _path: "403"
    assert refused() == f"'{url}' may not be read"
    server.fault = lambda _method, _path: "401"
    assert refused() == f"'{url}' may not be read"
    server.fault = lambda _method, _path: ""
    if server.scheme == "gs":
        url = "gs://private/a.wandb.zip"
        assert refused() == f"there are no credentials for '{url}'"
        return
    url = "az://private/a.wandb.zip"
    assert refused() == f"'{url}' may not be read: AuthenticationFailed"
    monkeypatch.setenv(connection, f"AccountKey={SECRET}")
    assert refused() == f"the credentials for '{url}' are not valid"
    monkeypatch.delenv(connection)
    assert refused() == f"there are no credentials for '{url}'"


@every_service
def test_a_service_that_does_not_answer_cannot_be_reached(
    server: ObjectServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name of an account is the name of a host of Azure."""
    environment = replace(server, url="http://127.0.0.1:9").environment()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    also = ", and the name of the account" if server.scheme == "az" else ""
    assert main(["info", server.at("a.wandb.zip")]) == 5
    assert capsys.readouterr().err == (
        f"pull-logs: error: '{server.at('a.wandb.zip')}' cannot be read: the server cannot be reached;"
        f" check the network{also}, and run the same command again\n"
    )


def test_commands_write_objects_and_bring_them_up_to_date(
    server: ObjectServer,
    wandb: ReplayServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    for name, value in wandb.environment().items():
        monkeypatch.setenv(name, value)
    out = "s3://lab/nightly/digits.wandb.zip"
    words = ["fetch", "-p", "acme/digits", "-o", out, "-q"]

    def command(*words: str, code: int = 0) -> str:
        assert main(words) == code
        said = "".join(capsys.readouterr())
        assert SECRET not in said
        return said

    done = subprocess.run(
        [sys.executable, "-m", "pull_logs", *words],
        capture_output=True, text=True, check=False, timeout=100, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"{out}: " in done.stderr
    assert " MB uploaded, " in done.stderr
    with open_bundle(out) as bundle:
        assert len(bundle) == 16
    server.requests.clear()
    assert f"pull-logs: note: {out} has these bytes already; nothing was uploaded\n" in command(*words)
    assert {method for method, _ in server.requests} <= {"HEAD", "GET"}
    shown = command("sql", "-b", out, "SELECT count(*) AS n FROM history", "--json")
    assert json.loads(shown)["sql"]["rows"] == [[4090]]
    assert list(cache.rglob("*.wandb.zip*")) == []


@pytest.mark.slow
def test_subset_and_merge_write_objects_of_objects(
    stored: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cache, out = tmp_path / "cache", URL
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    assert stored.url

    def command(*words: str, code: int = 0) -> str:
        assert main(words) == code
        return "".join(capsys.readouterr())

    command("subset", out, "-r", "cnn1e1s0", "-o", "s3://lab/one.wandb.zip")
    command("merge", "s3://lab/one.wandb.zip", out, "-o", "s3://lab/both.wandb.zip")
    with open_bundle("s3://lab/both.wandb.zip") as both, open_bundle(out) as first:
        assert both.bundle_id == first.bundle_id
    refused = command("subset", out, "-r", "cnn1e1s1", "-o", "s3://lab/one.wandb.zip", code=2)
    assert "is a bundle of another selection" in refused
    assert list(cache.rglob("*.wandb.zip*")) == []


def test_a_bundle_that_could_not_be_uploaded_is_not_downloaded_again(
    server: ObjectServer,
    wandb: ReplayServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, value in wandb.environment().items():
        monkeypatch.setenv(name, value)
    words = ["fetch", "-r", "acme/digits/cnn1e1s0", "-o", "s3://lab/again.wandb.zip"]
    server.fault = lambda method, _path: "503" if method == "PUT" else ""
    assert main(words) == 5
    assert "'s3://lab/again.wandb.zip' cannot be written: " in capsys.readouterr().err
    server.fault = lambda _method, _path: ""
    report = tmp_path / "report.json"
    assert main([*words, "--report-json", str(report)]) == 0
    assert json.loads(report.read_text())["runs"][0]["how"] == "copied"
    assert list((tmp_path / "cache").rglob("again.wandb.zip*")) == []
    assert "lab/again.wandb.zip" in keys()


@pytest.mark.parametrize(
    ("scheme", "library", "extra"), [("s3", "s3fs", "s3"), ("gs", "gcsfs", "gcs"), ("az", "adlfs", "azure")]
)
def test_a_service_without_its_library_names_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, scheme: str, library: str, extra: str
) -> None:
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, scheme, raising=False)
    for name in (library, f"{library}.core"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError) as caught:
        open_bundle(f"{scheme}://{library}/a.zip")
    assert caught.value.message.startswith(
        f"'{scheme}://{library}/a.zip' needs a library that is not installed: "
    )
    assert caught.value.hint == f"pip install 'wandb-pull-logs[{extra}]'"


def test_an_output_that_is_no_object_is_refused(
    server: ObjectServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(tmp_path / "a.wandb.zip", [bundle_run()])
    assert server.url
    assert main(["merge", str(bundle), "-o", "https://example.org/a.zip"]) == 2
    assert "is a URL; name a local file, and upload it afterwards" in capsys.readouterr().err
    assert main(["merge", str(bundle), "-o", "s3://lab/folder/"]) == 2
    assert capsys.readouterr().err == (
        "pull-logs: error: 's3://lab/folder/' names no object; add a name: s3://bucket/folder/runs.wandb.zip\n"
    )


def test_objects_share_a_file_system_while_the_environment_is_the_same(
    server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Making one takes longer than most requests; other credentials are not used with it."""
    first, second = (object_at(f"s3://lab/{name}", shown="") for name in "ab")
    assert (first.path, second.path) == ("lab/a", "lab/b")
    assert second.system is first.system
    assert object_at("s3://lab/a", shown="", own_system=True).system is not first.system
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAANOTHER")
    assert object_at("s3://lab/a", shown="").system is not first.system
