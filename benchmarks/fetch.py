"""Measure how fast a pull is next to the same requests with nothing decoded, and print the table.

    python benchmarks/fetch.py [--only NAME] [--repeats 5] [--sdk] [--quick] [--work DIR] [--json FILE]

Each side runs in a process of its own with nothing cached, in turns, `--repeats` times; medians are printed.
`benchmarks/README.md` describes the scenarios.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median

from measuring import Measured, measure, serving
from workloads import SCENARIOS, Scenario, make_bundle, small

BARE, OURS = "bare", "ours"
_TITLES = (
    "side",
    "seconds",
    "inside",
    "to request",
    "ours is",
    "rows/s",
    "requests",
    "GraphQL",
    "429",
    "MB",
    "peak MB",
    "CPU s",
    "server s",
)
_LIMIT_SECONDS = 900.0

Results = Mapping[str, Sequence[Measured]]


def main(arguments: Sequence[str]) -> int:
    """Measure the chosen scenarios and print the tables."""
    options = _options(arguments)
    chosen = [scenario for scenario in SCENARIOS if not options.only or scenario.name in options.only]
    table: dict[str, Results] = {}
    with ExitStack() as stack:
        folder = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pull-logs-")))
        folder.mkdir(parents=True, exist_ok=True)
        for scenario in map(small, chosen) if options.quick else chosen:
            results = _measure(scenario, folder, sides=_sides(scenario, options), repeats=options.repeats)
            table[scenario.name] = results
            print("\n".join(_lines(scenario, results)), flush=True)
    if options.json:
        plain = {
            name: {side: list(map(asdict, some)) for side, some in found.items()}
            for name, found in table.items()
        }
        options.json.write_text(json.dumps(plain, indent=1))
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--only", action="append", choices=names, help="a scenario; may be repeated")
    parser.add_argument("--repeats", type=int, default=5, choices=range(1, 21), metavar="N", help="default 5")
    parser.add_argument("--sdk", action="store_true", help="measure the wandb SDK too")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: checks that it works, not how fast"
    )
    parser.add_argument("--work", type=Path, help="keep the synthetic bundles here for the next run")
    parser.add_argument("--json", type=Path, help="write every measurement here")
    parser.add_argument("--side", dest="sides", action="append", choices=(BARE, "loop", "pool", OURS))
    return parser.parse_args(arguments)


def _sides(scenario: Scenario, options: argparse.Namespace) -> Sequence[str]:
    # The bare requests are not sent again after a 429.
    bare = () if scenario.net.quota else (BARE,)
    sides = (*bare, *(scenario.sdk if options.sdk else ()), OURS)
    return [side for side in sides if not options.sides or side in options.sides]


def _measure(scenario: Scenario, folder: Path, *, sides: Sequence[str], repeats: int) -> Results:
    _log(f"{scenario.name}: making the bundle")
    bundle = make_bundle(scenario, folder)
    found: dict[str, list[Measured]] = {side: [] for side in sides}
    with serving(scenario, bundle) as server:
        for repeat in range(repeats):
            for side in sides:
                _log(f"{scenario.name}: {side}, {repeat + 1} of {repeats}")
                one = measure(server, side, scenario, limit=_LIMIT_SECONDS)
                _check(scenario, side, one)
                found[side].append(one)
    return found


def _check(scenario: Scenario, side: str, one: Measured) -> None:
    runs = scenario.runs if side in (BARE, OURS) else scenario.sdk_runs or scenario.runs
    if one.rows != runs * scenario.rows:
        raise SystemExit(f"{scenario.name}: {side} read {one.rows} rows, not {runs * scenario.rows}")


def _lines(scenario: Scenario, results: Results) -> Iterable[str]:
    """Yield the table of a scenario, as Markdown."""
    ours = results.get(OURS)
    yield f"\n### {scenario.name}: {_describe(scenario)}\n"
    yield f"| {' | '.join(_TITLES)} |"
    yield f"|{'---|' * len(_TITLES)}"
    for side, some in results.items():
        factor = (
            1.0 if side in (BARE, OURS) or scenario.sdk_runs is None else scenario.runs / scenario.sdk_runs
        )
        yield _line(side, some, ours=ours, factor=factor)
    if ours:
        yield f"\n{_verdict(scenario, results)}"


def _describe(scenario: Scenario) -> str:
    net = scenario.net
    parts = [f"{scenario.runs:,} x {scenario.rows:,} rows x {scenario.metrics} metrics"]
    parts += [f"up to step {scenario.last_step:,}"] if scenario.last_step else []
    parts += ["live" if scenario.live else "exported"]
    parts += [f"{net.latency * 1000:.0f} ms a request added"] if net.latency else []
    parts += [f"{net.quota} GraphQL requests in {net.window:g} s"] if net.quota else []
    parts += [f"files of {scenario.shard_rows:,} rows"] if scenario.shard_rows else []
    return ", ".join(parts)


def _line(side: str, some: Sequence[Measured], *, ours: Sequence[Measured] | None, factor: float) -> str:
    seconds = _seconds(some) * factor
    spread = (
        f" ({min(one.seconds for one in some) * factor:.2f}-{max(one.seconds for one in some) * factor:.2f})"
    )
    one = sorted(some, key=lambda one: one.seconds)[len(some) // 2]
    cells = (
        side + (f", {1 / factor:.0%} of the runs, extrapolated" if factor > 1 else ""),
        f"{seconds:.2f}{spread}",
        f"{median(one.inside for one in some) * factor:.2f}",
        f"{median(one.to_first for one in some):.2f}",
        "" if side == OURS or not ours else f"{_seconds(ours) / seconds:.2f}",
        f"{one.rows * factor / seconds:,.0f}",
        f"{one.requests * factor:,.0f}",
        f"{one.graphql * factor:,.0f}",
        str(one.refused),
        f"{one.received * factor / 1e6:.1f}",
        f"{max(one.peak for one in some) / 1e6:.0f}",
        f"{median(one.processor for one in some) * factor:.2f}",
        f"{median(one.server_seconds for one in some) * factor:.2f}",
    )
    return f"| {' | '.join(cells)} |"


def _verdict(scenario: Scenario, results: Results) -> str:
    """Return the results next to their aims."""
    ours = results[OURS]
    parts = []
    if BARE in results:
        times = _seconds(ours) / _seconds(results[BARE])
        inside = median(one.inside for one in ours) / median(one.inside for one in results[BARE])
        goal = f" (aim: {scenario.at_most:g})" if scenario.at_most else ""
        parts.append(f"{times:.2f} times the bare requests{goal}, {inside:.2f} without start-up")
    for side, aim in zip(("loop", "pool"), scenario.at_least, strict=True):
        if aim and side in results:
            ratio = _seconds(results[side]) / _seconds(ours)
            parts.append(f"{ratio:.1f} times faster than the SDK's {side} (aim: {aim:g})")
    requests = max(one.requests for one in ours)
    graphql = max(one.graphql for one in ours)
    parts.append(f"{requests:,} requests, {graphql / scenario.runs:.3f} GraphQL requests per run")
    parts.append(f"at most {max(one.peak for one in ours) / 1e6:.0f} MB (aim: 500)")
    parts.append(f"bundle {ours[0].bundle_bytes / 1e6:.1f} MB")
    quota = scenario.net.quota
    if quota:
        limits = [(one.graphql - one.refused - 1) // quota * scenario.net.window for one in ours]
        over = median(one.seconds / limit - 1 for one, limit in zip(ours, limits, strict=True) if limit)
        share = max(one.refused / one.requests for one in ours)
        parts.append(f"{over:.1%} over the {limits[0]:g} s that the limit takes, {share:.2%} answered 429")
    parts += [f"aims: {scenario.aims}"] if scenario.aims else []
    return "; ".join(parts)


def _seconds(some: Sequence[Measured]) -> float:
    return median(one.seconds for one in some)


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
