"""docs/notebook.ipynb: executed in a kernel, it gives the outputs that are stored in it."""

from __future__ import annotations

import json
import subprocess
import sys

from notebook_outputs import NOTEBOOK, ROOT


def test_the_notebook_gives_the_outputs_that_are_stored_in_it() -> None:
    # In a process of its own: the libraries that drive kernels warn, and leave sockets open.
    found = subprocess.run(
        [sys.executable, ROOT / "tests" / "docs" / "notebook_outputs.py"],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert (found.stdout, found.returncode) == ("", 0), found.stderr[-2000:]


def test_the_notebook_shows_progress_tables_and_a_picture_and_no_error() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    assert {output["output_type"] for output in outputs} == {"display_data", "execute_result"}
    shown = [kind for output in outputs for kind in output["data"]]
    assert shown.count("image/png") == 1
    progress = [output["data"]["text/html"] for output in outputs if output["output_type"] == "display_data"]
    assert len(progress) == 2
    assert all('<progress value="16" max="16">' in "".join(html) for html in progress)
