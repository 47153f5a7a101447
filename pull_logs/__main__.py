"""`python -m pull_logs`: the `pull-logs` command."""

from __future__ import annotations

from pull_logs.cli import run

if __name__ == "__main__":
    run()
