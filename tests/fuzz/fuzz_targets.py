"""All fuzz targets, by name."""

from __future__ import annotations

import format_targets
import request_targets
import source_targets
from fuzzkit import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (*format_targets.TARGETS, *source_targets.TARGETS, *request_targets.TARGETS)
}
