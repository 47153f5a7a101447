"""Fuzz one target in this process: `fuzz.py` starts it with the options of libFuzzer."""

from __future__ import annotations

import sys

import atheris

MODULES = ["pull_logs"]
"""What is instrumented for coverage, also where it is imported late."""


def main(arguments: list[str]) -> None:
    """Fuzz the target that the first argument names, until libFuzzer ends the process."""
    name, *options = arguments
    instrumented = atheris.instrument_imports(include=MODULES, enable_loader_override=False)
    with instrumented:
        from fuzz_targets import TARGETS

        target = TARGETS[name]
        for seed in target.seeds():
            target.run(seed)
        atheris.Setup([sys.argv[0], *options], target.run)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
