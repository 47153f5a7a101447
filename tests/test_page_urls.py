"""URLs of pages of W&B: what they name, and texts that are none."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pull_logs.errors import UsageError
from pull_logs.runs import PageUrl, RunReference

HINT = "such a URL looks like https://wandb.ai/entity/project/runs/run_id"

names = st.text(
    st.characters(codec="ascii", categories=("L", "N"), include_characters="-_."), min_size=1
).filter(lambda name: name not in (".", "..", "wandb", "runs", "sweeps"))


@pytest.mark.parametrize(
    ("url", "kind", "path"),
    [
        ("https://wandb.ai/acme/nano", "project", "acme/nano"),
        ("https://wandb.ai/acme/nano/", "project", "acme/nano"),
        ("https://wandb.ai/acme/nano/workspace?nw=nwuserada", "project", "acme/nano"),
        ("https://wandb.ai/acme/nano/table", "project", "acme/nano"),
        ("https://wandb.ai/acme/nano/runs", "project", "acme/nano"),
        ("https://wandb.ai/acme/nano/sweeps", "project", "acme/nano"),
        ("https://wandb.ai/acme/nano/sweeps/s1", "sweep", "acme/nano/s1"),
        ("https://wandb.ai/acme/nano/sweeps/s1/workspace?x=1", "sweep", "acme/nano/s1"),
        ("https://wandb.ai/acme/nano/runs/r1", "run", "acme/nano/r1"),
        ("https://wandb.ai/acme/nano/runs/r1/overview", "run", "acme/nano/r1"),
        ("https://wandb.ai/wandb/nano/runs/r1", "run", "wandb/nano/r1"),
        ("https://wandb.ai/wandb/nano", "project", "wandb/nano"),
        ("http://wandb.lab:8080/wandb/acme/nano/runs/r1", "run", "acme/nano/r1"),
        ("https://forge.coreweave.com/wandb/acme/nano", "project", "acme/nano"),
        ("https://forge.coreweave.com/wandb/acme/nano/sweeps/s1", "sweep", "acme/nano/s1"),
        ("https://wandb.ai/acme/my%20project", "project", "acme/my project"),
    ],
)
def test_a_url_names_what_its_page_is_about(url: str, kind: str, path: str) -> None:
    page = PageUrl.parse(url)
    assert (page.kind, str(page)) == (kind, path)


@given(entity=names, project=names, run=names, kind=st.sampled_from(["runs", "sweeps"]))
def test_the_parts_of_a_url_come_back(entity: str, project: str, run: str, kind: str) -> None:
    page = PageUrl.parse(f"https://wandb.ai/{entity}/{project}/{kind}/{run}")
    assert (page.entity, page.project, page.name, f"{page.kind}s") == (entity, project, run, kind)
    assert str(PageUrl.parse(f"https://wandb.ai/{entity}/{project}")) == f"{entity}/{project}"


@pytest.mark.parametrize(
    "text",
    [
        "https://[x/acme/nano/runs/r1",
        "https://",
        "https://wandb.ai/acme",
        "ftp://wandb.ai/a/b/runs/c",
        "http://x]/",
    ],
)
def test_a_malformed_url_is_an_error_of_ours(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        RunReference.parse(text)
    assert str(refused.value) == f"{text!r} is not the URL of a run, a sweep or a project; {HINT}"


@given(st.text())
def test_any_text_is_a_reference_or_an_error_of_ours(text: str) -> None:
    for candidate in (text, f"https://{text}", f"http://w/{text}"):
        with suppress(UsageError):
            assert RunReference.parse(candidate).run_id


def test_the_url_of_a_project_is_not_that_of_a_run() -> None:
    with pytest.raises(UsageError) as refused:
        RunReference.parse("https://wandb.ai/acme/nano")
    assert str(refused.value) == (
        "'https://wandb.ai/acme/nano' is the URL of a project, not of a run;"
        " a run's URL looks like https://wandb.ai/entity/project/runs/run_id"
    )
