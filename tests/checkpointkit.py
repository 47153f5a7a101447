"""Checkpoints in the formats of `torch.save`."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from pull_logs.runs import RunReference

FULL = RunReference("id1", "proj", "team")
MODEL = {"weight": torch.zeros(4, 4), "bias": torch.zeros(4)}


def save(path: Path, value: object, *, layout: str = "zip") -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=layout == "zip")
    return path


class Shell:
    """Runs a command when it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("exit 1",)
