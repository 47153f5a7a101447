"""Fuzz one target in this process: `fuzz.py` starts it with the options of libFuzzer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

import atheris

if TYPE_CHECKING:
    from fuzzkit import Target

MODULES = ["pull_logs"]
"""What is instrumented for coverage, also where it is imported late."""

OWN = 0.5
"""How often an input is changed by its form instead of by its bytes."""


def main(arguments: list[str]) -> None:
    """Fuzz the target that the first argument names, until libFuzzer ends the process."""
    name, *options = arguments
    instrumented = atheris.instrument_imports(include=MODULES, enable_loader_override=False)
    with instrumented:
        from fuzz_targets import TARGETS

        target = TARGETS[name]
        for seed in target.seeds():
            target.run(seed)
        atheris.Setup([sys.argv[0], *options], target.run, custom_mutator=_mutator(target))
        atheris.Fuzz()


def _mutator(target: Target) -> Callable[[bytes, int, int], bytes]:
    """Return what changes an input: its bytes, or half of the time what the target knows of its form."""

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)
        if target.mutate is not None and random.random() < OWN:
            made = target.mutate(data, random)
            if made is not None and len(made) <= most:
                return made
        return bytes(atheris.Mutate(data, most))

    return mutate


if __name__ == "__main__":
    main(sys.argv[1:])
