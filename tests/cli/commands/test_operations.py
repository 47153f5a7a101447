"""`diff`, `merge`, `subset` and `export` as a user runs them: both streams and the exit code."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from bundlekit import ROWS, SYSTEM_ROWS, bundle_run, make_bundle
from checkout import ROOT

from pull_logs.cli.main import main
from pull_logs.snapshot import open_bundle, verify_bundle, write_bundle

SECRET = "hf_q7Zt3KpX9vLm2RbN8sYc5WdHx4Gf6JaT1eUo"
NEW_ROWS: tuple[dict[str, Any], ...] = (
    ROWS[0],
    {**ROWS[1], "loss": 0.5},
    ROWS[2],
    {"_step": 9, "loss": 0.1},
)

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bundles, `old.zip` and `new.zip`, where commands run."""
    monkeypatch.chdir(tmp_path)
    config = {"lr": 0.1, "opt": {"name": "adam"}}
    grown = bundle_run(
        "acme/nano/a",
        NEW_ROWS,
        config={"lr": 0.2, "opt": {"name": "adam"}, "odd\nkey": None},
        summary={"loss": float("nan")},
        system=SYSTEM_ROWS,
    )
    first = bundle_run("acme/nano/a", ROWS, config=config, summary={"loss": 1.0}, state="running")
    same = bundle_run("acme/nano/same", ROWS, config=config)
    make_bundle(Path("old.zip"), [first, bundle_run("acme/nano/gone", ROWS[:1]), same])
    make_bundle(
        Path("new.zip"), [grown, bundle_run("acme/nano/new", ROWS[:1], name="evil\n[ROWS] rewritten=9"), same]
    )


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run_command(*words: str | Path) -> tuple[int, str, str]:
        code = main(list(map(str, words)))
        done = capsys.readouterr()
        return code, done.out, done.err

    return run_command


def process(*words: str, **environment: str) -> tuple[int, str, str]:
    """The command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "pull_logs", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )
    return done.returncode, done.stdout, done.stderr


def identities(path: str | Path) -> str:
    with open_bundle(path) as bundle:
        return f"bundle id  {bundle.bundle_id}\ncontent id {bundle.content_id}\n"


DIFFERENCE = """\
[DIFF] old=old.zip new=new.zip same_content=no
[CHANGES] added=1 gone=1 changed=1 unchanged=1
added path=acme/nano/new name="evil\\n[ROWS] rewritten=9" rows=1
gone path=acme/nano/gone name=brisk-sun-1 rows=1
changed path=acme/nano/a facts=1 config=2 summary=1 appended=1 rewritten=1 system_metrics=changed
[FACT_CHANGES] changes=1
run,key,change,old,new
acme/nano/a,state,changed,"running","finished"
[CONFIG_CHANGES] changes=2
run,key,change,old,new
acme/nano/a,lr,changed,0.1,0.2
acme/nano/a,"odd\\nkey",added,,null
[SUMMARY_CHANGES] changes=1
run,key,change,old,new
acme/nano/a,loss,changed,1,NaN
[ROW_CHANGES] appended=1 inserted=0 gone=0 rewritten=1
run,appended,inserted,gone,rewritten,first_step,last_step,keys
acme/nano/a,1,0,0,1,1,1,loss:1
[CELL_CHANGES] examples=1
run,step,key,old,new
acme/nano/a,1,loss,NaN,0.5
"""


def test_a_difference_is_shown_in_sections_that_no_name_can_forge() -> None:
    assert process("diff", "old.zip", "new.zip") == (0, DIFFERENCE, "")


def test_exit_code_says_whether_anything_differs(call: Call) -> None:
    assert call("diff", "old.zip", "new.zip", "--exit-code") == (1, DIFFERENCE, "")
    reported = (
        "[DIFF] old=new.zip new=new.zip same_content=yes\n"
        "[CHANGES] added=0 gone=0 changed=0 unchanged=3\n(none)\n"
    )
    assert call("diff", "new.zip", "new.zip", "--exit-code") == (0, reported, "")


def test_the_other_way_round_rows_are_gone_and_values_removed(call: Call) -> None:
    code, out, err = call("diff", "new.zip", "old.zip")
    assert (code, err) == (0, "")
    assert out.splitlines()[-10:] == [
        'acme/nano/a,"odd\\nkey",removed,null,',
        "[SUMMARY_CHANGES] changes=1",
        "run,key,change,old,new",
        "acme/nano/a,loss,changed,NaN,1",
        "[ROW_CHANGES] appended=0 inserted=0 gone=1 rewritten=1",
        "run,appended,inserted,gone,rewritten,first_step,last_step,keys",
        "acme/nano/a,0,0,1,1,1,1,loss:1",
        "[CELL_CHANGES] examples=1",
        "run,step,key,old,new",
        "acme/nano/a,1,loss,0.5,NaN",
    ]


def test_the_json_of_a_difference_is_one_object(call: Call) -> None:
    code, out, err = call("diff", "old.zip", "new.zip", "--json", "--exit-code")
    assert (code, err) == (1, "")
    answer = json.loads(out)
    for side in ("old", "new"):
        with open_bundle(f"{side}.zip") as bundle:
            assert answer.pop(side) == {
                "path": f"{side}.zip",
                "bundle_id": bundle.bundle_id,
                "content_id": bundle.content_id,
            }
    rows = {
        "appended": 1,
        "inserted": 0,
        "gone": 0,
        "rewritten": 1,
        "first_step": 1,
        "last_step": 1,
        "keys": {"loss": 1},
        "examples": [{"step": 1, "key": "loss", "old": "NaN", "new": 0.5}],
    }
    assert answer == {
        "format": "pull-logs/2",
        "command": "diff",
        "same_content": False,
        "added": [
            {"path": "acme/nano/new", "name": "evil\n[ROWS] rewritten=9", "state": "finished", "rows": 1}
        ],
        "gone": [{"path": "acme/nano/gone", "name": "brisk-sun-1", "state": "finished", "rows": 1}],
        "changed": [
            {
                "path": "acme/nano/a",
                "facts": [{"key": "state", "change": "changed", "old": "running", "new": "finished"}],
                "config": [
                    {"key": "lr", "change": "changed", "old": 0.1, "new": 0.2},
                    {"key": "odd\nkey", "change": "added", "old": None, "new": None},
                ],
                "summary": [{"key": "loss", "change": "changed", "old": 1, "new": "NaN"}],
                "rows": rows,
                "system": True,
                "files": [],
                "console": None,
                "artifacts": [],
            }
        ],
        "unchanged": 1,
    }


def test_long_differences_are_cut_in_text_and_complete_in_json(call: Call) -> None:
    many = {f"key{number:03}": number for number in range(80)}
    make_bundle(Path("a.zip"), [bundle_run(config={"note": "x" * 200})])
    make_bundle(Path("b.zip"), [bundle_run(config=many)])
    _, out, _ = call("diff", "a.zip", "b.zip")
    lines = out.splitlines()
    assert lines[3] == "[CONFIG_CHANGES] changes=81"
    assert lines[-1] == "# 31 more rows: --json has them all"
    assert len(lines) == 4 + 1 + 50 + 1
    assert max(map(len, lines)) < 200
    _, out, _ = call("diff", "a.zip", "b.zip", "--json")
    assert len(json.loads(out)["changed"][0]["config"]) == 81


CONFLICT = (
    "'loss' at step 1 is 0.5 in 'new.zip' and \"NaN\" in 'old.zip'",
    "'loss' at step 1 is \"NaN\" in 'old.zip' and 0.5 in 'new.zip'",
)


def test_a_conflict_is_exit_2_and_writes_nothing() -> None:
    code, out, err = process("merge", "old.zip", "new.zip", "-o", "all.zip")
    assert (code, out) == (2, "")
    hint = "pass --prefer newest, or --prefer first with the preferred bundle named first"
    assert err in {
        f"pull-logs: conflict: run 'acme/nano/a': {reason}\n"
        f"pull-logs: error: the bundles disagree about run 'acme/nano/a': {reason}; {hint}\n"
        for reason in CONFLICT
    }
    assert not Path("all.zip").exists()


def test_what_is_preferred_is_reported(call: Call) -> None:
    code, out, err = call("merge", "old.zip", "new.zip", "--prefer", "first", "-o", "all.zip")
    assert (code, out) == (0, "")
    size = Path("all.zip").stat().st_size / 1e6
    assert err in {
        f"pull-logs: note: acme/nano/a: 'old.zip' over 'new.zip': first was preferred; {reason}\n"
        f"all.zip: 4 runs, 8 rows, {size:.2f} MB, verified\n{identities('all.zip')}"
        for reason in CONFLICT
    }
    with open_bundle("all.zip") as bundle:
        assert bundle.run_paths == ("acme/nano/a", "acme/nano/gone", "acme/nano/new", "acme/nano/same")
        assert bundle["a"].state == "running"


def test_bundles_that_agree_are_one_in_any_order_and_over_one_of_them(call: Call) -> None:
    code, _, err = call("subset", "new.zip", "-r", "same", "-r", "new", "-o", "part.zip")
    assert (code, len(err.splitlines())) == (0, 3)
    assert call("merge", "old.zip", "part.zip", "-o", "one.zip")[0] == 0
    assert call("merge", "part.zip", "old.zip", "-o", "part.zip")[0] == 0
    assert Path("one.zip").read_bytes() == Path("part.zip").read_bytes()
    assert verify_bundle("part.zip").damages == ()


def test_merge_warns_of_secrets_and_removes_them_with_redact() -> None:
    make_bundle(Path("leaky.zip"), [bundle_run("acme/nano/leaky", config={"token": SECRET})])
    code, out, err = process("merge", "leaky.zip", "old.zip", "-o", "all.zip")
    assert (code, out) == (0, "")
    assert err.splitlines()[0] == (
        "pull-logs: warning: the bundle contains 1 secret in 1 run; `pull-logs audit all.zip` shows them,"
        " --redact removes them"
    )
    code, out, err = process("merge", "leaky.zip", "old.zip", "-o", "all.zip", "--redact")
    assert (code, out) == (0, "")
    assert err.splitlines()[0] == "pull-logs: note: removed 1 secret in 1 run"
    with open_bundle("all.zip") as bundle:
        assert bundle["leaky"].config == {"token": "[redacted: api-key]"}
        assert dict(bundle.manifest.redacted) == {"api-key": 1}
    assert SECRET.encode() not in Path("all.zip").read_bytes()


def test_some_runs_and_some_metrics_are_a_bundle(call: Call) -> None:
    code, out, err = call(
        "subset", "old.zip", "-r", "acme/nano/a", "-r", "a", "--metrics", "^loss$", "-o", "part.zip"
    )
    size = Path("part.zip").stat().st_size / 1e6
    reported = f"part.zip: 1 run, 3 rows, {size:.2f} MB, verified\n{identities('part.zip')}"
    assert (code, out, err) == (0, "", reported)
    with open_bundle("part.zip") as bundle:
        assert bundle.run_paths == ("acme/nano/a",)
        assert bundle["a"].column_names() == ("_step", "_timestamp", "loss")


@pytest.mark.parametrize(
    ("words", "code", "reported"),
    [
        (
            "subset old.zip -r nope -o part.zip",
            3,
            "no run 'nope' in 'old.zip'; the nearest is 'gone'",
        ),
        (
            "subset old.zip --metrics ( -o part.zip",
            2,
            "metrics '(' is not a valid regular expression: missing ), unterminated subpattern at position 0",
        ),
        ("subset old.zip --metrics zzz -o part.zip", 3, "no metric matches 'zzz'"),
        (
            "subset old.zip --metrics loos -o part.zip",
            3,
            "no metric matches 'loos'; the nearest is 'loss'",
        ),
        (
            "subset old.zip --filter config.lr>5 -o part.zip",
            3,
            (
                "--filter 'config.lr>5' holds for none of the 3 runs; run the command without "
                "--filter to see the runs"
            ),
        ),
        ("diff old.zip nope.zip", 3, "no file or folder at 'nope.zip'"),
        ("diff old.zip", 2, "Missing argument 'NEW'; see `pull-logs diff --help`"),
        ("merge -o all.zip", 2, "Missing argument 'BUNDLE...'; see `pull-logs merge --help`"),
        ("merge old.zip", 2, "Missing option '-o' / '--out'; see `pull-logs merge --help`"),
        (
            "merge old.zip -o no/all.zip",
            3,
            "'no/all.zip' cannot be written: its folder does not exist; make the folder first",
        ),
        (
            "export old.zip --format xlsx -o out",
            2,
            (
                "Invalid value for '--format': 'xlsx' is not one of 'parquet', 'csv', 'ndjson';"
                " see `pull-logs export --help`"
            ),
        ),
    ],
)
def test_what_cannot_be_done_is_one_line_and_writes_nothing(
    call: Call, words: str, code: int, reported: str
) -> None:
    before = {path: path.read_bytes() for path in Path().iterdir()}
    assert call(*words.split()) == (code, "", f"pull-logs: error: {reported}\n")
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


def test_a_damaged_bundle_is_exit_6_and_writes_nothing(call: Call) -> None:
    data = bytearray(Path("old.zip").read_bytes())
    data[data.index(b"PAR1") + 2000] ^= 1
    Path("bad.zip").write_bytes(data)
    for words in (
        ("diff", "bad.zip", "new.zip"),
        ("merge", "bad.zip", "-o", "out"),
        ("subset", "bad.zip", "--metrics", "loss", "-o", "out"),
        ("export", "bad.zip", "-o", "out"),
    ):
        code, out, err = call(*words)
        assert (code, out) == (6, "")
        assert "is damaged" in err
        assert len(err.splitlines()) == 1
        assert sorted(path.name for path in Path().iterdir()) == ["bad.zip", "new.zip", "old.zip"]


@pytest.mark.parametrize("words", ["merge old.zip", "subset old.zip -r a", "subset old.zip --metrics loss"])
def test_a_full_disk_is_one_line_and_leaves_the_old_bundle(
    call: Call, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    write_bundle(Path("out.zip"), [bundle_run("acme/nano/a")], metrics="loss")
    before = Path("out.zip").read_bytes()

    def full(_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pull_logs.snapshot.disk.sync", full)
    reported = "'out.zip' is not finished; free some space and try again; nothing was changed"
    assert call(*words.split(), "-o", "out.zip") == (
        8,
        "",
        f"pull-logs: error: the disk is full, {reported}\n",
    )
    assert Path("out.zip").read_bytes() == before
    assert sorted(path.name for path in Path().iterdir()) == ["new.zip", "old.zip", "out.zip"]


def test_a_full_disk_leaves_the_old_export(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("export", "old.zip", "-o", "out")[0] == 0
    before = sorted(path.name for path in Path("out").rglob("*"))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pull_logs.snapshot.operations.exported_runs.pacsv.CSVWriter", full)
    code, out, err = call("export", "old.zip", "-o", "out", "--format", "csv", "--force")
    assert (code, out) == (8, "")
    assert err.startswith("pull-logs: error: the disk is full, ")
    assert sorted(path.name for path in Path("out").rglob("*")) == before
    assert sorted(path.name for path in Path().iterdir()) == ["new.zip", "old.zip", "out"]


def test_an_export_is_written_reported_and_replaced_only_with_force() -> None:
    code, out, err = process("export", "old.zip", "-o", "plain", "--format", "csv")
    size = sum(path.stat().st_size for path in Path("plain").rglob("*.csv")) / 1e6
    assert (code, out, err) == (0, "", f"plain: 3 runs, 7 rows, 4 files, {size:.2f} MB\n")
    read = pd.read_csv("plain/runs/entity=acme/project=nano/run=a/history.csv")
    assert read.columns.tolist() == ["_step", "_timestamp", "acc", "loss", "note", "pics"]
    assert read["pics"].tolist()[2] == '{"_type":"image-file","n":[1,null]}'
    shown = "plain"
    reported = f"pull-logs: error: {shown!r} already exists; pass --force to replace it\n"
    assert process("export", "old.zip", "-o", "plain") == (2, "", reported)
    code, out, err = process("export", "old.zip", "-r", "a", "-o", "plain", "--force")
    assert (code, out) == (0, "")
    assert err.startswith("plain: 1 run, 3 rows, 2 files, ")
    assert {path.name for path in Path("plain").rglob("*.*")} == {"runs.parquet", "history.parquet"}


def test_force_replaces_nothing_but_an_export(call: Call) -> None:
    Path("plain/runs/exp1").mkdir(parents=True)
    Path("plain/runs/exp1/events.out").write_text("precious")
    shown = "plain"
    reported = f"pull-logs: error: {shown!r} exists and is not an export; name a folder that does not exist\n"
    assert call("export", "old.zip", "-o", "plain", "--force") == (2, "", reported)
    assert Path("plain/runs/exp1/events.out").read_text() == "precious"


def test_a_filter_that_compares_the_tags_with_one_of_them_is_answered_with_contains(call: Call) -> None:
    tagged = bundle_run("acme/nano/t", ROWS, tags=("v1.0", "baseline"))
    make_bundle(Path("tagged.zip"), [tagged, bundle_run("acme/nano/u", ROWS)])
    words = ("-b", "tagged.zip", "--json", "--filter")
    assert call(*words, 'tags == "baseline"') == (
        3,
        "",
        (
            "pull-logs: error: --filter 'tags == \"baseline\"' holds for none of the 2 runs; "
            "tags is compared as a complete list; write 'tags contains \"baseline\"' for one item\n"
        ),
    )
    for text in ('tags contains "baseline"', 'tags == "baseline,v1.0"', 'tags matches "^v"'):
        code, out, _ = call(*words, text)
        assert (code, [run["path"] for run in json.loads(out)["runs"]]) == (0, ["acme/nano/t"])
