"""Executes docs/notebook.ipynb in a kernel of its own and compares what comes out with what is stored in it.

python tests/docs/notebook_outputs.py            # show what differs
python tests/docs/notebook_outputs.py --update   # store the real outputs
"""

from __future__ import annotations

import difflib
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent.parent
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"

_VOLATILE = ((r"\b\d+(?:\.\d+)? (s|MB)\b", r"N \1"), (r"\b\d[\d,]* retries?, ", ""))
"""What differs from run to run."""


def execute() -> Any:
    """Return the notebook with the outputs that it has now, executed in an empty folder."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryDirectory() as folder:
        for name in ("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "XDG_CACHE_HOME", "MPLCONFIGDIR"):
            os.environ[name] = folder
        client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": folder}})
        client.execute(env=dict(os.environ))
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    return notebook


def readable(notebook: Any) -> list[str]:
    """Return the cells as lines of text, without what differs from run to run and without pictures."""
    lines: list[str] = []
    for cell in notebook.cells:
        lines += ["", f"[{cell.cell_type}]", *cell.source.splitlines()]
        for output in cell.get("outputs", ()):
            lines.append(f"-> {output.output_type} {output.get('name', '')}".rstrip())
            for kind, content in sorted(output.get("data", {}).items()):
                text = "(a picture)" if kind == "image/png" else content
                lines += [f"{kind}:", *text.replace("><", ">\n<").splitlines()]
            lines += output.get("text", "").splitlines()
    for pattern, replacement in _VOLATILE:
        lines = [re.sub(pattern, replacement, line) for line in lines]
    return lines


def main() -> int:
    """Execute the notebook, and show what differs or store it."""
    stored, now = readable(nbformat.read(NOTEBOOK, as_version=4)), execute()
    changes = list(difflib.unified_diff(stored, readable(now), "stored", "now", lineterm=""))
    if changes and "--update" in sys.argv[1:]:
        nbformat.write(now, NOTEBOOK)
    sys.stdout.write("".join(f"{line}\n" for line in changes))
    return bool(changes)


if __name__ == "__main__":
    sys.exit(main())
