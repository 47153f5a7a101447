"""Fuzz every parser of untrusted bytes, guided by coverage.

    python tests/fuzz/fuzz.py                          # every target for an hour, two at a time
    python tests/fuzz/fuzz.py expression --minutes 5   # one target
    python tests/fuzz/fuzz.py --add                    # keep the smallest inputs of each part of the code

It needs `atheris` (`python -m pip install '.[test,fuzz]'`, Linux). Inputs that make a parser fail are kept in
the work folder, each with the error that it raised; the exit code is 1 if there are any.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SEARCHED = (
    "tests/fuzz",
    "tests",
    "tests/snapshot",
    "tests/sources/tensorboard",
    "tests/sources/wandb_folders",
)
"""Folders of the modules that the targets import."""

sys.path[:0] = [str(ROOT), *(str(ROOT / folder) for folder in SEARCHED)]

from fuzz_targets import TARGETS  # noqa: E402
from fuzzkit import CORPORA, Target, input_name  # noqa: E402

LONGEST = 16_384
"""Most bytes of an input."""
KEPT_FILES, KEPT_BYTES = 40, 2_048
"""Most inputs of a small corpus, and most bytes of each; a seed may be longer."""
ROUND_SECONDS = 300.0
"""How long a process fuzzes before another goes on: atheris never frees what comparing two arrays gives."""

HEAD = "| target | minutes | processor minutes | inputs | coverage | corpus | failures |\n" + "|---" * 7 + "|"

_STATE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)/")
_EXECUTED = re.compile(r"stat::number_of_executed_units: (\d+)")


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """What fuzzing a target found.

    Attributes:
        name: The target.
        seconds: How long it was fuzzed.
        processor_seconds: How much time of a processor the fuzzing took, which is less beside other work.
        executions: How many inputs were parsed.
        coverage: How many places of the code they reached.
        corpus: How many inputs reach something that no other reaches.
        failures: The errors that inputs raised, each with the file of the input.
    """

    name: str
    seconds: float
    processor_seconds: float
    executions: int
    coverage: int
    corpus: int
    failures: tuple[str, ...]

    def __str__(self) -> str:
        """Return a row of a Markdown table."""
        times = (f"{seconds / 60:.1f}" for seconds in (self.seconds, self.processor_seconds))
        fields = (self.name, *times, f"{self.executions:,}", self.coverage, self.corpus)
        return "| " + " | ".join(map(str, (*fields, len(self.failures)))) + " |"


def _command(name: str, options: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the command that fuzzes a target, and its environment."""
    paths = os.pathsep.join(sys.path[: len(SEARCHED) + 1])
    return [sys.executable, str(HERE / "fuzz_process.py"), name, *options], os.environ | {"PYTHONPATH": paths}


def _run(target: Target, work: Path, seconds: float) -> tuple[str, int, float]:
    """Fuzz a target once; return what libFuzzer printed, its exit code and its seconds of a processor."""
    options = [
        f"-max_total_time={max(1, round(seconds))}",
        f"-max_len={LONGEST}",
        f"-artifact_prefix={work / 'failures'}{os.sep}",
        "-timeout=20",
        "-rss_limit_mb=3000",
        "-print_final_stats=1",
        str(work / "corpus"),
    ]
    command, environment = _command(target.name, options)
    with (work / "printed").open("w+b") as printed:
        process = subprocess.Popen(command, env=environment, stdout=printed, stderr=printed)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        text = printed.read().decode(errors="replace")
    return text, process.returncode, usage.ru_utime + usage.ru_stime


def fuzz(target: Target, work: Path, seconds: float) -> Fuzzed:
    """Fuzz a target for some time, in one process after the other, and again after each failure."""
    for folder in ("corpus", "failures"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    for data in [*target.seeds(), *(file.read_bytes() for file in target.corpus())]:
        (work / "corpus" / input_name(data)).write_bytes(data)
    start, processor_seconds, executions, state = time.monotonic(), 0.0, 0, (0, 0, 0)
    failures: list[str] = []
    while (left := seconds - (time.monotonic() - start)) > 1 and len(failures) < 5:
        printed, code, used = _run(target, work, min(left, ROUND_SECONDS))
        processor_seconds += used
        executions += sum(int(found) for found in _EXECUTED.findall(printed))
        states = ((int(one), int(two), int(three)) for one, two, three in _STATE.findall(printed))
        state = max([state, *states])
        if code != 0:
            failures.append(_described(printed))
    return Fuzzed(
        name=target.name,
        seconds=time.monotonic() - start,
        processor_seconds=processor_seconds,
        executions=executions,
        coverage=state[0],
        corpus=state[2],
        failures=tuple(failures),
    )


def _described(printed: str) -> str:
    """Return what a failed process said of its failure."""
    found = [printed.find(mark) for mark in ("=== Uncaught Python exception", "ERROR: ")]
    start = next((offset for offset in found if offset >= 0), 0)
    return printed[start:][:3_000]


def keep_smallest(target: Target, work: Path) -> int:
    """Write the smallest inputs that reach all that was reached to the small corpus; return their number."""
    merged = work / "merged"
    merged.mkdir(exist_ok=True)
    command, environment = _command(target.name, ["-merge=1", str(merged), str(work / "corpus")])
    subprocess.run(command, env=environment, capture_output=True, check=True)
    found = sorted((file.read_bytes() for file in merged.iterdir()), key=lambda data: (len(data), data))
    kept = [data for data in found if len(data) <= KEPT_BYTES][:KEPT_FILES]
    folder = CORPORA / target.name
    folder.mkdir(parents=True, exist_ok=True)
    for data in kept:
        (folder / input_name(data)).write_bytes(data)
    return len(kept)


def _results(names: Sequence[str], work: Path, seconds: float, jobs: int) -> Iterator[Fuzzed]:
    with ThreadPoolExecutor(jobs) as threads:
        yield from threads.map(lambda name: fuzz(TARGETS[name], work / name, seconds), names)


def main() -> int:
    """Fuzz the targets of the command line and print a table."""
    parser = argparse.ArgumentParser(description="Fuzz every parser of untrusted bytes, guided by coverage.")
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="default: all")
    parser.add_argument("--minutes", type=float, default=60, help="minutes for each target")
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time")
    parser.add_argument("--work", type=Path, default=Path("fuzz-work"), help="folder of corpora and failures")
    parser.add_argument("--add", action="store_true", help="add the smallest inputs to the small corpora")
    options = parser.parse_args()
    names = options.targets or list(TARGETS)
    print(HEAD, flush=True)
    failed = []
    for result in _results(names, options.work, options.minutes * 60, options.jobs):
        print(result, flush=True)
        failed += [f"{result.name}: {failure}" for failure in result.failures]
        if options.add:
            keep_smallest(TARGETS[result.name], options.work / result.name)
    print(*failed, sep="\n\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
