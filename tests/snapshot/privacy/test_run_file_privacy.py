"""Secrets in the files of runs: found, removed, and reported where a file is too long."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bundlekit import make_bundle
from runfilekit import Contents, contents_in, merged, with_files

from pull_logs.cli.main import main
from pull_logs.snapshot import (
    verify_bundle,
)
from pull_logs.snapshot.privacy import file_scrubber as filetexts
from pull_logs.snapshot.privacy.audit import audit_bundle
from pull_logs.snapshot.privacy.redact import redact_bundle

KEY = "sk-ant-0123456789abcdefghijABCD"


LEAKY: Contents = {
    "output.log": f"start\nusing key {KEY}\nsaved to /home/ada/run1\n".encode(),
    "wandb-metadata.json": json.dumps({"host": "box-17.corp", "gpu": 1, "email": "ada@corp.io"}).encode(),
    "config.yaml": (
        b"lr:\n  value: 0.1\n_wandb:\n  value:\n    host: box-17.corp\n"
        b"secret_token:\n  value: aB3dE5gH7jK9mN1pQ3rS5t\n"
    ),
    "broken.json": b'{"email": "ada@corp.io"',
    "pem.txt": b"-----BEGIN PRIVATE KEY-----\nabc\ndef\n-----END PRIVATE KEY-----\nrest\n",
    "clean.json": b'{ "b": 1,  "a": 2 }',
    "weights.bin": b"\x00\x01" + KEY.encode(),
}


def test_text_files_are_looked_through_and_cleaned(tmp_path: Path) -> None:
    leaky = make_bundle(tmp_path / "leaky.wandb.zip", [with_files(LEAKY)])
    found = {(finding.location, finding.kind) for finding in audit_bundle(leaky).findings}
    assert found == {
        ("files/output.log", "api-key"),
        ("files/output.log", "home-path"),
        ("files/wandb-metadata.json.host", "host-name"),
        ("files/wandb-metadata.json.email", "email"),
        ("files/config.yaml._wandb.value.host", "host-name"),
        ("files/config.yaml.secret_token.value", "secret"),
        ("files/broken.json", "email"),
        ("files/pem.txt", "private-key"),
    }
    clean, again = tmp_path / "clean.wandb.zip", tmp_path / "again.wandb.zip"
    redaction = redact_bundle(leaky, clean)
    assert (sum(redaction.redacted.values()), redaction.left_out) == (8, ())
    reported = contents_in(clean)
    assert reported["output.log"] == (
        b"start\nusing key [redacted: api-key]\nsaved to /home/[redacted: home-path]/run1\n"
    )
    assert json.loads(reported["wandb-metadata.json"])["gpu"] == 1
    assert reported["pem.txt"] == b"[redacted: private-key]\nrest\n"
    for name in ("clean.json", "weights.bin"):
        assert reported[name] == LEAKY[name]
    audit = audit_bundle(clean)
    assert (audit.findings, audit.redacted) == ((), redaction.redacted)
    redact_bundle(clean, again)
    assert again.read_bytes() == clean.read_bytes()
    redact_bundle(leaky, again)
    assert again.read_bytes() == clean.read_bytes()
    assert merged([clean, clean], again).read_bytes() == clean.read_bytes()
    assert not verify_bundle(clean).damages


def test_text_that_is_too_long_is_reported_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(filetexts, "MAX_SCANNED", 100)
    long = make_bundle(
        tmp_path / "long.wandb.zip",
        [with_files({"long.log": b"x" * 101, "a.bin": b"\xff" * 200, "a.log": b"x"})],
    )
    assert main(["audit", str(long)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "(none)",
        "[UNREAD] files=1",
        "run,file",
        "acme/nano/3fk2a,long.log",
    ]
    out = tmp_path / "out.wandb.zip"
    assert main(["audit", str(long), "--redact", "-o", str(out)]) == 0
    assert (
        "left out 'long.log' of acme/nano/3fk2a: the text is too long to be searched"
        in capsys.readouterr().err
    )
    assert list(contents_in(out)) == ["a.bin", "a.log"]


def test_a_long_log_is_looked_through_in_blocks(tmp_path: Path) -> None:
    line = b"epoch 12 loss=0.25 lr=1e-4\n"
    log = line * 9000 + f"{KEY}\n".encode() + line * 9000
    leaky = make_bundle(tmp_path / "leaky.wandb.zip", [with_files({"output.log": log})])
    redact_bundle(leaky, leaky)
    assert contents_in(leaky) == {"output.log": log.replace(KEY.encode(), b"[redacted: api-key]")}
