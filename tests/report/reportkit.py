"""Bundles and pages for tests of the report."""

from __future__ import annotations

import base64
import json
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from bundlekit import bundle_run, make_bundle

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>\u2028'\"`${1}"
"""A text that tries to become markup or code."""

RATES = (0.1, 0.01, 0.001)
ROWS = 1500
PLANTED = {411: 9.5, 733: -3.25, 900: math.nan, 901: math.inf}
"""The extremes of `train/loss` in the first run, by their steps."""


def planted_bundle(folder: Path) -> Path:
    """Twelve runs: three rates with four seeds; one has planted extremes and values that are not finite."""
    runs = []
    for number in range(12):
        rows = planted_rows(number)
        last = rows[-1]
        runs.append(
            bundle_run(
                f"acme/planted/run{number:02d}",
                rows,
                name=HOSTILE if number == 1 else f"rate {RATES[number // 4]} seed {number % 4}",
                state="crashed" if number == 5 else "finished",
                notes=HOSTILE,
                tags=(HOSTILE,),
                config={
                    "lr": RATES[number // 4],
                    "seed": number % 4,
                    HOSTILE: number,
                    "text": HOSTILE * number,
                },
                summary={"val/acc": last["val/acc"], "val/loss": last["val/loss"], HOSTILE: number},
            )
        )
    return make_bundle(folder / "planted.wandb.zip", runs)


def planted_rows(number: int) -> list[dict[str, Any]]:
    """The rows of one run."""
    rate = RATES[number // 4]
    rng = np.random.default_rng(number)
    rows: list[dict[str, Any]] = []
    for step in range(ROWS):
        loss = 2 / (1 + step * rate / 20) + float(rng.normal(0, 0.02))
        row: dict[str, Any] = {"_step": step, "_runtime": step / 10, "train/loss": loss, "epoch": step // 100}
        if step % 100 == 99:
            row |= {"val/loss": loss + 0.1, "val/acc": 1 - loss / 3, HOSTILE: loss}
        rows.append(row | {f"layers/{layer}/norm": layer + rate for layer in range(6)})
    if number == 0:
        for step, value in PLANTED.items():
            rows[step]["train/loss"] = value
    return rows


def facts_in(page: str) -> dict[str, Any]:
    """The JSON of a page."""
    found = re.search(r'<script type="application/json" id="facts">(.*?)</script>', page)
    assert found is not None
    facts: dict[str, Any] = json.loads(found[1])
    return facts


def curves_in(page: str, name: str) -> list[tuple[list[float], list[float]]]:
    """The steps and values of a metric of each run, read by another decoder than that of the page."""
    metrics: Sequence[Mapping[str, Any]] = facts_in(page)["metrics"]
    index = next(place for place, metric in enumerate(metrics) if metric["name"] == name)
    block = re.search(rf'id="block-{index}">([^<]*)<', page)
    assert block is not None
    raw = zlib.decompress(base64.b64decode(block[1]))
    metric = metrics[index]
    total = sum(metric["points"])
    values = planes(raw, 0, total, metric["value_width"], "f")
    width = metric["step_width"]
    steps = planes(raw, total * metric["value_width"], total, width, "u" if width == 4 else "f")
    ends = np.cumsum([0, *metric["points"]])
    return [(np.cumsum(steps[a:b].astype(float)).tolist(), values[a:b].tolist()) for a, b in pairwise(ends)]


def planes(raw: bytes, start: int, count: int, width: int, kind: str) -> Any:
    """Numbers stored byte plane by byte plane."""
    part = np.frombuffer(raw[start : start + count * width], np.uint8).reshape(width, count)
    return np.frombuffer(part.T.tobytes(), f"<{kind}{width}")
