#!/usr/bin/env python3
"""The entry point of the skill: `python scripts/pull_logs.py -c checkpoints/best.pt --schema`.

It runs the `pull-logs` command from the repository without installing it; its dependencies must be
installed (`uv run` does that).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pull_logs.cli.main import run

if __name__ == "__main__":
    run()
