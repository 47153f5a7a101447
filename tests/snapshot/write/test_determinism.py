"""The same rows give the same bytes: in any process, order, locale, time zone, thread count and Python.

Cuts, shard layouts and the order of rows are in `test_row_law.py` and `test_bundle_machine.py`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT

BUILD = r"""
import hashlib, json, math, sys, tempfile
from pathlib import Path
import pyarrow as pa
from pull_logs.runs import Coverage, RunInfo, RunPath
from pull_logs.snapshot import BundleRun, write_bundle
from pull_logs.snapshot.write import seal
from pull_logs.rows.batches import batch_from_rows, system_batch_from_rows

threads, backwards = int(sys.argv[1]), sys.argv[2] == "backwards"
pa.set_cpu_count(threads)
seal._THREADS = threads
VALUES = [0, 1.5, -0.0, math.nan, "NaN", math.inf, True, "text", "1.5", "\u00e9", "e\u0301", "\ud83d",
          2**53 + 1, 2**63, 2**80, -(2**63), 1e300, [1, None],
          {"_type": "histogram", "bins": [0.5], "values": [1]}, {}, None]
KEYS = ["loss", "Loss", "train/loss", "a.b", "a\nb", "", "\u0131", "I", "i", "\u00e9", "e\u0301",
        "_wpl_rest", "_timestamp"]

def row(run, step):
    members = {
        key: VALUES[(run + step * index) % len(VALUES)]
        for index, key in enumerate(KEYS)
        if (step + index) % 5
    }
    members["calm"] = step / 7 if run % 2 else round(step / 7, 4)
    items = list(members.items())
    return {"_step": step, **dict(reversed(items) if backwards else items)}

def batches(rows):
    cuts = [0, 1, 50, len(rows)] if backwards else [0, len(rows)]
    return [batch_from_rows(rows[start:end]) for start, end in zip(cuts, cuts[1:])]

def run(number):
    rows = [row(number, step) for step in range(0, 400, 1 + number)]
    made = batches(rows)
    facts = {key: value for key, value in row(number, 3).items() if key != "_step"}
    path = RunPath("acme", "na no", "iI\u0131"[number % 3] + str(number))
    info = RunInfo(path=path, name="r\u00fcn", state="finished", tags=("b", "a"),
                   created_at="2026-03-29T01:30:00Z", config=facts, summary=facts)
    system = system_batch_from_rows([{"_timestamp": 1.0 * row, "gpu": row} for row in range(5)])
    coverage = Coverage(received_rows=len(rows))
    return BundleRun(info=info, coverage=coverage, batches=lambda: made, system=system)

runs = [run(number) for number in range(9)]
out = Path(tempfile.mkdtemp()) / "a.wandb.zip"
report = write_bundle(out, reversed(runs) if backwards else runs, force=True)
print(json.dumps({"bytes": hashlib.sha256(out.read_bytes()).hexdigest(), "bundle_id": report.bundle_id,
                  "content_id": report.content_id, "pyarrow": pa.__version__,
                  "python": sys.version_info[:2]}))
"""


def built(*, python: str = sys.executable, threads: int = 2, order: str = "forwards", **env: str) -> Any:
    done = subprocess.run(
        [python, "-c", BUILD, str(threads), order],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_no_process_order_locale_time_zone_or_thread_count_shows_in_the_bytes() -> None:
    plain = built(PYTHONHASHSEED="0", TZ="UTC", LC_ALL="C", threads=1)
    other = built(
        PYTHONHASHSEED="4242", TZ="Pacific/Chatham", LC_ALL="tr_TR.UTF-8", threads=4, order="backwards"
    )
    assert other == plain
    third = built(
        PYTHONHASHSEED="7", TZ="America/St_Johns", LC_ALL="de_DE.ISO-8859-1", PYTHONUTF8="0", threads=3
    )
    assert third == plain


def interpreter(minor: int) -> str:
    """Return a Python 3.`minor`, on the path or installed by pyenv."""
    found = [shutil.which(f"python3.{minor}")]
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False).stdout.strip()
        found += map(str, sorted(Path(root, "versions").glob(f"3.{minor}.*/bin/python")))
    for python in filter(None, found):
        if subprocess.run([python, "-c", "import venv"], capture_output=True, check=False).returncode == 0:
            return python
    pytest.skip(f"there is no Python 3.{minor} here")


def with_pyarrow(folder: Path, python: str, release: str) -> str:
    """Return a Python in a new environment with a release of pyarrow and what else bundles need."""
    subprocess.run([python, "-m", "venv", folder], check=True, capture_output=True)
    own = str(folder / "bin" / "python")
    needed = [
        f"pyarrow=={release}",
        *(f"{name}=={version(name)}" for name in ("numpy", "orjson", "lazy_loader")),
    ]
    done = subprocess.run(
        [own, "-m", "pip", "install", "-q", "--only-binary", ":all:", *needed],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"pyarrow {release} cannot be installed here: {done.stderr.strip()[-200:]}")
    return own


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("minor", [11, 12, 13])
def test_every_python_writes_the_same_bytes(tmp_path: Path, minor: int) -> None:
    python = with_pyarrow(tmp_path / "venv", interpreter(minor), version("pyarrow"))
    found, here = built(python=python), built()
    assert found.pop("python") == [3, minor]
    del here["python"]
    assert found == here


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_another_pyarrow_writes_other_bytes_of_the_same_content(tmp_path: Path) -> None:
    text = (ROOT / "pyproject.toml").read_text()
    lowest = re.search(r'"pyarrow>=([\d.]+)"', text)
    assert lowest
    release = ".".join(([*lowest[1].split("."), "0", "0"])[:3])
    minor = sys.version_info.minor
    python = with_pyarrow(tmp_path / "venv", interpreter(minor), release)
    found, here = built(python=python), built()
    assert found["pyarrow"] == release != here["pyarrow"]
    assert found["content_id"] == here["content_id"]
    assert found["bundle_id"] != here["bundle_id"]
