"""The documentation site builds without a warning and loads nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml
from checkout import ROOT

import pull_logs
from pull_logs.cli.main import cli


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site") / "out"
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=100,
    )
    return out


def read(site: Path, page: str) -> str:
    return (site / page / "index.html").read_text()


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    """A link may lead away; a script, a style, a font or a picture may not."""
    foreign = [
        (page.relative_to(site).as_posix(), found)
        for page in site.rglob("*.html")
        for found in re.findall(
            r"<(?:script|img|iframe|source|link rel=\"(?:stylesheet|preconnect|preload|icon)\")[^>]*"
            r"(?:src|href)=\"?((?:https?:)?//[^\"\s>]+)",
            page.read_text(),
        )
    ]
    assert foreign == []
    assert "fonts.g" not in read(site, "tutorial")
    assert "api.github.com" not in read(site, "tutorial")
    assert 'data-md-component="source"' not in read(site, "tutorial"), "it requests numbers of the repository"


def test_every_command_is_in_the_reference(site: Path) -> None:
    page = read(site, "cli")
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        assert f"pull-logs {name}" in re.sub(r"<[^>]+>", "", page)
        for param in command.params:
            if isinstance(param, click.Option):
                assert param.opts[-1] in page


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    page = read(site, "python")
    missing = [
        name
        for name in vars(pull_logs)["__all__"]
        if not name.startswith("_")
        and f'id="pull_logs.{name}"' not in page
        and f'id="pull_logs.errors.{name}"' not in page
    ]
    assert missing == []


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert listed == {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}


def test_the_picture_names_the_packages_and_modules_that_exist() -> None:
    svg = (ROOT / "docs" / "assets" / "architecture.svg").read_text()
    layers = re.findall(r'class="name"[^>]*>([a-z]+)<', svg)
    assert layers == [
        "cli",
        "proof",
        "report",
        "plots",
        "sources",
        "fetch",
        "replay",
        "analyze",
        "snapshot",
        "frames",
        "rows",
    ]
    items = re.findall(r'class="item"[^>]*>(\w+)<', svg)
    for item in items:
        assert list((ROOT / "pull_logs").glob(f"*/{item}")) + list(
            (ROOT / "pull_logs").glob(f"*/{item}.py")
        ), item
    for package in sorted((ROOT / "pull_logs").glob("*/*/__init__.py")):
        assert package.parent.name in items, package


def test_the_site_has_the_settings_that_keep_it_offline() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    assert settings["theme"]["font"] is False
    assert "repo_url" not in settings
