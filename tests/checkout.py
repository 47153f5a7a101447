"""Where the checkout is, for tests that run its scripts or read its pages."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The root of the repository."""

RECORDED = ROOT / "fixtures" / "digits.wandb.zip"
"""The bundle of the recorded runs."""
