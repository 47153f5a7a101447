"""What is replaced by a new bundle, and what is refused: links, other files, other selections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bundlekit import ROWS, bundle_run, make_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pull_logs.errors import FileMissingError, PullLogsError, UsageError
from pull_logs.snapshot import open_bundle, write_bundle
from pull_logs.snapshot.write import check_bundle_output, check_output_file

IDS = "abcd"

sets = st.sets(st.sampled_from(IDS), min_size=1)
patterns = st.sampled_from([None, "loss", "acc"])


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def runs_of(path: Path) -> set[str]:
    with open_bundle(path) as bundle:
        return {run.path.run_id for run in bundle.runs()}


def write(path: Path, ids: set[str], metrics: str | None = None, *, force: bool = False) -> None:
    write_bundle(path, [bundle_run(f"acme/nano/{one}") for one in ids], metrics=metrics, force=force)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(before=sets, after=sets, had=patterns, kept=patterns)
def test_without_force_no_run_and_no_metric_of_a_bundle_is_lost(
    tmp_path: Path, before: set[str], after: set[str], had: str | None, kept: str | None
) -> None:
    out = tmp_path / "b.wandb.zip"
    write(out, before, had, force=True)
    old = out.read_bytes()
    if before <= after and kept in (None, had):
        write(out, after, kept)
        assert runs_of(out) == after
        return
    with pytest.raises(UsageError) as refused:
        write(out, after, kept)
    assert str(refused.value).startswith(f"{str(out)!r} is a bundle of another selection: ")
    assert out.read_bytes() == old
    write(out, after, kept, force=True)
    assert runs_of(out) == after
    assert names_in(tmp_path) == ["b.wandb.zip"]


def test_a_refusal_names_the_first_runs_that_would_be_lost(tmp_path: Path) -> None:
    out = tmp_path / "b.wandb.zip"
    write(out, set("abcde"))
    with pytest.raises(UsageError) as refused:
        write(out, {"a"})
    assert str(refused.value) == (
        f"{str(out)!r} is a bundle of another selection: it has 4 runs that would be lost: 'acme/nano/b',"
        " 'acme/nano/c', 'acme/nano/d' and 1 more; pass --force to replace it, or name another file"
    )


def test_a_refusal_names_the_metrics_that_would_be_lost(tmp_path: Path) -> None:
    out = tmp_path / "b.wandb.zip"
    write(out, {"a"})
    with pytest.raises(UsageError) as refused:
        write(out, {"a"}, "loss")
    assert str(refused.value) == (
        f"{str(out)!r} is a bundle of another selection: it has all metrics, and the new one those that match"
        " 'loss'; pass --force to replace it, or name another file"
    )


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    target, link, chain = store / "a.wandb.zip", tmp_path / "link.zip", tmp_path / "chain.zip"
    write(target, {"a"})
    link.symlink_to("store/a.wandb.zip")
    chain.symlink_to(link)
    report = write_bundle(chain, [bundle_run("acme/nano/a"), bundle_run("acme/nano/b")])
    assert report.path == chain
    assert (link.is_symlink(), chain.is_symlink(), target.is_symlink()) == (True, True, False)
    assert runs_of(target) == {"a", "b"}
    assert names_in(store) == ["a.wandb.zip"]


def test_a_link_to_a_file_that_does_not_exist_creates_it(tmp_path: Path) -> None:
    link = tmp_path / "link.zip"
    link.symlink_to("new.zip")
    write(link, {"a"})
    assert link.is_symlink()
    assert runs_of(tmp_path / "new.zip") == {"a"}


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7 thesis", b"PK\x05\x06" + bytes(18)])
def test_what_is_not_a_bundle_is_replaced_only_with_force(tmp_path: Path, content: bytes) -> None:
    out = tmp_path / "thesis.pdf"
    out.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        write(out, {"a"})
    assert str(refused.value) == (
        f"{str(out)!r} exists and is not a readable bundle; pass --force to replace it, or name another file"
    )
    assert out.read_bytes() == content
    write(out, {"a"}, force=True)
    assert runs_of(out) == {"a"}


def test_a_damaged_bundle_is_not_replaced_without_force(tmp_path: Path) -> None:
    out = make_bundle(tmp_path / "b.wandb.zip")
    damaged = out.read_bytes()[:-100]
    out.write_bytes(damaged)
    with pytest.raises(UsageError, match="is not a readable bundle"):
        write(out, set(IDS))
    assert out.read_bytes() == damaged


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda _: "", UsageError, "the output has no name"),
        (lambda _: "  ", UsageError, "the output has no name"),
        (lambda _: "-", UsageError, "the output cannot be '-', standard output"),
        (lambda _: "https://x.org/b.zip", UsageError, "the output 'https://x.org/b.zip' is a URL"),
        (lambda _: "s3://bucket/b.zip", UsageError, "the output 's3://bucket/b.zip' is a URL"),
        (lambda _: ".", UsageError, "'.' is a folder"),
        (lambda _: "/", UsageError, "'/' is a folder"),
        (lambda at: f"{at}/new/", UsageError, "is a folder"),
        (lambda at: f"{at}/no/b.zip", FileMissingError, "its folder does not exist"),
        (lambda at: f"{at}/circle", UsageError, "its links lead in circles"),
        (lambda at: f"{at}/{'x' * 300}", UsageError, "File name too long"),
        (lambda _: "/dev/null", UsageError, "'/dev/null' is not a regular file"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_even_with_force(
    tmp_path: Path, make: Callable[[Path], str], kind: type[PullLogsError], message: str, *, force: bool
) -> None:
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(kind) as refused:
        check_bundle_output(make(tmp_path), force=force)
    assert message in refused.value.message
    assert refused.value.hint
    assert names_in(tmp_path) == ["circle"]


def test_a_folder_that_cannot_be_written_is_found_out_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", denied)
    with pytest.raises(PullLogsError) as refused:
        check_output_file(tmp_path / "b.zip")
    assert refused.value.message == f"{str(tmp_path / 'b.zip')!r} cannot be written: Permission denied"


def test_rows_are_kept_when_a_bundle_is_replaced_by_itself(tmp_path: Path) -> None:
    out = make_bundle(tmp_path / "b.wandb.zip", [bundle_run("acme/nano/a", ROWS)])
    before = out.read_bytes()
    with open_bundle(out) as bundle:
        write_bundle(out, bundle.runs(), read=bundle.runs())
    assert out.read_bytes() == before
