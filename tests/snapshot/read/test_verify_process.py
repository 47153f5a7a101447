"""Several processes find what one finds, and one is enough where the others fail."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from bundlekit import SYSTEM_ROWS, bundle_run, make_bundle, members_of, unzipped

from pull_logs.snapshot import Bundle, verify_bundle
from pull_logs.snapshot.format import MANIFEST, MAX_MANIFEST, open_container, parse_manifest
from pull_logs.snapshot.read import verify, verify_process
from pull_logs.snapshot.read.verify_process import HelperProcess, check_in_processes

RUNS = 150


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = [
        bundle_run(
            f"acme/nano/{number:03}",
            [{"_step": step, "loss": step / (number + 3)} for step in range(5)],
            system=SYSTEM_ROWS if number % 50 == 0 else (),
        )
        for number in range(RUNS)
    ]
    return make_bundle(tmp_path_factory.mktemp("runs") / "a.wandb.zip", runs)


@pytest.fixture(autouse=True)
def _few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_process, "_MANY_MEMBERS", 1)


def processes(number: int) -> verify.Share:
    return partial(check_in_processes, processes=number)


@pytest.fixture
def damaged(path: Path, tmp_path: Path) -> Path:
    """A folder with a damaged page, a damaged footer, and the history of another run."""
    folder = unzipped(path, tmp_path / "folder")
    names = [name for name in members_of(path) if name.endswith("/history.parquet")]
    for name, offset in ((names[3], 20), (names[140], -30)):
        data = bytearray((folder / name).read_bytes())
        data[offset] ^= 0x10
        (folder / name).write_bytes(data)
    (folder / names[70]).write_bytes((folder / names[71]).read_bytes())
    return folder


def test_two_processes_find_what_one_finds(path: Path, damaged: Path) -> None:
    assert verify_bundle(path, share=processes(2)) == verify_bundle(path)
    found = verify_bundle(damaged, share=processes(2))
    assert found == verify_bundle(damaged)
    assert len(found.damages) == 3


@pytest.mark.parametrize("member", ["runs.parquet", "metrics.parquet"])
def test_damage_in_what_this_process_reads_first_is_reported_as_by_one(
    path: Path, tmp_path: Path, member: str
) -> None:
    folder = unzipped(path, tmp_path / "folder")
    data = bytearray((folder / member).read_bytes())
    data[len(data) // 2] ^= 0x10
    (folder / member).write_bytes(data)
    found = verify_bundle(folder, share=processes(2))
    assert found == verify_bundle(folder)
    assert [damage.member for damage in found.damages] == [member]


def test_a_wrong_content_id_is_found_while_others_check_members(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bundle, "content_id", "sha256:0")
    expected = verify.Damage(member="runs.parquet", reason="the content is not that of the content id")
    assert verify_bundle(path, share=processes(2)).damages == (expected,)


def test_another_process_finds_in_each_member_what_this_one_finds(damaged: Path) -> None:
    container = open_container(damaged)
    try:
        data = container.read(MANIFEST, limit=MAX_MANIFEST)
        resources = parse_manifest(data, path=str(damaged), members=container.sizes).members()
        check = verify.MemberCheck(container, resources, deep=True)
        names = list(resources)
        with HelperProcess(check) as helper:
            found = helper.check(names[:100]) | helper.check(names[100:])
        assert list(found) == names
        assert found == {name: check(name) for name in names}
        assert sum(len(one.damages) for one in found.values()) == 3
    finally:
        container.close()


@pytest.mark.parametrize(
    "interpreter", ["/nonexistent/python", pytest.param(None, id="a program that answers something else")]
)
def test_a_process_that_does_not_answer_changes_nothing(
    interpreter: str | None, damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = verify_bundle(damaged)
    if interpreter is None:
        script = tmp_path / "other.py"
        script.write_text("import sys\nfor line in sys.stdin: print('[]', flush=True)\n")
        started = subprocess.Popen
        monkeypatch.setattr(
            "subprocess.Popen", lambda _, **options: started([sys.executable, str(script)], **options)
        )
    else:
        monkeypatch.setattr(sys, "executable", interpreter)
    assert verify_bundle(damaged, share=processes(3)) == expected


def test_a_process_that_finds_another_bundle_at_the_path_answers_nothing(path: Path, tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "b.wandb.zip")
    command = [sys.executable, "-m", "pull_logs.snapshot.read.verify_process", str(other), "sha256:0"]
    done = subprocess.run(command, input='["FORMAT"]\n', capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_module_in_the_current_folder_is_not_run(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pull_logs").mkdir()
    (tmp_path / "pull_logs" / "__init__.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    (tmp_path / "json.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    monkeypatch.chdir(tmp_path)
    assert verify_bundle(path, share=processes(2)).damages == ()
    assert not (tmp_path / "ran").exists()
