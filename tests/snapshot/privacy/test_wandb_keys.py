"""Keys of W&B are found wherever people leave them, and commits and hashes near the word wandb are not.

`docs/sharing.md` has the table of what these configs give; a test compares it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from bundlekit import bundle_run, make_bundle
from checkout import ROOT
from realconfigs import HASHES, KEYS, filled, texts

from pull_logs.snapshot import open_bundle
from pull_logs.snapshot.privacy import SECRETS, audit_bundle, redact_bundle

HEX40 = re.compile(r"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])")
SEEDS = 20


def measured(folder: Path) -> list[tuple[str, int, int]]:
    """Return per library: hashes in its configs, and how many of them are reported as secrets."""
    table = []
    for name, template in HASHES.items():
        configs = [filled(template, seed=f"{name}{seed}") for seed in range(SEEDS)]
        hashes = sum(len(HEX40.findall(text)) for config in configs for text in texts(config))
        runs = [bundle_run(f"a/b/{n}", config=config, metadata=config) for n, config in enumerate(configs)]
        path = make_bundle(folder / f"{name.replace(' ', '-')}.wandb.zip", runs)
        table.append((name, hashes, len(audit_bundle(path, kinds=SECRETS).findings)))
    return table


def test_no_commit_or_hash_is_reported_and_the_docs_say_so(tmp_path: Path) -> None:
    table = measured(tmp_path)
    assert {found for _, _, found in table} == {0}
    documented = (ROOT / "docs/sharing.md").read_text()
    for name, hashes, found in table:
        assert f"| {name} | {hashes} | {found} |" in documented


@pytest.mark.parametrize("document", ["config", "summary", "metadata", "config_internal"])
def test_every_key_is_found_and_redacted(tmp_path: Path, document: str) -> None:
    config: dict[str, Any] = filled(KEYS, seed="k")
    facts: Any = {document: config}
    keys = {key for text in texts(config) for key in HEX40.findall(text)} | {config["new"]["anywhere"]}
    path = make_bundle(tmp_path / "a.wandb.zip", [bundle_run("a/b/c", **facts)])
    findings = audit_bundle(path).findings
    assert len(findings) == len(keys) == len(KEYS)
    assert {finding.kind for finding in findings} <= {"api-key", "secret"}
    clean = tmp_path / "clean.wandb.zip"
    redact_bundle(path, clean)
    assert audit_bundle(clean).findings == ()
    with open_bundle(clean) as bundle:
        left = str(getattr(bundle["a/b/c"], document))
    assert not any(key in left for key in keys)


def test_a_classic_key_is_not_shown_even_in_part(tmp_path: Path) -> None:
    config = filled({"use_wandb": "{key}"}, seed="x")
    path = make_bundle(tmp_path / "a.wandb.zip", [bundle_run("a/b/c", config=config)])
    [finding] = audit_bundle(path).findings
    assert (finding.location, finding.kind) == ("config.use_wandb", "api-key")
    assert finding.excerpt == "*** (40 characters)"


def test_keys_in_rows_are_found_at_their_step(tmp_path: Path) -> None:
    key = filled("{key}", seed="row")
    rows = [
        {"_step": 0, "use_wandb": "no", "note": "calm"},
        {"_step": 3, "use_wandb": key, "note": f"wandb key {key}", "deep": {"wandb": {"login": key}}},
    ]
    path = make_bundle(tmp_path / "a.wandb.zip", [bundle_run("a/b/c", rows)])
    assert [(found.location, found.step) for found in audit_bundle(path).findings] == [
        ("history.deep.wandb.login", 3),
        ("history.note", 3),
        ("history.use_wandb", 3),
    ]
