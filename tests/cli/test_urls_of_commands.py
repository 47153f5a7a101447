"""Wherever a command takes a bundle or writes an output, a URL does what a path does.

The commands are found by a walk over the command line, so that a new one has to be added here, with what it
answers over a path and over a URL of each service, which are compared byte for byte.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
from bundlekit import bundle_run, make_bundle
from consolekit import console_of, printed
from objectserver import ObjectServer, every_service_slowly, lab_server

from pull_logs.cli.bundle_paths import FILE_OUT, FOLDER_OUT, OUT, named_bundles
from pull_logs.cli.main import cli, main
from pull_logs.snapshot import add_bundles, open_store
from pull_logs.snapshot.format import record_of
from pull_logs.snapshot.privacy.file_scrubber import TextFile

PAGE = TextFile(record_of("media/html/page.html", [b"<p>"]), b"<p>")
POINTER = {"_type": "html-file", "path": PAGE.record.name, "size": 3}

ANSWER = (
    "import wandb; run = wandb.Api().run('acme/nano/r1');"
    "print([row for row in run.scan_history(keys=['loss'])], run.config)"
)

CASES: Mapping[str, tuple[str, ...]] = {
    "show": ("-b {b} --json", "-b {b} --schema --stats", "{b} -H"),
    "overview": ("overview {b}", "overview -b {b} --json"),
    "compare": (
        "compare {b} --best loss:min",
        "compare -b {b} --against {other} --metric loss:min --report-md {o}gate.md",
    ),
    "info": ("info {b}", "info {b} --json"),
    "verify": ("verify {b}", "verify {b} --quick --json", "verify {damaged}"),
    "audit": ("audit {b}", "audit {b} --json --redact -o {o}clean.wandb.zip"),
    "diff": ("diff {b} {other}",),
    "merge": ("merge {b} {other} --prefer first -o {o}merged.wandb.zip",),
    "subset": ("subset {b} -r r1 -o {o}one.wandb.zip",),
    "export": (
        "export {b} -o {o}plain",
        "export {b} -o {o}lines --format ndjson",
        "export {b} -o {o}sheets --format csv",
    ),
    "logs": ("logs {b}",),
    "media": ("media {b}", "media {b} -o {o}pages"),
    "sql": (
        "sql -b {b} SELECT|run,count(*)|AS|n|FROM|history|GROUP|BY|run|ORDER|BY|run",
        "sql -b {b} SELECT|run,loss|FROM|history|ORDER|BY|run,loss -o {o}answer.parquet",
    ),
    "plot": ("plot {b} --select loss", "plot {b} --select loss -o {o}loss.svg"),
    "report": ("report {b} -o {o}report.html",),
    "reconcile": ("reconcile {folder} -b {b}",),
    "exec": ("exec {b} -- {python} -c {answer}", "exec -b {b} -- {python} -c {answer}"),
    "import": ("import {folder} -o {o}imported.wandb.zip",),
    "set list": ("set list {set}",),
    "set info": ("set info {set} --json",),
    "set verify": ("set verify {set}", "verify {set} --json"),
    "set diff": ("set diff {set} {other}",),
    "set add": ("set add {set} {given} --keep",),
    "set drop": ("set drop {set} r2",),
    "set compact": ("set compact {set} --grace 0",),
}
"""What is asked over a path and over a URL. `{o}` is where outputs are written."""

CHANGES = ("set add", "set drop", "set compact")

BY_DEFAULT = frozenset(
    {
        "verify {b}",
        "audit {b} --json --redact -o {o}clean.wandb.zip",
        "compare -b {b} --against {other} --metric loss:min --report-md {o}gate.md",
        "export {b} -o {o}plain",
        "set verify {set}",
    }
)

ELSEWHERE = {
    "demo": "test_the_demo_is_written_to_objects",
    "fetch": "test_a_download_is_written_to_an_object",
    "sync": "test_a_download_is_written_to_an_object",
    "refresh": "test_a_refresh_replaces_the_object_that_it_read",
    "set refresh": "test_a_refresh_replaces_the_object_that_it_read",
    "serve": "test_a_server_reads_an_object",
    "mcp": "the tools of tests/cli/tools, and `open_subjects`, which reads URLs for every view",
}
"""Commands that need a server; the test that has them."""

LOCAL = {
    ("archive", "metrics_file"): "a text file of the node exporter of this machine",
    ("archive", "report_json"): "`archive` writes it after each project",
}
"""Outputs that are on this machine alone."""

UPLOADED = (" MB uploaded", "these bytes already")


def commands() -> dict[str, click.Command]:
    """Return every command by its words."""
    found: dict[str, click.Command] = {}

    def walk(group: click.Group, words: tuple[str, ...]) -> None:
        with click.Context(group) as context:
            for name in group.list_commands(context):
                command = group.get_command(context, name)
                assert command is not None
                if isinstance(command, click.Group):
                    walk(command, (*words, name))
                else:
                    found[" ".join((*words, name))] = command

    walk(cli, ())
    return {**found, "show": cli}


def reads(command: click.Command) -> bool:
    return any(param.callback is named_bundles for param in command.params)


def outputs(command: click.Command) -> list[click.Parameter]:
    return [param for param in command.params if param.type in (OUT, FILE_OUT, FOLDER_OUT)]


def test_every_command_that_takes_a_bundle_or_writes_is_here() -> None:
    found = commands()
    assert len(found) > 25
    known = CASES.keys() | ELSEWHERE.keys()
    missing = {name for name, one in found.items() if reads(one) or outputs(one)} - known
    assert missing <= {name for name, _ in LOCAL}, missing
    assert known <= found.keys()


def test_every_output_takes_a_url_or_is_refused_for_a_reason() -> None:
    for name, command in commands().items():
        for param in outputs(command):
            if param.type is OUT:
                assert (name, param.name) in LOCAL, (name, param.name)
                continue
            flag = max(param.opts, key=len)
            asked = " ".join(CASES.get(name, ())).split()
            tested = any(one in asked for one in param.opts) or name in ELSEWHERE
            assert tested, f"{name} {flag} is not written in a case"


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[ObjectServer]:
    with lab_server(getattr(request, "param", "s3")) as server:
        yield server


def make_inputs(folder: Path) -> None:
    """Write the bundles that the commands read, and a set."""
    runs = [
        dataclasses.replace(
            bundle_run(
                f"acme/nano/r{number}",
                [{"_step": step, "loss": number + 1 / (step + 1), "page": POINTER} for step in range(6)],
                config={"lr": number / 10, "seed": number, "owner": "jo.doe@corp.co.uk"},
                summary={"loss": float(number)},
            ),
            console=console_of(printed(4)),
            files=[PAGE],
        )
        for number in (1, 2, 3)
    ]
    make_bundle(folder / "b.wandb.zip", runs)
    others = [bundle_run(f"acme/nano/r{number}", config={"lr": 9, "seed": number}) for number in (1, 4)]
    make_bundle(folder / "other.wandb.zip", others)
    data = bytearray((folder / "b.wandb.zip").read_bytes())
    data[len(data) // 3] ^= 1
    (folder / "damaged.wandb.zip").write_bytes(data)
    store = open_store(folder / "set", create=True)
    for number in (2, 3):
        rows = [{"_step": step, "loss": step / number} for step in range(number)]
        member = make_bundle(folder / f"m{number}.wandb.zip", [bundle_run(f"acme/nano/r{number}", rows)])
        add_bundles(store, [member])
    make_bundle(folder / "given.wandb.zip", [bundle_run("acme/nano/r5", config={"lr": 5})])


@pytest.fixture(scope="module")
def inputs(running: ObjectServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder and a bucket with the same files."""
    folder = tmp_path_factory.mktemp("urls")
    make_inputs(folder)
    upload(running, folder)
    return folder


def upload(server: ObjectServer, folder: Path) -> None:
    files = [file for file in folder.rglob("*") if file.is_file()]
    server.system().put([*map(str, files)], [f"lab/{file.relative_to(folder).as_posix()}" for file in files])


@pytest.fixture
def server(
    running: ObjectServer, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ObjectServer:
    """The server, and the current folder with the same files as its bucket."""
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(inputs)
    running.fault = lambda _method, _path: ""
    running.requests.clear()
    return running


@pytest.fixture
def changing_set(server: ObjectServer, inputs: Path) -> Iterator[None]:
    """The set, which is as it was afterwards."""
    kept = shutil.copytree(inputs / "set", inputs.parent / "kept-set")
    yield
    shutil.rmtree(inputs / "set")
    kept.rename(inputs / "set")
    system = server.system()
    for name in system.find("lab/set"):
        system.rm_file(name)
    upload(server, inputs)


def words_of(case: str, root: str, outputs: str) -> list[str]:
    places = {
        **{name: f"{root}{name}.wandb.zip" for name in ("b", "other", "damaged")},
        "set": f"{root}set/" if root else "set",
        "given": "given.wandb.zip",
        "o": f"{root}{outputs}/",
        "folder": str(FOLDER),
        "python": sys.executable,
        "answer": ANSWER,
    }
    return [word.replace("|", " ").format(**places) for word in case.split()]


FOLDER = Path(__file__).parents[2] / "fixtures" / "digits"


def answer(capfd: pytest.CaptureFixture[str], words: list[str], root: str = "") -> tuple[int, str, list[str]]:
    """Return the exit code of a command, what it prints, and its messages without those about uploads."""
    code = main(words)
    out, err = capfd.readouterr()
    out, err = (text.replace(root, "") if root else text for text in (out, err))
    lines = [line for line in err.splitlines() if not any(one in line for one in UPLOADED)]
    return code, out.replace("set/", "set"), [line.replace("set/", "set") for line in lines]


def written(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


def uploaded(server: ObjectServer, prefix: str) -> dict[str, bytes]:
    system = server.system()
    return {name.removeprefix(prefix): system.cat_file(name) for name in system.find(prefix)}


def by_default() -> Iterator[Any]:
    """Iterate over the cases; most take minutes: `pytest -m slow tests/cli/test_urls_of_commands.py`."""
    for cases in CASES.values():
        for case in cases:
            yield case if case in BY_DEFAULT else pytest.param(case, marks=pytest.mark.slow)


@every_service_slowly
@pytest.mark.parametrize("case", [*by_default()])
def test_a_url_is_answered_as_a_path_is(
    server: ObjectServer,
    case: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    """The same exit code, answer, messages and files; nothing is left on this machine."""
    if case.startswith(CHANGES):
        request.getfixturevalue("changing_set")
    outputs = tmp_path.name
    Path(outputs).mkdir()
    here = answer(capfd, words_of(case, "", outputs))
    server.requests.clear()
    there = answer(capfd, words_of(case, server.at(""), outputs), server.at(""))
    assert there == here
    assert uploaded(server, f"lab/{outputs}/") == written(Path(outputs))
    if "{o}" in case:
        assert written(Path(outputs))
    uploads = tmp_path / "cache" / "wandb-pull-logs-uploads"
    left = [file.name for file in uploads.rglob("*") if file.is_file()]
    assert set(left) <= {"lock"}
    if case.startswith("set"):
        assert uploaded(server, "lab/set/").keys() == written(Path("set")).keys()
    if "{o}" not in case and not case.startswith(CHANGES):
        assert {method for method, _ in server.requests} <= {"GET", "HEAD"}


def test_the_demo_is_written_to_objects(
    server: ObjectServer,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The bundle and its report; what is printed and drawn names them by their URLs."""
    assert main(["demo", "-o", "s3://lab/demo/first.wandb.zip"]) == 0
    shown = capfd.readouterr()
    assert "\n  pull-logs serve s3://lab/demo/first.wandb.zip\n" in shown.out
    assert "\ns3://lab/demo/first-report.html: 16 runs, 20 metrics, " in shown.err
    found = uploaded(server, "lab/demo/")
    assert sorted(found) == ["first-report.html", "first.wandb.zip"]
    assert str(tmp_path) not in shown.out + shown.err
    assert str(tmp_path).encode() not in found["first-report.html"]
    assert not list((tmp_path / "cache" / "wandb-pull-logs-uploads").rglob("first*"))
