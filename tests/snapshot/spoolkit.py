"""A spool with the plan of one run."""

from pathlib import Path

from pull_logs.snapshot.write.spool import Spool

PLAN = {"runs": ["acme/nano/3fk2a"], "system": False}


def opened(out: Path) -> Spool:
    return Spool.open(out, plan=PLAN)
