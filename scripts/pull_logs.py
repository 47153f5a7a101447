#!/usr/bin/env python3
"""The skill's entry point: `python scripts/pull_logs.py -c checkpoints/best.pt --schema`.

It is the `pull-logs` command, run from the repository without installing it;
the packages it needs must be there (`uv run` sees to that by itself).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pull_logs.cli.main import run

if __name__ == "__main__":
    run()
