"""Nothing that a run is called can break output, whatever the encoding of the streams is."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from bundlekit import bundle_run, make_bundle
from checkout import ROOT
from hypothesis import given
from hypothesis import strategies as st
from logwriting import item, record, row, run, write_run_folder

from pull_logs.cli.main import main
from pull_logs.cli.streams import prepare_streams
from pull_logs.replay import serve_bundle

ENCODINGS = ("cp1252", "latin-1", "ascii", "cp437", "shift_jis", "utf-8")
HOSTILE = "n\U0001f600é\u202eאב\x1b[31m\x07\n\u2028\ufeff漢€"
"""An emoji, accents, marks of direction, controls and invisible characters."""

RUN_NAMES = (HOSTILE, "\udcff lone", "C:\\é\\u00e9")


def _escaped(text: str, encoding: str) -> bytes:
    """The text in an encoding, with JSON escapes for what it lacks; written apart from the package."""
    parts = []
    for character in text:
        try:
            parts.append(character.encode(encoding))
        except UnicodeEncodeError:
            parts.append(json.dumps(character)[1:-1].encode("ascii"))
    return b"".join(parts)


@dataclass(frozen=True)
class Done:
    code: int
    out: bytes
    err: bytes


def call(monkeypatch: pytest.MonkeyPatch, words: Sequence[str], encoding: str) -> Done:
    """Run a command in this process, its streams in an encoding."""
    out, err = io.BytesIO(), io.BytesIO()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", io.TextIOWrapper(out, encoding=encoding))
        patched.setattr(sys, "stderr", io.TextIOWrapper(err, encoding=encoding))
        prepare_streams()
        code = main(words)
        sys.stdout.flush()
        sys.stderr.flush()
        return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles and run folders in which every text is hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    runs = [
        bundle_run(
            f"acmé/na€no/r{number}",
            [
                {"_step": step, f"loss/{HOSTILE}": 1.0 / (step + number + 1), f"note{HOSTILE}": name}
                for step in range(4)
            ],
            name=name,
            notes=HOSTILE,
            tags=(HOSTILE,),
            group=HOSTILE,
            config={HOSTILE: {HOSTILE: name}, "lr": 0.1, "api_key": f"secret-{HOSTILE}"},
            summary={HOSTILE: name, "acc": 0.5 + number},
        )
        for number, name in enumerate(RUN_NAMES)
    ]
    make_bundle(folder / "é\U0001f600.zip", runs)
    make_bundle(folder / "old.zip", runs[:2])
    make_bundle(folder / "new.zip", [*runs[1:], bundle_run(f"acmé/na€no/{HOSTILE[0:3]}", name=HOSTILE)])
    config = {"update": [item([HOSTILE], json.dumps(HOSTILE))]}
    records = [
        run("abc", display_name=HOSTILE, config=config),
        row(0, **{HOSTILE: 1.0}),
        record(exit={"exit_code": 0}),
    ]
    write_run_folder(folder / "wandb", "run-20260101_000000-abc", records)
    return folder


BUNDLE = "é\U0001f600.zip"
COMMANDS = {
    "view": ("-b", BUNDLE),
    "view json": ("-b", BUNDLE, "--json", "--stats", "--schema"),
    "schema": ("-b", BUNDLE, "--schema"),
    "stats": ("-b", BUNDLE, "--stats", "--hints"),
    "human": ("-b", BUNDLE, "-H"),
    "select": ("-b", BUNDLE, "--select", "loss|note", "--show-all"),
    "eval": ("-b", BUNDLE, "--eval", "é=_step*2"),
    "compare": ("compare", "-b", BUNDLE, "--best", "acc:max"),
    "compare json": ("compare", "-b", BUNDLE, "--json", "--group-by", "group"),
    "overview": ("overview", "-b", BUNDLE),
    "overview json": ("overview", "-b", BUNDLE, "--json"),
    "info": ("info", BUNDLE),
    "info json": ("info", BUNDLE, "--json"),
    "verify": ("verify", BUNDLE),
    "verify json": ("verify", BUNDLE, "--json"),
    "audit": ("audit", BUNDLE),
    "audit json": ("audit", BUNDLE, "--json"),
    "diff": ("diff", "old.zip", "new.zip"),
    "diff json": ("diff", "old.zip", "new.zip", "--json"),
    "merge": ("merge", "old.zip", "new.zip", "-o", "{out}/\U0001f600.zip"),
    "merge conflict": ("merge", BUNDLE, "{changed}", "-o", "{out}/\U0001f600.zip"),
    "subset": ("subset", BUNDLE, "-o", "{out}/\U0001f600.zip"),
    "redact": ("audit", BUNDLE, "--redact", "-o", "{out}/\U0001f600.zip"),
    "import": ("import", "wandb", "-o", "{out}/\U0001f600.zip"),
    "import folder": ("-r", "wandb"),
    "export parquet": ("export", BUNDLE, "-o", "{out}/\U0001f600", "--format", "parquet"),
    "export csv": ("export", BUNDLE, "-o", "{out}/\U0001f600", "--format", "csv"),
    "export ndjson": ("export", BUNDLE, "-o", "{out}/\U0001f600", "--format", "ndjson"),
    "help": ("--help",),
    "unknown run": ("-b", BUNDLE, "-r", HOSTILE),
    "unknown metric": ("-b", BUNDLE, "--where", f"`{HOSTILE}` > 1"),
    "unknown command": (HOSTILE,),
    "unknown option": (f"--{HOSTILE}",),
    "unknown bundle": ("info", f"{HOSTILE}.zip"),
    "unknown checkpoint": ("-c", f"{HOSTILE}.pt"),
    "bad expression": ("-b", BUNDLE, "--where", "é ( 漢 >"),
    "assertion": ("-b", BUNDLE, "--assert", f"`{HOSTILE}` == 1"),
}
"""Every command, and every kind of error; `{out}` is an empty folder."""


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_every_command_prints_the_same_in_every_encoding(
    words: Sequence[str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    make_bundle(tmp_path / "changed.zip", [bundle_run("acmé/na€no/r0", name=HOSTILE)])
    done = {}
    for encoding in ENCODINGS:
        (tmp_path / "out").mkdir()
        given_words = [
            word.format(
                out=os.path.relpath(tmp_path / "out"), changed=os.path.relpath(tmp_path / "changed.zip")
            )
            if "{" in word
            else word
            for word in words
        ]
        done[encoding] = call(monkeypatch, given_words, encoding)
        (tmp_path / "out").rename(tmp_path / f"out of {encoding}")
    plain = done["utf-8"]
    assert plain.code != 1, plain.err.decode()
    assert plain.out or plain.err
    for encoding, found in done.items():
        assert found.code == plain.code
        assert found.out == _escaped(plain.out.decode(), encoding)
        assert found.err == _escaped(plain.err.decode(), encoding)
        if "--json" in words:
            assert json.loads(found.out.decode(encoding)) == json.loads(plain.out)
    written = {path.relative_to(tmp_path).parts[1:] for path in tmp_path.glob("out of */**/*")}
    for encoding in ENCODINGS:
        for parts in written:
            file = tmp_path.joinpath(f"out of {encoding}", *parts)
            same = tmp_path.joinpath("out of utf-8", *parts)
            assert file.is_dir() or file.read_bytes() == same.read_bytes()


@given(st.text(), st.sampled_from(ENCODINGS))
def test_a_character_that_the_encoding_lacks_is_a_json_escape(text: str, encoding: str) -> None:
    found = text.encode(encoding, errors="pull_logs.json_escapes")
    assert found == _escaped(text, encoding)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_process_with_such_streams_answers(encoding: str, folder: Path) -> None:
    for words in (["-b", BUNDLE], ["info", BUNDLE, "--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "pull_logs", *words],
            capture_output=True,
            check=False,
            timeout=60,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding},
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.decode(encoding)
        assert rb"\ud83d\ude00" in done.stdout


def test_a_locale_without_other_encodings_answers_and_writes(folder: Path, tmp_path: Path) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    for words in (
        ["-b", BUNDLE],
        ["export", BUNDLE, "-o", tmp_path / "é"],
        ["subset", BUNDLE, "-o", tmp_path / "é.zip"],
        ["import", "wandb", "-o", tmp_path / "i.zip"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "pull_logs", *words],
            capture_output=True,
            check=False,
            timeout=60,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **plain},
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout or done.stderr


def test_a_download_and_its_report_hold_any_text(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "\udcff.json"
    with serve_bundle(folder / BUNDLE) as server:
        for name in ("WANDB_BASE_URL", "WANDB_API_KEY"):
            monkeypatch.setenv(name, server.environment()[name])
        words = ["fetch", "-p", "acmé/na€no", "-o", str(tmp_path / "f.zip"), "--report-json", str(report)]
        done = call(monkeypatch, words, "ascii")
        assert done.code == 0, done.err
        shown = call(monkeypatch, ["overview", "-p", "acmé/na€no"], "cp1252")
        assert shown.code == 0, shown.err
    assert rb"\ud83d\ude00" in shown.out
    assert len(json.loads(report.read_text(encoding="utf-8"))["runs"]) == len(RUN_NAMES)
