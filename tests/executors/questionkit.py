"""Questions to ask on several engines, and their answers as texts that can be compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from pull_logs.analyze import View
from pull_logs.errors import PullLogsError
from pull_logs.executors import Engine
from pull_logs.snapshot import Run, export_runs
from pull_logs.snapshot.operations.exported_runs import Format


def outcome(ask: Callable[[], Any]) -> str:
    """The answer as text, or the error with everything that is shown of it."""
    try:
        found = ask()
    except PullLogsError as exc:
        return f"{type(exc).__name__} {exc.exit_code}: {exc}"
    found.pop("next", None)
    return json.dumps(found, default=dict)


CONDITIONS = ["val/loss < 1", "_step % 2 == 0", "`grad/norm` is missing", "val/los < 1", "state > 1", None]
EVALS = [(), (("gap", "train/loss - val/loss"),), (("g", "ema(train/loss, 0.5)"), ("h", "g * 2"))]
ASSERTS = [(), ("val/acc > 0.9",), ("any: val/acc > 0.5", "step 40: val/loss < 2"), ("mean(val/loss) < 1",)]
COLUMNS = [(), ("m=mean(train/loss)", "config.lr"), ("first_step(val/acc > 0.5)",)]


@st.composite
def comparisons(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "best": draw(st.sampled_from([None, "val/loss:min", "val/acc:max", "no/metric:max"])),
        "sort": None,
        "at": draw(st.sampled_from(["last", "best", 40, 41.5])),
        "where": draw(st.sampled_from(CONDITIONS)),
        "evals": draw(st.sampled_from(EVALS)),
        "asserts": draw(st.sampled_from(ASSERTS)),
        "columns": draw(st.sampled_from(COLUMNS)),
    }


@st.composite
def views(draw: st.DrawFn) -> View:
    return View(
        stats=draw(st.booleans()),
        select=draw(st.sampled_from([None, "^val/", "loss", "(", "nothing"])),
        where=draw(st.sampled_from(CONDITIONS)),
        evals=draw(st.sampled_from(EVALS)),
        asserts=draw(st.sampled_from(ASSERTS)),
        max_rows=draw(st.sampled_from([0, 3, 200])),
        max_tokens=draw(st.sampled_from([0, 500])),
    )


def exported(runs: Iterable[Run], out: Path, to: Format, engine: Engine) -> dict[str, bytes]:
    """The files of an export that an engine wrote."""
    report = export_runs(runs, out, to=to, force=True, engine=engine)
    files = {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*") if file.is_file()}
    assert report.files == len(files)
    return files
