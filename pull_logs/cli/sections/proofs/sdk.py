"""The answer of `verify --against sdk`: what a sample of runs and the SDK do not have alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from pull_logs.cli.render import Nouns, Section, columns, name_cell, text_cell, yes_no
from pull_logs.rows.canonical import spell

if TYPE_CHECKING:
    from pull_logs.proof import SdkCheck, SdkRun


class SdkDifferenceObject(TypedDict):
    """A value that the bundle and the SDK do not have alike."""

    part: str
    step: int | None
    key: str
    bundle: Any
    sdk: Any


class SdkRunObject(TypedDict):
    """The comparison of one run."""

    path: str
    equal: bool
    rows: int
    sdk_rows: int | None
    differing: int
    lost_by_sdk: int
    error: str
    differences: list[SdkDifferenceObject]


class SdkAnswer(TypedDict):
    """The comparison of a sample of the runs of a bundle."""

    against: str
    host: str
    seed: int
    total: int
    runs: list[SdkRunObject]


def sdk_object(check: SdkCheck) -> SdkAnswer:
    """Return the comparison as a JSON object."""
    return {
        "against": "sdk",
        "host": check.host,
        "seed": check.seed,
        "total": check.total,
        "runs": [_run_object(run) for run in check.runs],
    }


def _run_object(run: SdkRun) -> SdkRunObject:
    return {
        "path": str(run.path),
        "equal": run.equal,
        "rows": run.rows,
        "sdk_rows": run.sdk_rows,
        "differing": run.count,
        "lost_by_sdk": run.lost,
        "error": run.error,
        "differences": [
            {
                "part": difference.part,
                "step": difference.step,
                "key": difference.key,
                "bundle": spell(difference.bundle),
                "sdk": spell(difference.sdk),
            }
            for difference in run.differences
        ],
    }


def sdk_sections(answer: SdkAnswer) -> list[Section]:
    """Return the sections: one row per run, and one per difference."""
    runs = answer["runs"]
    sections = [
        Section(
            name="AGAINST_SDK",
            facts={
                "host": answer["host"],
                "sample": len(runs),
                "of": answer["total"],
                "seed": answer["seed"],
                "equal": sum(run["equal"] for run in runs),
            },
            columns=columns(
                "run", "equal", "rows", "sdk_rows", "differing", "lost_by_sdk", "error",
                run=name_cell, equal=name_cell, error=text_cell,
            ),
            rows=[
                [
                    run["path"],
                    yes_no(run["equal"]),
                    run["rows"],
                    run["sdk_rows"],
                    run["differing"],
                    run["lost_by_sdk"],
                    run["error"] or None,
                ]
                for run in runs
            ],
            kept=7,
        )
    ]  # fmt: skip
    differences = [(run["path"], item) for run in runs for item in run["differences"]]
    if differences:
        sections.append(
            Section(
                name="SDK_DIFFERENCES",
                facts={"found": sum(run["differing"] for run in runs)},
                columns=columns(
                    "run",
                    "part",
                    "step",
                    "key",
                    "bundle",
                    "sdk",
                    run=name_cell,
                    part=name_cell,
                    key=name_cell,
                ),
                rows=[
                    [path, item["part"], item["step"], item["key"] or None, item["bundle"], item["sdk"]]
                    for path, item in differences
                ],
                kept=6,
                nouns=Nouns(rows="differences"),
            )
        )
    return sections
