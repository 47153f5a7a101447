"""A console log in a bundle: written, read, verified, copied, merged, compared, redacted, and damaged."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any, Literal

import pytest
from bundlekit import bundle_run, forged_from, make_bundle, members_of, unzipped
from checkout import RECORDED
from consolekit import console_of, printed

from pull_logs.errors import BundleDamagedError, MergeConflictError, UnsafeFileError
from pull_logs.runs import RunPath
from pull_logs.snapshot import (
    BundleRun,
    diff_bundles,
    export_runs,
    merge_bundles,
    open_bundle,
    subset_bundle,
    verify_bundle,
    write_bundle,
)
from pull_logs.snapshot.format import ConsoleLine
from pull_logs.snapshot.privacy import audit_bundle, redact_bundle
from pull_logs.snapshot.write import CopiedRun, Spool

MEMBER = "runs/entity=acme/project=nano/run=3fk2a/console.ndjson.zst"


def with_console(run: BundleRun, lines: list[ConsoleLine]) -> BundleRun:
    return dataclasses.replace(run, console=console_of(lines))


def a_bundle(path: Path, lines: list[ConsoleLine], **facts: Any) -> Path:
    return make_bundle(path, [with_console(bundle_run(**facts), lines), bundle_run("acme/nano/b")])


def lines_in(path: Path, run: str = "3fk2a") -> list[ConsoleLine]:
    with open_bundle(path) as bundle:
        return list(bundle[run].console_logs())


def test_a_bundle_has_the_lines_and_says_how_many(tmp_path: Path) -> None:
    path = a_bundle(tmp_path / "a.zip", printed(12))
    assert list(members_of(path))[3:5] == [MEMBER, MEMBER.replace("console.ndjson.zst", "history.parquet")]
    with open_bundle(path) as bundle:
        run, other = bundle["3fk2a"], bundle["b"]
        assert run.console is not None
        assert (len(run.console), repr(run.console)) == (12, "<RunConsole of 'acme/nano/3fk2a': 12 lines>")
        assert list(run.console_logs()) == printed(12)
        assert list(run.console_logs(last=2)) == printed(2, start=10)
        assert list(run.console_logs(last=0)) == []
        assert (other.console, other.console_hash, list(other.console_logs())) == (None, None, [])
    assert not verify_bundle(path).damages
    assert not verify_bundle(unzipped(path, tmp_path / "folder")).damages
    assert lines_in(tmp_path / "folder") == printed(12)


def test_unzip_and_duckdb_read_the_lines(tmp_path: Path) -> None:
    import duckdb

    path = a_bundle(tmp_path / "a.zip", printed(12))
    zipfile.ZipFile(path).extractall(tmp_path / "sweep")
    found = duckdb.sql(
        f"SELECT run, number, line FROM read_ndjson('{tmp_path}/sweep/runs/**/console.ndjson.zst',"
        " hive_partitioning = true) WHERE level = 'error' ORDER BY number"
    ).fetchall()
    assert found == [("3fk2a", 4, "epoch 4 done"), ("3fk2a", 9, "epoch 9 done")]


def test_a_bundle_without_console_logs_keeps_its_bytes(tmp_path: Path) -> None:
    plain = make_bundle(tmp_path / "plain.zip", [bundle_run(), bundle_run("acme/nano/b")])
    printing = a_bundle(tmp_path / "printing.zip", printed(12))
    left = members_of(printing)
    del left[MEMBER]
    same = {name: data for name, data in left.items() if not name.startswith("datapackage")}
    assert same == {
        name: data for name, data in members_of(plain).items() if not name.startswith("datapackage")
    }
    assert b"console" not in members_of(plain)["datapackage.json"]
    with open_bundle(plain) as before, open_bundle(printing) as after:
        assert before.content_id == after.content_id
        assert before.bundle_id != after.bundle_id


def test_a_recorded_bundle_is_sealed_again_with_the_same_bytes(tmp_path: Path) -> None:
    with open_bundle(RECORDED) as bundle:
        write_bundle(tmp_path / "a.zip", bundle.runs())
    assert (tmp_path / "a.zip").read_bytes() == RECORDED.read_bytes()


def test_a_spool_copies_replaces_and_finds_it_after_a_crash(tmp_path: Path) -> None:
    source = a_bundle(tmp_path / "a.zip", printed(12))
    out = tmp_path / "b.zip"
    with open_bundle(source) as bundle:
        with Spool.open(out, plan={}) as spool:
            spool.adopt(bundle["3fk2a"])
            spool.adopt(bundle["b"], console=console_of(printed(3)))
        with Spool.open(out, plan={}) as spool:
            stored = spool.stored[RunPath("acme", "nano", "3fk2a")]
            assert stored.console is not None
            assert stored.console.lines == 12
            report = spool.seal()
    assert report.console_lines == 15
    assert (lines_in(out), lines_in(out, "b")) == (printed(12), printed(3))


def test_a_subset_has_it_with_and_without_other_metrics(tmp_path: Path) -> None:
    source = a_bundle(tmp_path / "a.zip", printed(12))
    for number, metrics in enumerate((None, "loss")):
        with open_bundle(source) as bundle:
            subset_bundle([bundle["3fk2a"]], tmp_path / f"{number}.zip", metrics=metrics)
        assert lines_in(tmp_path / f"{number}.zip") == printed(12)


def merged(tmp_path: Path, left: Path, right: Path) -> list[ConsoleLine]:
    out = tmp_path / "merged.zip"
    with open_bundle(left) as first, open_bundle(right) as second:
        merge_bundles([first, second], out, force=True)
    data = out.read_bytes()
    with open_bundle(left) as first, open_bundle(right) as second:
        merge_bundles([second, first], out, force=True)
    assert out.read_bytes() == data
    return lines_in(out)


def test_the_log_that_continued_is_kept_by_a_merge(tmp_path: Path) -> None:
    short = a_bundle(tmp_path / "short.zip", printed(3))
    long = a_bundle(tmp_path / "long.zip", printed(12))
    none = make_bundle(tmp_path / "none.zip", [bundle_run(), bundle_run("acme/nano/b")])
    assert merged(tmp_path, short, long) == printed(12)
    assert merged(tmp_path, none, short) == printed(3)
    assert merged(tmp_path, short, short) == printed(3)


def test_logs_that_differ_are_a_conflict_unless_one_was_seen_later(tmp_path: Path) -> None:
    old = a_bundle(tmp_path / "old.zip", printed(3), heartbeat_at="2026-11-23T10:00:00Z")
    other = printed(3, text="step {} done")
    same_time = a_bundle(tmp_path / "same.zip", other, heartbeat_at="2026-11-23T10:00:00Z")
    with pytest.raises(MergeConflictError) as caught:
        merged(tmp_path, old, same_time)
    left, right = repr(str(old)), repr(str(same_time))
    end = "and the heartbeat of the latter is not later"
    assert caught.value.conflicts[0] in [
        f"run 'acme/nano/3fk2a': console line 0 differs between {first} and {second}, {end}"
        for first, second in ((left, right), (right, left))
    ]
    later = a_bundle(tmp_path / "later.zip", other, heartbeat_at="2026-11-23T11:00:00Z")
    assert merged(tmp_path, old, later) == other


def test_a_difference_says_how_many_lines_there_were(tmp_path: Path) -> None:
    short = a_bundle(tmp_path / "short.zip", printed(3))
    long = a_bundle(tmp_path / "long.zip", printed(12))
    none = make_bundle(tmp_path / "none.zip", [bundle_run(), bundle_run("acme/nano/b")])
    for old, new, lines in ((short, long, (3, 12)), (none, long, (0, 12)), (long, none, (12, 0))):
        (change,) = diff_bundles(old, new).changed
        assert change.console == lines
        assert bool(change)
    assert not diff_bundles(short, short)


@pytest.mark.parametrize("to", ["parquet", "csv", "ndjson"])
def test_an_export_has_the_lines_as_plain_text(
    tmp_path: Path, to: Literal["parquet", "csv", "ndjson"]
) -> None:
    source = a_bundle(tmp_path / "a.zip", printed(12))
    for force in (False, True):
        with open_bundle(source) as bundle:
            export_runs(list(bundle.runs()), tmp_path / "out", to=to, force=force)
    (file,) = tmp_path.glob("out/runs/**/console.ndjson")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(line["number"], line["line"]) for line in lines] == [
        (line.number, line.text) for line in printed(12)
    ]


KEY = ["-----BEGIN RSA PRIVATE KEY-----", "MIIEpAIBAAKCAQEA1234", "abcd==", "-----END RSA PRIVATE KEY-----"]


def secret_lines() -> list[ConsoleLine]:
    texts = [
        "start",
        "saved to /home/ada/run",
        "token ghp_" + "a1B2" * 9,
        *KEY,
        "mail ada@kestrel-labs.net",
        "end",
    ]
    return [dataclasses.replace(line, text=text) for line, text in zip(printed(9), texts, strict=True)]


def test_an_audit_finds_what_was_printed_and_a_redaction_removes_it(tmp_path: Path) -> None:
    source = a_bundle(tmp_path / "a.zip", secret_lines())
    found = [finding for finding in audit_bundle(source).findings if finding.location == "console"]
    assert {(finding.kind, finding.step) for finding in found} == {
        ("home-path", 1), ("api-key", 2), ("private-key", 3), ("email", 7),
    }  # fmt: skip
    out = tmp_path / "b.zip"
    redaction = redact_bundle(source, out)
    texts = [line.text for line in lines_in(out)]
    assert texts[0] == "start"
    assert texts[2] == "token [redacted: api-key]"
    assert texts[3:7] == ["[redacted: private-key]", "", "", ""]
    assert texts[8] == "end"
    assert [line.number for line in lines_in(out)] == list(range(9))
    assert [line.timestamp for line in lines_in(out)] == [line.timestamp for line in secret_lines()]
    assert not verify_bundle(out).damages
    assert not audit_bundle(out).findings
    with open_bundle(out) as bundle:
        assert dict(bundle.manifest.redacted) == dict(redaction.redacted)
    before = out.read_bytes()
    redact_bundle(out, out)
    assert out.read_bytes() == before


def test_a_log_without_findings_is_copied_by_a_redaction(tmp_path: Path) -> None:
    source = a_bundle(tmp_path / "a.zip", printed(12), notes="mail ada@kestrel-labs.net")
    redact_bundle(source, tmp_path / "b.zip")
    assert members_of(source)[MEMBER] == members_of(tmp_path / "b.zip")[MEMBER]


def test_damage_is_found_located_and_never_read(tmp_path: Path) -> None:
    source = a_bundle(tmp_path / "a.zip", printed(400))
    data = members_of(source)[MEMBER]
    start = source.read_bytes().index(data)
    for offset in range(0, len(data), 7):
        damaged = bytearray(source.read_bytes())
        damaged[start + offset] ^= 1
        (tmp_path / "b.zip").write_bytes(damaged)
        (damage,) = verify_bundle(tmp_path / "b.zip").damages
        assert (damage.member, damage.run) == (MEMBER, "acme/nano/3fk2a")
        with pytest.raises(BundleDamagedError, match="the console log of run 'acme/nano/3fk2a'"):
            lines_in(tmp_path / "b.zip")
        with open_bundle(tmp_path / "b.zip") as bundle:
            assert len(list(bundle["b"].scan_history())) == 3


def test_a_log_of_no_run_is_refused(tmp_path: Path) -> None:
    source = a_bundle(tmp_path / "a.zip", printed(2))

    def move(members: dict[str, Any]) -> None:
        raw = members.pop(MEMBER)
        raw.name = MEMBER.replace("3fk2a", "3fk2b").encode()
        members[raw.name.decode()] = raw
        order = sorted(members, key=lambda name: (name != "FORMAT", name.startswith("datapackage"), name))
        for name in order:
            members[name] = members.pop(name)

    forged_from(source, tmp_path / "b.zip", move)
    with pytest.raises((UnsafeFileError, BundleDamagedError)):
        open_bundle(tmp_path / "b.zip")


def test_copying_runs_of_another_bundle_keeps_the_bytes(tmp_path: Path) -> None:
    source = a_bundle(tmp_path / "a.zip", printed(12))
    with open_bundle(source) as bundle:
        write_bundle(tmp_path / "b.zip", [CopiedRun(run=run) for run in bundle.runs()])
    assert (tmp_path / "b.zip").read_bytes() == source.read_bytes()
