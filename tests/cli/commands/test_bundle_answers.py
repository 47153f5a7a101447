"""`info`, `verify`, `audit` and `diff`: no run forges a line, and the JSON is as the schemas say."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import pytest
from bundlekit import bundle_run, make_bundle
from checkout import RECORDED
from hostileruns import NASTY, RECORDS, ROWS
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from rowkit import canonical

from pull_logs.cli.main import cli, main
from pull_logs.runs import Coverage
from pull_logs.snapshot.write.run_sources import BundleRun
from pull_logs.snapshot.write.seal import write_bundle

HEADING = re.compile(
    r"\[(BUNDLE|REDACTED|RUNS|AUDIT|UNREAD|VERIFY|DIFF|(FACT_|CONFIG_|SUMMARY_|ROW_|CELL_|FILE_)?CHANGES)\]"
    r'( [a-z_]+=([^\s"\[]\S*|"([^"\\]|\\.)*"))*'
)
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u200b\u202e\U000e0041]")


def schema(command: str) -> Draft202012Validator:
    found = json.loads((files("pull_logs") / "data" / "schemas" / f"{command}.json").read_text())
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


SCHEMAS = {command: schema(command) for command in ("info", "verify", "audit", "diff")}


@st.composite
def hostile_runs(draw: st.DrawFn) -> list[BundleRun]:
    return [
        bundle_run(
            f"acme/nano/r{index}",
            canonical(draw(ROWS)),
            coverage=Coverage(complete=draw(st.booleans()), reason=draw(NASTY)),
            name=draw(NASTY),
            state=draw(NASTY),
            notes=draw(NASTY),
            tags=(draw(NASTY),),
            config=draw(RECORDS),
            summary=draw(RECORDS),
        )
        for index in range(draw(st.integers(0, 2)))
    ]


def said(*words: object, code: int = 0) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        assert main([str(word) for word in words]) == code
    return out.getvalue()


@given(hostile_runs(), hostile_runs())
@settings(max_examples=25)
def test_no_bundle_forges_a_heading_or_breaks_the_json(old: list[BundleRun], new: list[BundleRun]) -> None:
    with TemporaryDirectory() as folder:
        one, two = (Path(folder) / name for name in ("old.zip", "new.zip"))
        write_bundle(one, old, force=True)
        write_bundle(two, new, force=True)
        for words in (("info", one), ("verify", one), ("audit", one), ("diff", one, two)):
            text = said(*words)
            assert not UNSAFE.search(text)
            for line in text.split("\n"):
                assert not line.startswith("[") or HEADING.fullmatch(line)
            answer = said(*words, "--json")
            assert not UNSAFE.search(answer)
            SCHEMAS[str(words[0])].validate(json.loads(answer))


def test_a_state_is_text_like_any_other(tmp_path: Path) -> None:
    write_bundle(
        tmp_path / "b.zip", [bundle_run("acme/nano/r1", name="r1", state="x\n[RUNS] count=9")], force=True
    )
    assert said("info", tmp_path / "b.zip").splitlines()[-1] == (
        'r1 state="x\\n[RUNS] count=9" rows=3 last_step=4 complete=yes'
    )


@pytest.mark.parametrize(
    "words", [("info", RECORDED), ("verify", RECORDED), ("audit", RECORDED), ("diff", RECORDED, RECORDED)]
)
def test_what_is_said_of_the_recorded_runs_is_valid(words: tuple[object, ...]) -> None:
    SCHEMAS[str(words[0])].validate(json.loads(said(*words, "--json")))


def test_damage_is_reported_as_the_schema_says(tmp_path: Path) -> None:
    bundle = tmp_path / "damaged.zip"
    bytes_ = bytearray(RECORDED.read_bytes())
    bytes_[3000] ^= 255
    bundle.write_bytes(bytes_)
    found = json.loads(said("verify", bundle, "--json", code=6))
    SCHEMAS["verify"].validate(found)
    assert not found["ok"]


CUT = "the file does not end as it was written: it is cut short, or bytes were added"
SOURCE = "; get it again from its source"
INTACT = f"{SOURCE}; what is not named above is intact"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", f"{{name}} is damaged: the file is empty{SOURCE}"),
        (lambda data: b"hi", f"{{name}} is not a bundle: it does not begin as a ZIP file does{SOURCE}"),
        (
            lambda data: data[:5000],
            f"{{name}} is damaged: {CUT}{SOURCE}",
        ),
        (
            lambda data: flipped(data, data.index(b'"resources"')),
            f"{{name}} is damaged: datapackage.json does not have its checksum{SOURCE}",
        ),
        (
            lambda data: flipped(data, data.index(b"metrics.parquet") + 500),
            f"{{name}} is damaged: metrics.parquet does not have its hash{INTACT}",
        ),
    ],
    ids=["empty", "text", "cut", "manifest", "member"],
)
def test_what_verify_says_of_damage_names_it_once_and_calls_intact_only_what_was_checked(
    damage: Callable[[bytes], bytes], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "damaged.wandb.zip"
    bundle.write_bytes(damage(RECORDED.read_bytes()))
    assert main(["verify", str(bundle)]) == 6
    assert capsys.readouterr().err == f"pull-logs: error: {message.format(name=repr(str(bundle)))}\n"


def flipped(data: bytes, offset: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]


def test_every_command_with_json_ships_its_schema_and_no_schema_is_without_a_command() -> None:
    context = click.Context(cli)
    commands = {name: cli.get_command(context, name) for name in cli.list_commands(context)} | {"show": cli}
    having = {
        name
        for name, command in commands.items()
        if command is not None
        for one in (
            command.commands.values() if isinstance(command, click.Group) and name == "set" else [command]
        )
        if any("--json" in option.opts for option in one.params)
    }
    shipped = {
        file.name.removesuffix(".json") for file in (files("pull_logs") / "data" / "schemas").iterdir()
    }
    assert having == shipped


def test_a_letter_is_a_run_by_its_position_unless_a_run_has_it_as_its_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = make_bundle(tmp_path / "1.wandb.zip", [bundle_run("acme/nano/x"), bundle_run("acme/nano/y")])
    second = make_bundle(tmp_path / "2.wandb.zip", [bundle_run("acme/nano/z"), bundle_run("acme/zoo/B")])

    def paths(*words: str) -> list[str]:
        assert main([*words, "--json", "-H"]) == 0
        return [run["path"] for run in json.loads(capsys.readouterr().out)["runs"]]

    assert paths("-b", str(first), "-r", "B", "-r", "A") == ["acme/nano/y", "acme/nano/x"]
    assert paths("-b", str(first), "-b", str(second), "-r", "C") == ["acme/nano/z"]
    assert paths("-b", str(first), "-b", str(second), "-r", "B") == ["acme/zoo/B"]
    assert main(["-b", str(first), "-r", "D"]) == 3
    message = f"pull-logs: error: no run 'D' in '{first}'; it has 'acme/nano/x', 'acme/nano/y'\n"
    assert capsys.readouterr().err == message
