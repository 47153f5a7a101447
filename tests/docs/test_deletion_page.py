"""The script of docs/safe-to-delete.md deletes the runs that are safe and unchanged, and no other."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from checkout import ROOT
from page_examples import blocks_of

(SCRIPT,) = (
    block.text for block in blocks_of(ROOT / "docs" / "safe-to-delete.md") if block.title == "delete_safe.py"
)
BEAT = "2026-01-02T03:05:05Z"


def proof(**changes: Any) -> dict[str, Any]:
    verdicts = {
        "a/b/safe": "safe",
        "a/b/moved": "safe",
        "a/b/again": "safe",
        "a/b/less": "not safe",
        "a/b/old": "gone",
    }
    runs = [
        {"path": path, "verdict": verdict, "state": "finished", "heartbeat_at": BEAT}
        for path, verdict in verdicts.items()
    ]
    return {"ok": True, "safety": {"compared": True, "runs": runs}, **changes}


@pytest.fixture
def run_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[list[str], str]]:
    deleted: list[str] = []

    def found(path: str) -> SimpleNamespace:
        beat = "2026-02-01T00:00:00" if path == "a/b/moved" else BEAT.removesuffix("Z")
        state = "running" if path == "a/b/again" else "finished"
        return SimpleNamespace(state=state, heartbeat_at=beat, delete=lambda: deleted.append(path))

    module = ModuleType("wandb")
    module.Api = lambda: SimpleNamespace(run=found)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)

    def run(answer: dict[str, Any], *words: str) -> tuple[list[str], str]:
        file = tmp_path / "safety.json"
        file.write_text(json.dumps(answer))
        monkeypatch.setattr(sys, "argv", ["delete_safe.py", str(file), *words])
        exec(compile(SCRIPT, "delete_safe.py", "exec"), {"__name__": "__main__"})
        return deleted, capsys.readouterr().out

    return run


def test_only_safe_and_unchanged_runs_are_deleted(run_script: Callable[..., tuple[list[str], str]]) -> None:
    deleted, out = run_script(proof(), "--delete")
    assert deleted == ["a/b/safe"]
    assert out == (
        "deleted: a/b/safe\nkept, because it changed: a/b/moved\nkept, because it changed: a/b/again\n"
    )


def test_without_the_option_nothing_is_deleted(run_script: Callable[..., tuple[list[str], str]]) -> None:
    deleted, out = run_script(proof())
    assert deleted == []
    assert out.startswith("would be deleted: a/b/safe\n")


@pytest.mark.parametrize(
    "answer", [proof(ok=False), proof(safety=None), proof(safety={"compared": False, "runs": []})]
)
def test_what_is_not_a_proof_is_refused(
    run_script: Callable[..., tuple[list[str], str]], answer: dict[str, Any]
) -> None:
    with pytest.raises(SystemExit, match=r"^this is not a proof"):
        run_script(answer, "--delete")
