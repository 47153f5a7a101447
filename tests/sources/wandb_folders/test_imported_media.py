"""Tables and media that the SDK logs are imported, served, read by it and fetched, and stay the same."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from logwriting import record, row, write_log

from pull_logs.cli.main import main
from pull_logs.errors import DataError
from pull_logs.fetch import PullOptions, Selection, Settings, pull_sync
from pull_logs.replay import serve_bundle
from pull_logs.snapshot import open_bundle, select_files, verify_bundle
from pull_logs.sources import import_runs

LOGGING = """
import datetime, io, sys, wave
import numpy as np
import wandb
run = wandb.init(project="demo", id="media", mode="offline", dir=sys.argv[1],
                 settings=wandb.Settings(silent=True, console="off"))
sound = io.BytesIO()
with wave.open(sound, "wb") as file:
    file.setnchannels(1); file.setsampwidth(2); file.setframerate(8000); file.writeframes(b"\\0\\0" * 100)
for name, data in {"x.wav": sound.getvalue(), "v.mp4": b"mp4", "m.obj": b"v 0 0 0\\n"}.items():
    open(f"{sys.argv[1]}/{name}", "wb").write(data)
def image(shade):
    pixels = np.full((4, 6, 3), shade, np.uint8)
    masks = {"pred": {"mask_data": np.zeros((4, 6), np.uint8), "class_labels": {0: "x"}}}
    return wandb.Image(pixels, caption=f"shade {shade}", masks=masks)
when = datetime.datetime(2024, 1, 2, 3, 4, 5, 678000)
for step in range(2):
    mixed = wandb.Table(
        columns=["number", "text", "flag", "maybe", "when", "list", "image", "any", "dict", "array"],
        allow_mixed_types=True,
        data=[
            [1, "a", True, None, when, [1, 2], image(step), 1, {"k": 1}, np.arange(3)],
            [float("nan"), "b\\u2028", False, 2.5, when, [3], image(9), "x", {"k": [None]}, np.arange(3)],
            [2**53 + 1, "", False, float("inf"), when, [], image(9), None, {}, np.arange(3)],
        ],
    )
    typed = wandb.Table(
        columns=["number", "text", "flag", "when", "list", "image", "int"],
        data=[[0.5, "a", True, when, [1, 2], image(step), 2**62], [float("nan"), *[None] * 6]],
    )
    run.log({
        "mixed": mixed, "typed": typed, "image": image(step), "val": {"images": [image(1), image(2)]},
        "sound": wandb.Audio(f"{sys.argv[1]}/x.wav", caption="beep"),
        "page": wandb.Html("<p>hi"), "pages": [wandb.Html("<p>1"), wandb.Html("<p>2")],
        "film": wandb.Video(f"{sys.argv[1]}/v.mp4", caption="film"),
        "shape": wandb.Object3D(open(f"{sys.argv[1]}/m.obj")),
        "bars": wandb.Histogram([1, 2, 3]),
        "line": wandb.plot.line(wandb.Table(columns=["x", "y"], data=[[1, 2], [3, 4]]), "x", "y"),
    })
run.summary["best"] = wandb.Html("<p>best")
run.finish()
"""

READING = """
import hashlib, json, math, sys
import numpy as np
import wandb
def plain(cell):
    if isinstance(cell, wandb.Image):
        return {"image": np.asarray(cell.image).tolist(), "caption": cell._caption}
    if isinstance(cell, np.ndarray):
        return cell.tolist()
    return cell if not hasattr(cell, "isoformat") else cell.isoformat()
api = wandb.Api()
run = api.run("local/demo/media")
rows = list(run.scan_history())
files = {file.name: file.download(root=sys.argv[1], replace=True).name
         for file in run.files() if file.name.startswith("media/")}
files = {name: hashlib.sha256(open(path, "rb").read()).hexdigest() for name, path in files.items()}
tables = {}
for artifact in run.logged_artifacts():
    for name in ("mixed", "typed"):
        if f"-{name}:" in artifact.name:
            table = artifact.get(name)
            cells = [[plain(cell) for cell in row] for row in table.data]
            tables[f"{name} {artifact.version}"] = {"columns": table.columns, "data": cells}
one = run.file(rows[0]["image"]["path"]).download(root=sys.argv[1], replace=True).name
print(json.dumps({"rows": rows, "summary": dict(run.summary), "files": files, "tables": tables,
                  "image": hashlib.sha256(open(one, "rb").read()).hexdigest()}, default=repr))
"""


def run_python(script: str, folder: Path, environment: dict[str, str] | None = None) -> str:
    outside = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    own = {"HOME": str(folder), "WANDB_ERROR_REPORTING": "false", "WANDB_DATA_DIR": str(folder / "data")}
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        env=outside | own | {"WANDB_CACHE_DIR": str(folder / "cache")} | (environment or {}),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def index_of(path: Path) -> pd.DataFrame:
    import zipfile

    with zipfile.ZipFile(path) as file, file.open("media.parquet") as member:
        return pd.read_parquet(member)


def tables_of(path: Path) -> dict[str, bytes]:
    import zipfile

    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist() if "/tables/" in name}


def same_cells(frame: pd.DataFrame, seen: dict[str, Any], pictures: dict[str, Any]) -> None:
    """Compare a table with what the SDK read, which has no NaN: its own artifact has null instead."""
    assert list(frame.columns) == seen["columns"]
    for at, name in enumerate(frame.columns):
        for cell, other in zip(frame[name].tolist(), [cells[at] for cells in seen["data"]], strict=True):
            if isinstance(other, dict) and "image" in other:
                assert cell["caption"] == other["caption"]
                assert pictures[cell["path"]] == cell["sha256"]
            elif isinstance(cell, pd.Timestamp):
                assert cell.timestamp() == pd.Timestamp(other).timestamp()
            elif cell is pd.NaT or (isinstance(cell, float) and math.isnan(cell)):
                assert other is None
            else:
                assert cell == other


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of what the SDK logged offline; its folder has what the SDK wrote."""
    folder = tmp_path_factory.mktemp("logged")
    run_python(LOGGING, folder)
    out = folder / "a.wandb.zip"
    command = ["import", str(folder / "wandb"), "--media", "--artifacts", "logged", "-o", str(out)]
    assert main(command) == 0
    assert verify_bundle(out).damages == ()
    return out


def test_what_the_sdk_logs_is_imported_and_fetched_as_it_was(logged: Path, tmp_path: Path) -> None:
    again = tmp_path / "b.wandb.zip"
    with serve_bundle(logged) as server:
        report = pull_sync(
            Selection(projects=("local/demo",)),
            out=again,
            settings=Settings(base_url=server.url, api_key=server.api_key),
            options=PullOptions(media=["*"], artifacts="logged"),
        )
    assert (report.notes, report.incomplete) == ((), ())
    assert verify_bundle(again).damages == ()
    assert index_of(logged).equals(index_of(again))
    assert tables_of(logged) == tables_of(again)
    with open_bundle(logged) as bundle, open_bundle(again) as fetched:
        run, copy = bundle["media"], fetched["media"]
        items = list(run.media())
        assert [item for item in items if item.file is None] == []
        assert {name: one.sha256 for name, one in run.files.items()} == {
            name: one.sha256 for name, one in copy.files.items()
        }
        assert [(item.key, item.kind) for item in items if item.step is None] == [("best", "html-file")]
        (first,) = (item for item in items if (item.step, item.key) == (0, "image"))
        assert (first.caption, first.width, first.height, first.format) == ("shade 0", 6, 4, "png")
        keys = {item.key for item in items if item.step == 0}
        assert keys >= {"image.masks.pred", "val.images", "pages.html", "shape", "line_table"}
        assert "bars" not in {item.key for item in items}
        for step in range(2):
            for key in ("mixed", "typed"):
                assert run.table(key, step).astype(str).equals(copy.table(key, step).astype(str))
        mixed, typed = run.table("mixed", 0), run.table("typed")
        assert mixed["number"].tolist()[::2] == [1, 2**53 + 1]
        assert math.isnan(mixed["number"][1])
        assert mixed["maybe"].tolist()[1:] == [2.5, math.inf]
        assert typed.dtypes.astype(str).to_dict() == {
            "number": "float64", "text": "object", "flag": "object", "when": "datetime64[ms, UTC]",
            "list": "object", "image": "object", "int": "float64",
        }  # fmt: skip
        assert typed["image"][0]["_type"] == "image-file"


@pytest.mark.slow
def test_what_the_sdk_logged_is_read_by_it_from_the_bundle(logged: Path, tmp_path: Path) -> None:
    with serve_bundle(logged) as server:
        seen = json.loads(run_python(READING, tmp_path, server.environment()))
    with open_bundle(logged) as bundle:
        run = bundle["media"]
        items = list(run.media())
        assert seen["files"] == {name: one.sha256 for name, one in run.files.items()}
        (first,) = (item for item in items if (item.step, item.key) == (0, "image"))
        assert first.file is not None
        assert first.file.record.hash == f"sha256:{seen['image']}"
        assert seen["rows"][0]["val"]["images"]["filenames"] == [
            item.path for item in items if (item.step, item.key) == (0, "val.images")
        ]
        for step in range(2):
            for key in ("mixed", "typed"):
                (artifact,) = (
                    one for one in run.logged_artifacts() if one.name == f"run-media-{key}:v{step}"
                )
                pictures = {
                    path: entry.content.record.hash.removeprefix("sha256:")
                    for path, entry in artifact.entries.items()
                    if entry.content is not None
                }
                same_cells(run.table(key, step), seen["tables"][f"{key} v{step}"], pictures)


def run_folder(top: Path, files: dict[str, bytes]) -> None:
    folder = top / "wandb" / "offline-run-20261123_100000-r"
    for name, data in files.items():
        (folder / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "files" / name).write_bytes(data)
    values = {
        f"val/{name}": {"_type": "image-file", "path": f"media/images/{name}.png", "caption": name}
        for name in "ab"
    }
    records = [record(run={"run_id": "r", "project": "p", "start_time": {"seconds": 1_000_000}})]
    records += [row(0, **values), record(exit={"exit_code": 0})]
    (folder / "run-r.wandb").write_bytes(write_log(records)[0])


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["*"], {"media/images/a.png", "media/images/other.png"}),
        (["val/a"], {"media/images/a.png"}),
        (["val/*"], {"media/images/a.png"}),
        (["media/images/[ab].png"], {"media/images/a.png"}),
        (["val/b", "nothing"], set()),
    ],
)
def test_media_are_imported_by_key_or_name(tmp_path: Path, patterns: list[str], names: set[str]) -> None:
    run_folder(tmp_path, {"media/images/a.png": b"a", "media/images/other.png": b"o", "output.log": b"x"})
    report = import_runs(
        [tmp_path / "wandb"], out=tmp_path / "b.zip", files=select_files((), media=patterns), force=True
    )
    with open_bundle(tmp_path / "b.zip") as bundle:
        assert bundle["r"].files.keys() == names
        found = {item.key: item.file is not None for item in bundle["r"].media()}
    assert found == {"val/a": "media/images/a.png" in names, "val/b": False}
    (note,) = report.notes
    missing = 2 - ("media/images/a.png" in names)
    assert note.startswith(f"local/p/r: the bundle lacks the files of {missing} value")


def test_an_empty_pattern_is_refused() -> None:
    with pytest.raises(Exception, match=r"^a pattern for files is empty") as caught:
        select_files((), media=[""])
    assert not isinstance(caught.value, DataError)
