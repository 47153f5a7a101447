"""The format that answers name is the one that the shipped schemas describe."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from pull_logs._version import FORMAT

SCHEMAS = sorted(path.name for path in (files("pull_logs") / "data" / "schemas").iterdir())


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_describes_the_current_format(name: str) -> None:
    schema = json.loads((files("pull_logs") / "data" / "schemas" / name).read_text())
    assert schema["properties"]["format"] == {"const": FORMAT}
