"""Every command that writes, given every output that it must not write: refused before anything is read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from bundlekit import bundle_run, make_bundle
from checkout import ROOT

from pull_logs.cli.main import main
from pull_logs.snapshot import open_bundle

Call = Callable[..., tuple[int, str]]

WRITERS = {
    "fetch": ("fetch", "-p", "acme/nano", "-o", "OUT"),
    "sync": ("sync", "-p", "acme/nano", "-o", "OUT"),
    "refresh": ("refresh", "missing.zip", "-o", "OUT"),
    "refresh from folders": ("refresh", "missing.zip", "--from", "missing", "-o", "OUT"),
    "import": ("import", "missing", "-o", "OUT"),
    "merge": ("merge", "missing.zip", "missing2.zip", "-o", "OUT"),
    "subset": ("subset", "missing.zip", "-r", "a", "-o", "OUT"),
    "export": ("export", "missing.zip", "-o", "OUT"),
    "audit": ("audit", "missing.zip", "--redact", "-o", "OUT"),
    "demo": ("demo", "-o", "OUT"),
    "report": ("report", "missing.zip", "-o", "OUT"),
    "plot": ("plot", "missing.zip", "-o", "OUT"),
    "fetch report": ("fetch", "-p", "acme/nano", "-o", "new.zip", "--report-json", "OUT"),
    "refresh report": ("refresh", "missing.zip", "--report-json", "OUT"),
}
"""Every option that names an output, with inputs that do not exist and a server that cannot be reached."""

MISSING = "cannot be written: its folder does not exist; make the folder first"
OUTPUTS = {
    "": (2, "the output has no name; name a file to write, for example runs.wandb.zip"),
    "-": (2, "the output cannot be '-', standard output; name a file to write"),
    "https://example.org/b.zip": (
        2,
        "the output 'https://example.org/b.zip' is a URL; name a local file, and upload it afterwards",
    ),
    "no/b.zip": (3, f"'no/b.zip' {MISSING}"),
    "circle": (2, "'circle' cannot be written: its links lead in circles; name another file"),
}
FOLDERS = {
    "folder": "'folder' is a folder; name a file to write, for example runs.wandb.zip",
    ".": "'.' is a folder; name a file to write, for example runs.wandb.zip",
    "/": "'/' is a folder; name a file to write, for example runs.wandb.zip",
    "new/": "'new/' is a folder; name a file to write, for example runs.wandb.zip",
}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    Path("folder").mkdir()
    Path("circle").symlink_to("circle")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def run_command(*words: str) -> tuple[int, str]:
        code = main(words)
        return code, capsys.readouterr().err

    return run_command


def names() -> list[str]:
    return sorted(file.name for file in Path().iterdir())


def writing(name: str, out: str) -> list[str]:
    return [out if word == "OUT" else word for word in WRITERS[name]]


@pytest.mark.parametrize("out", OUTPUTS)
@pytest.mark.parametrize("name", WRITERS)
def test_an_output_without_a_place_is_refused_first(call: Call, name: str, out: str) -> None:
    code, message = OUTPUTS[out]
    if out == "" and name.endswith(" report"):
        message = "--report-json has an empty value; give it a value, or omit --report-json"
    assert call(*writing(name, out)) == (code, f"pull-logs: error: {message}\n")
    assert names() == ["circle", "folder"]


@pytest.mark.parametrize("out", FOLDERS)
@pytest.mark.parametrize("name", [name for name in WRITERS if name != "export"])
def test_a_folder_is_refused_first(call: Call, name: str, out: str) -> None:
    assert call(*writing(name, out)) == (2, f"pull-logs: error: {FOLDERS[out]}\n")
    assert names() == ["circle", "folder"]


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_cannot_be_written_is_refused_first(
    call: Call, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def denied(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", denied)
    code, err = call(*writing(name, "out.zip"))
    shown = "new.zip" if name == "fetch report" else "out.zip"
    why = f"{shown!r} cannot be written: Permission denied"
    assert (code, err) == (8, f"pull-logs: error: {why}; check the permissions, or choose another path\n")


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_of_another_kind_is_refused_first(call: Call, name: str) -> None:
    Path("thesis.pdf").write_bytes(b"%PDF-1.7")
    kind = "a report" if name.endswith("report") else "a readable bundle"
    kind = {"export": "an export", "plot": "a picture of `plot`"}.get(name, kind)
    hint = "pass --force to replace it, or name another file"
    if name == "export":
        hint = "name a folder that does not exist"
    assert call(*writing(name, "thesis.pdf")) == (
        2,
        f"pull-logs: error: 'thesis.pdf' exists and is not {kind}; {hint}\n",
    )
    assert Path("thesis.pdf").read_bytes() == b"%PDF-1.7"


OTHERS = {
    "fetch": ("fetch", "-p", "acme/nano"),
    "sync": ("sync", "-p", "acme/nano"),
    "refresh": ("refresh", "in.zip"),
    "import": ("import", "wandb"),
    "merge": ("merge", "in.zip"),
    "subset": ("subset", "in.zip"),
    "audit": ("audit", "in.zip", "--redact"),
    "demo": ("demo",),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_bundle_of_another_selection_is_kept(
    call: Call, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    make_bundle(Path("in.zip"), [bundle_run("acme/nano/a", host="127.0.0.1:9")])
    make_bundle(Path("theirs.zip"), [bundle_run("acme/other/x"), bundle_run("acme/nano/a")])
    log = "fixtures/digits/wandb/offline-run-20261123_104144-cnn1e1s0"
    shutil.copytree(ROOT / log, Path("wandb") / Path(log).name)
    if name == "demo":
        monkeypatch.delenv("WANDB_BASE_URL")
    before = Path("theirs.zip").read_bytes()
    code, err = call(*OTHERS[name], "-o", "theirs.zip")
    lost = {"import": "2 runs", "demo": "2 runs"}.get(name, "1 run")
    assert code == 2
    assert f"'theirs.zip' is a bundle of another selection: it has {lost} that would be lost: " in err
    assert err.endswith("; pass --force to replace it, or name another file\n")
    assert Path("theirs.zip").read_bytes() == before
    assert not [name for name in names() if name.startswith(".") or name.endswith(".partial")]


@pytest.mark.parametrize("name", ["import", "merge", "subset", "audit"])
def test_the_same_command_twice_needs_no_force_and_follows_links(call: Call, name: str) -> None:
    make_bundle(Path("in.zip"), [bundle_run("acme/nano/a")])
    log = "fixtures/digits/wandb/offline-run-20261123_104144-cnn1e1s0"
    shutil.copytree(ROOT / log, Path("wandb") / Path(log).name)
    Path("link.zip").symlink_to("folder/real.zip")
    words = [*OTHERS[name], "-o", "link.zip"]
    assert call(*words)[0] == 0
    first = Path("folder/real.zip").read_bytes()
    assert call(*words)[0] == 0
    assert Path("folder/real.zip").read_bytes() == first
    assert Path("link.zip").is_symlink()


@pytest.mark.parametrize("name", ["import", "merge", "subset", "audit"])
def test_force_replaces_a_bundle_of_another_selection(call: Call, name: str) -> None:
    make_bundle(Path("in.zip"), [bundle_run("acme/nano/a")])
    make_bundle(Path("theirs.zip"), [bundle_run("acme/other/x")])
    log = "fixtures/digits/wandb/offline-run-20261123_104144-cnn1e1s0"
    shutil.copytree(ROOT / log, Path("wandb") / Path(log).name)
    code, err = call(*OTHERS[name], "-o", "theirs.zip", "--force")
    assert code == 0, err
    with open_bundle("theirs.zip") as bundle:
        assert "acme/other/x" not in bundle
