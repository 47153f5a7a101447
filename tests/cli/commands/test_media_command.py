"""`media` as a user runs it: what runs point to, the files in a folder, and messages without any."""

from __future__ import annotations

import dataclasses
import io
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from bundlekit import bundle_run, make_bundle
from jsonschema import Draft202012Validator

from pull_logs.cli.main import main
from pull_logs.snapshot.format import record_of
from pull_logs.snapshot.privacy.file_scrubber import TextFile

SCHEMA = Draft202012Validator(
    json.loads((files("pull_logs") / "data" / "schemas" / "media.json").read_text())
)
TABLE = b'{"columns": ["a"], "data": [[1], [2]]}'
FILES = {"media/table/t.table.json": TABLE, "media/images/a.png": b"png", "media/x.y/../z": b"odd"}
ROWS: list[dict[str, Any]] = [
    {"_step": 0, "loss": 1.0},
    {
        "_step": 2,
        "val/pred": {"_type": "table-file", "path": "media/table/t.table.json"},
        "pic\n[RUNS]": {"_type": "image-file", "path": "media/images/a.png", "caption": "one"},
        "..": {"_type": "object3D-file", "path": "media/x.y/../z"},
        "gone": [{"_type": "html-file", "path": "media/html/gone.html"}],
    },
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    held = [TextFile(record_of(name, [data]), data) for name, data in FILES.items()]
    runs = [
        dataclasses.replace(bundle_run("acme/nano/a", ROWS), files=held),
        bundle_run("acme/nano/b", ROWS[:1]),
    ]
    return make_bundle(tmp_path_factory.mktemp("media") / "a.wandb.zip", runs)


def said(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> tuple[str, str]:
    assert main(["media", *map(str, words)]) == code
    out, err = capsys.readouterr()
    return out, err


def test_the_files_of_a_run_are_listed(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(capsys, bundle, "-r", "a")
    assert out == (
        "# 1 file not in the bundle: `fetch --media` and `import --media` add media\n"
        "[RUNS] runs=1 project=acme/nano\n"
        "a name=brisk-sun-1 state=finished\n"
        "[MEDIA] run=a media_total=4 media_missing=1\n"
        "step,key,index,kind,bytes,caption,file\n"
        '2,"\\\\.\\\\.",,"object3D-file",3,,"media/x.y/../z"\n'
        '2,gone,0,"html-file",,,"media/html/gone.html"\n'
        '2,"pic\\n[RUNS]",,"image-file",3,"one","media/images/a.png"\n'
        '2,val/pred,,"table-file",38,,"media/table/t.table.json"\n'
    )


def test_the_json_is_that_of_its_schema(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(capsys, bundle, "--key", "val/*", "--json")
    answer = json.loads(out)
    SCHEMA.validate(answer)
    assert [(run["label"], run["media_total"]) for run in answer["runs"]] == [("a", 1), ("b", 0)]
    assert [(one["step"], one["key"], one["bytes"]) for one in answer["media"]] == [(2, "val/pred", 38)]


def test_files_and_tables_are_written_inside_a_new_folder(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    said(capsys, bundle, "-o", out)
    written = {
        file.relative_to(out).as_posix(): file.read_bytes() for file in out.rglob("*") if file.is_file()
    }
    table = pq.read_table(io.BytesIO(written.pop("acme/nano/a/val%2Fpred/2.parquet")))
    assert table.to_pydict() == {"a": [1, 2]}
    assert written == {
        "acme/nano/a/val%2Fpred/2.table.json": TABLE,
        "acme/nano/a/pic%0A%5BRUNS%5D/2.png": b"png",
        "acme/nano/a/%5C.%5C%2E/2": b"odd",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    _, err = said(capsys, bundle, "-o", out, code=2)
    assert err == (f"pull-logs: error: {str(out)!r} already exists; name a folder that does not exist\n")


def test_a_run_without_media_or_with_other_keys_is_an_error(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, err = said(capsys, bundle, "-r", "b", code=3)
    assert err == (
        "pull-logs: error: run 'acme/nano/b' has no media; its rows and its summary point to no files\n"
    )
    _, err = said(capsys, bundle, "-r", "a", "--key", "nothing", code=3)
    assert err == (
        "pull-logs: error: run 'acme/nano/a' has no media with the key 'nothing';"
        " there are \\.\\., gone, pic\\n[RUNS], val/pred\n"
    )


def test_a_path_after_the_flag_is_not_taken_for_a_pattern(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "wandb"
    folder.mkdir()
    assert main(["import", "--media", str(folder), str(folder), "-o", str(tmp_path / "b.zip")]) == 2
    assert capsys.readouterr().err == (
        f"pull-logs: error: --media takes {str(folder)!r} for a pattern, and it is a file or a folder;"
        " write --media='*', or the flag after the arguments\n"
    )
