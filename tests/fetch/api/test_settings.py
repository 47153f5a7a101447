"""Settings are found as the SDK finds them, and no key goes to a host it was not meant for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wandb.sdk.lib.wbauth.validation import check_api_key

from pull_logs.errors import SignInError, UsageError
from pull_logs.fetch.api.settings import DEFAULT_BASE_URL, Settings, load_settings, normal_base_url
from pull_logs.runs import RunReference

KEY = "k" * 40
OTHER = "o" * 40


def find(tmp_path: Path, environ: dict[str, str] | None = None, **files: str) -> Settings:
    """Settings with these files: `local`, `config`, `netrc`."""
    home, cwd = tmp_path / "home", tmp_path / "work"
    places = {
        "local": cwd / "wandb" / "settings",
        "config": home / ".config" / "wandb" / "settings",
        "netrc": home / ".netrc",
    }
    for name, text in files.items():
        places[name].parent.mkdir(parents=True, exist_ok=True)
        places[name].write_text(text)
    return load_settings(environ=environ or {}, cwd=cwd, home=home)


def test_nothing_set_is_the_sdk_default_without_a_key(tmp_path: Path) -> None:
    settings = find(tmp_path)
    assert (settings.base_url, settings.api_key, settings.timeout) == (DEFAULT_BASE_URL, None, 19.0)
    assert settings.host == "api.wandb.ai"
    with pytest.raises(SignInError) as caught:
        settings.require_key()
    assert str(caught.value) == (
        "no API key for https://api.forge.coreweave.com; sign in with `wandb login` or set WANDB_API_KEY"
    )


def test_environment_beats_local_beats_config(tmp_path: Path) -> None:
    files = {
        "local": "[default]\nentity = local\nproject = local\n",
        "config": "[default]\nentity = config\nproject = config\nbase_url = https://wb.corp/\n",
    }
    settings = find(tmp_path, {"WANDB_ENTITY": "env"}, **files)
    assert (settings.entity, settings.project, settings.base_url) == ("env", "local", "https://wb.corp")


@pytest.mark.parametrize("machine", ["api.forge.coreweave.com", "api.wandb.ai"])
def test_netrc_gives_the_key_and_a_forge_host_falls_back_to_wandb(tmp_path: Path, machine: str) -> None:
    settings = find(tmp_path, netrc=f"machine {machine} login user password {KEY}\n")
    assert settings.api_key == KEY
    assert settings.key_origin.endswith(".netrc")


def test_netrc_machines_are_reported_apart_by_port(tmp_path: Path) -> None:
    netrc = f"machine wb.corp login user password {OTHER}\nmachine wb.corp:8080 login user password {KEY}\n"
    assert find(tmp_path, {"WANDB_BASE_URL": "http://wb.corp:8080"}, netrc=netrc).api_key == KEY
    assert find(tmp_path, {"WANDB_BASE_URL": "http://wb.corp:9"}, netrc=netrc).api_key is None


def test_the_netrc_variable_names_another_file(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text(f"machine api.wandb.ai login user password {OTHER}\n")
    netrc = f"machine api.wandb.ai login user password {KEY}\n"
    assert find(tmp_path, {"NETRC": str(other)}, netrc=netrc).api_key == OTHER


def test_a_default_entry_of_netrc_is_no_key_for_wandb(tmp_path: Path) -> None:
    assert find(tmp_path, netrc=f"default login user password {KEY}\n").api_key is None


def test_the_environment_key_goes_before_netrc(tmp_path: Path) -> None:
    netrc = f"machine api.wandb.ai login user password {OTHER}\n"
    settings = find(tmp_path, {"WANDB_API_KEY": KEY}, netrc=netrc)
    assert (settings.api_key, settings.key_origin) == (KEY, "WANDB_API_KEY")


def test_a_key_in_a_settings_file_counts_for_that_files_base_url_alone(tmp_path: Path) -> None:
    config = f"[default]\nbase_url = https://wb.corp\napi_key = {KEY}\n"
    assert find(tmp_path, config=config).api_key == KEY
    assert find(tmp_path, {"WANDB_BASE_URL": "https://other.corp"}, config=config).api_key is None


@pytest.mark.parametrize("environ", [{"WANDB_API_KEY": KEY}, {"WANDB_IDENTITY_TOKEN_FILE": "token"}])
def test_a_folders_own_base_url_gets_no_key_from_the_environment(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    settings = find(tmp_path, environ, local="[default]\nbase_url = https://evil.test\n")
    assert (settings.base_url, settings.api_key, settings.identity_token_file) == (
        "https://evil.test",
        None,
        None,
    )
    with pytest.raises(SignInError) as caught:
        settings.require_key()
    local = str(tmp_path / "work" / "wandb" / "settings")
    assert str(caught.value) == (
        f"settings file {local!r} names 'evil.test', and no key was stored for that host;"
        " set WANDB_BASE_URL=https://evil.test if you trust it"
    )


def test_a_folders_own_base_url_gets_the_key_that_netrc_has_for_it(tmp_path: Path) -> None:
    netrc = f"machine wb.corp login user password {KEY}\nmachine api.wandb.ai login user password {OTHER}\n"
    settings = find(
        tmp_path, {"WANDB_API_KEY": OTHER}, local="[default]\nbase_url = https://wb.corp\n", netrc=netrc
    )
    assert settings.api_key == KEY


def test_reported_by_the_environment_the_folders_base_url_is_trusted(tmp_path: Path) -> None:
    environ = {"WANDB_API_KEY": KEY, "WANDB_BASE_URL": "https://wb.corp"}
    assert find(tmp_path, environ, local="[default]\nbase_url = https://wb.corp\n").api_key == KEY


def test_a_key_and_a_token_file_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        find(tmp_path, {"WANDB_API_KEY": KEY, "WANDB_IDENTITY_TOKEN_FILE": "token"})
    assert str(caught.value) == (
        "both WANDB_API_KEY and WANDB_IDENTITY_TOKEN_FILE are set; unset one of them"
    )


@given(key=st.text("aZ09_-.!", min_size=1, max_size=90))
@example(key="k" * 40)
@example(key="k" * 39)
@example(key="local-" + "k" * 40)
@example(key="header.payload.signature")
def test_a_key_is_accepted_where_the_sdk_accepts_it(key: str) -> None:
    nowhere = Path("/nowhere")
    settings = load_settings(environ={"WANDB_API_KEY": key}, cwd=nowhere, home=nowhere)
    assert settings.api_key == (key if check_api_key(key) is None else None)


def test_a_malformed_key_is_reported_without_showing_it(tmp_path: Path) -> None:
    with pytest.raises(SignInError) as caught:
        find(tmp_path, {"WANDB_API_KEY": "hunter2"}).require_key()
    assert str(caught.value) == (
        "the API key in WANDB_API_KEY is malformed;"
        " a key has at least 40 letters, digits and underscores; `wandb login` stores one"
    )


@pytest.mark.parametrize("key", ["a" * 40, "a" * 86, "local-" + "b" * 40, "wandb_v1_" + "c" * 77, "aa.bb.cc"])
def test_keys_of_every_known_form_are_taken(tmp_path: Path, key: str) -> None:
    assert find(tmp_path, {"WANDB_API_KEY": key}).api_key == key


def test_the_key_shows_in_no_repr(tmp_path: Path) -> None:
    assert KEY not in repr(find(tmp_path, {"WANDB_API_KEY": KEY}))


def test_the_timeout_is_a_number_of_seconds(tmp_path: Path) -> None:
    assert find(tmp_path, {"WANDB_HTTP_TIMEOUT": "60"}).timeout == 60.0
    with pytest.raises(UsageError) as caught:
        find(tmp_path, {"WANDB_HTTP_TIMEOUT": "soon"})
    assert str(caught.value) == "WANDB_HTTP_TIMEOUT is 'soon', not a number of seconds; the default is 19"


def test_a_settings_file_that_is_no_ini_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        find(tmp_path, local="base_url: x\n")
    local = str(tmp_path / "work" / "wandb" / "settings")
    assert str(caught.value) == f"settings file {local!r} is not in INI form; correct it, or delete it"


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("https://api.wandb.ai/", "https://api.wandb.ai"),
        ("https://forge.coreweave.com/api/wandb/", "https://api.forge.coreweave.com"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("https://WB.corp/prefix/", "https://wb.corp/prefix"),
    ],
)
def test_a_base_url_has_one_spelling(url: str, normal: str) -> None:
    assert normal_base_url(url, origin="x") == normal


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("wandb.ai", "base URL 'wandb.ai' from x is not an http(s) address; the default is https://api.forge.coreweave.com"),
        ("https://wandb.ai", "base URL 'https://wandb.ai' from x is W&B's web site, not its API; write https://api.wandb.ai"),
        ("http://api.wandb.ai", "base URL 'http://api.wandb.ai' from x is not secure; write https://api.wandb.ai"),
        ("https://forge.coreweave.com", "base URL 'https://forge.coreweave.com' from x has no API; write https://api.forge.coreweave.com"),
        (
            f"https://api:{KEY}@wb.corp",
            (
                "base URL 'https://wb.corp' from x must be an address without user, query and fragment;"
                " put the key into WANDB_API_KEY"
            ),
        ),
    ],
)  # fmt: skip
def test_a_base_url_that_cannot_be_one_is_refused(url: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        normal_base_url(url, origin="x")
    assert str(caught.value) == message


@pytest.mark.parametrize("base", ["https://api.wandb.ai", "https://api.forge.coreweave.com"])
@pytest.mark.parametrize("host", ["wandb.ai", "api.wandb.ai", "app.wandb.ai", "www.wandb.ai", "WANDB.ai"])
def test_the_pages_and_the_api_of_wandb_are_one_host(base: str, host: str) -> None:
    Settings(base_url=base).check_reference(RunReference.parse(f"https://{host}/acme/nano/runs/r1"))


@pytest.mark.parametrize("base", ["https://api.wandb.ai", "https://api.forge.coreweave.com"])
def test_the_url_that_a_forge_host_shows_for_a_run_names_it(base: str) -> None:
    reference = RunReference.parse("https://forge.coreweave.com/wandb/acme/nano/runs/r1")
    assert str(reference) == "acme/nano/r1"
    Settings(base_url=base).check_reference(reference)


def test_a_run_url_on_another_host_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        Settings(base_url="https://api.wandb.ai").check_reference(
            RunReference.parse("https://wandb.ai.evil.test/acme/nano/runs/r1")
        )
    assert str(caught.value) == (
        "run 'acme/nano/r1' is on 'wandb.ai.evil.test', and 'api.wandb.ai' is configured;"
        " set WANDB_BASE_URL to the API of that host, and sign in there"
    )
