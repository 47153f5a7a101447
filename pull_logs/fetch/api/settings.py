"""The address of the API, the credentials and the defaults: those that the SDK would use, found the same way.

The order is that of the SDK (docs/protocol.md, "Authentication"): the environment, then
`./wandb/settings`, then the settings file in W&B's configuration folder, then the
defaults. For the key it is the environment, then netrc, then a settings file. One thing
is stricter here: the settings file of a folder may name any host, so a base URL
from `./wandb/settings` gets no key except one that was stored for that host.
"""

from __future__ import annotations

import netrc
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from pull_logs.errors import SignInError, UsageError
from pull_logs.runs import PageUrl, RunReference
from pull_logs.system_errors import from_system_error

DEFAULT_BASE_URL = "https://api.forge.coreweave.com"
"""The default of the SDK since 0.31; it serves the same runs as `https://api.wandb.ai`."""

DEFAULT_TIMEOUT = 19.0
"""The seconds that an answer may take, as in the SDK's public API."""

_FORGE_HOSTS = {"forge.coreweave.com": "api.wandb.ai", "qa.forge.coreweave.com": "api.qa.wandb.ai"}
_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The address of the API, the credentials and the defaults.

    Attributes:
        base_url: The API's address without a trailing slash; only its origin receives the key.
        api_key: The key; no repr shows it.
        identity_token_file: A file with a JWT to exchange for an access token; used instead of a key.
        key_origin: Where the key was found, for messages.
        no_key_reason: Why a key that was found is not used; empty otherwise.
        no_key_hint: The next step for the user in that case.
        entity: The entity of runs named without one; None for the user's default, which W&B knows.
        project: The project of runs named without one.
        timeout: The seconds that an answer to a query, or the next part of a file, may take.
    """

    base_url: str = DEFAULT_BASE_URL
    api_key: str | None = field(default=None, repr=False)
    identity_token_file: Path | None = None
    key_origin: str = ""
    no_key_reason: str = ""
    no_key_hint: str = ""
    entity: str | None = None
    project: str | None = None
    timeout: float = DEFAULT_TIMEOUT

    @property
    def host(self) -> str:
        """The host that identifies runs of this W&B, for example `api.wandb.ai`, with its port if it has one.

        A Forge address gives the host of the W&B that it serves, so that runs pulled from
        either address are the same runs.
        """
        return _upstream(urlsplit(self.base_url).netloc)

    def require_key(self) -> None:
        """Make sure that there are credentials.

        Raises:
            SignInError: There is neither a key nor an identity token file.
        """
        if self.api_key or self.identity_token_file:
            return
        if self.no_key_reason:
            raise SignInError(self.no_key_reason, hint=self.no_key_hint)
        raise SignInError(
            f"no API key for {self.base_url}", hint="sign in with `wandb login` or set WANDB_API_KEY"
        )

    def check_reference(self, reference: RunReference) -> None:
        """Refuse the URL of a run on a host other than the configured one.

        Raises:
            UsageError: The run is on another host.
        """
        if reference.host is not None:
            self._check_host(reference.host, f"run {str(reference)!r}")

    def check_page(self, page: PageUrl) -> None:
        """Refuse the URL of a page on a host other than the configured one.

        Raises:
            UsageError: The page is on another host.
        """
        self._check_host(page.host, f"{page.kind} {str(page)!r}")

    def is_other_host(self, recorded: str | None) -> bool:
        """Return whether a run that was downloaded from a host is certainly not one of this W&B.

        Servers on this machine count as one: their ports change from start to start.

        Args:
            recorded: The `host` of the run; None if it was imported.
        """
        if recorded is None or _site(recorded) == _site(self.host):
            return False
        return not (_is_local(recorded) and _is_local(self.host))

    def _check_host(self, host: str, what: str) -> None:
        if _site(host) == _site(urlsplit(self.base_url).netloc):
            return
        raise UsageError(
            f"{what} is on {host!r}, and {urlsplit(self.base_url).netloc!r} is configured",
            hint="set WANDB_BASE_URL to the API of that host, and sign in there",
        )


def _upstream(netloc: str) -> str:
    for forge, api in _FORGE_HOSTS.items():
        if netloc in (forge, f"api.{forge}"):
            return api
    return netloc


def _is_local(netloc: str) -> bool:
    """Return whether a host, with or without its port, is this machine."""
    try:
        host = urlsplit(f"//{netloc}").hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _site(netloc: str) -> str:
    """Return what the hosts of API and web pages share: `api.wandb.ai` and `wandb.ai` are one site."""
    host = _upstream(netloc.lower())
    for prefix in ("api.", "app.", "www."):
        host = host.removeprefix(prefix)
    return host


def normal_base_url(url: str, *, origin: str) -> str:
    """Return the address in its normal spelling.

    Args:
        url: The address that the user wrote.
        origin: Where it was written, for the error.

    Raises:
        UsageError: The address is not an http(s) address, holds a password, or has no API.
    """
    try:
        parts = urlsplit(url.strip())
        _ = parts.port  # raises where it is not a number
    except ValueError:
        parts = urlsplit("")
    host = (parts.hostname or "").lower()
    fault = hint = ""
    if parts.scheme not in ("http", "https") or not host:
        fault, hint = "is not an http(s) address", f"the default is {DEFAULT_BASE_URL}"
    elif "@" in parts.netloc or parts.query or parts.fragment:
        url, fault = f"{parts.scheme}://{host}", "must be an address without user, query and fragment"
        hint = "put the key into WANDB_API_KEY"
    elif host in _FORGE_HOSTS:
        if parts.path.rstrip("/") == "/api/wandb" and parts.scheme == "https":
            return f"https://api.{host}"
        fault, hint = "has no API", f"write https://api.{host}"
    elif (host == "wandb.ai" or host.endswith(".wandb.ai")) and not host.startswith("api."):
        fault, hint = "is W&B's web site, not its API", "write https://api.wandb.ai"
    elif host.endswith("api.wandb.ai") and parts.scheme != "https":
        fault, hint = "is not secure", f"write https://{host}"
    if fault:
        raise UsageError(f"base URL {url!r} from {origin} {fault}", hint=hint)
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


@dataclass(frozen=True, slots=True)
class _Layer:
    origin: str
    values: Mapping[str, str]

    def get(self, name: str) -> str | None:
        return self.values.get(name, "").strip() or None


def load_settings(
    *, environ: Mapping[str, str] | None = None, cwd: Path | None = None, home: Path | None = None
) -> Settings:
    """Find the settings as the SDK finds them, without a request to a server.

    Args:
        environ: The environment; that of the process if None.
        cwd: The folder with `wandb/settings`; the current one if None.
        home: The home folder; that of the user if None.

    Raises:
        UsageError: A setting is malformed, or two settings exclude each other.
    """
    environ = os.environ if environ is None else environ
    cwd = Path.cwd() if cwd is None else cwd
    if home is None:
        home = _home(environ)
    config_dir = Path(environ.get("WANDB_CONFIG_DIR") or home / ".config" / "wandb")
    local = _read_layer(cwd / (".wandb" if (cwd / ".wandb").exists() else "wandb") / "settings")
    layers = (_environment_layer(environ), local, _read_layer(config_dir / "settings"))
    base_url, origin = _find_base_url(layers)
    trusted = _find_base_url((layers[0], layers[2]))[0]
    if origin == local.origin and _site(urlsplit(base_url).netloc) != _site(urlsplit(trusted).netloc):
        found = _key_made_for_host(base_url, layers, environ, home, origin=origin)
    else:
        found = _find_key(base_url, layers, environ, home)
    found = _checked(found)
    return Settings(
        base_url=base_url,
        api_key=found.key,
        identity_token_file=found.token_file,
        key_origin=found.origin,
        no_key_reason=found.refusal,
        no_key_hint=found.hint,
        entity=_first(layers, "entity"),
        project=_first(layers, "project"),
        timeout=_timeout(environ),
    )


def _environment_layer(environ: Mapping[str, str]) -> _Layer:
    names = {"base_url": "WANDB_BASE_URL", "entity": "WANDB_ENTITY", "project": "WANDB_PROJECT"}
    return _Layer(
        "the environment",
        {name: environ[variable] for name, variable in names.items() if variable in environ},
    )


def _home(environ: Mapping[str, str]) -> Path:
    """Return the home folder; the null device, in which there is nothing, for a user without one."""
    try:
        return Path(environ.get("HOME") or Path.home())
    except RuntimeError:
        return Path(os.devnull)


def _read_layer(path: Path) -> _Layer:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return _Layer(str(path), {})
    except OSError as exc:
        raise from_system_error(exc, path=path, action="read") from exc
    except UnicodeDecodeError as exc:
        raise UsageError(f"settings file {str(path)!r} cannot be read: {exc}") from exc
    import configparser  # most users have no settings file

    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except configparser.Error as exc:
        raise UsageError(
            f"settings file {str(path)!r} is not in INI form", hint="correct it, or delete it"
        ) from exc
    return _Layer(str(path), dict(parser["default"]) if parser.has_section("default") else {})


def _first(layers: tuple[_Layer, ...], name: str) -> str | None:
    return next((value for layer in layers if (value := layer.get(name))), None)


def _find_base_url(layers: tuple[_Layer, ...]) -> tuple[str, str]:
    for layer in layers:
        url = layer.get("base_url")
        if url:
            origin = "WANDB_BASE_URL" if layer is layers[0] else layer.origin
            return normal_base_url(url, origin=origin), layer.origin
    return DEFAULT_BASE_URL, "the default"


def _timeout(environ: Mapping[str, str]) -> float:
    text = environ.get("WANDB_HTTP_TIMEOUT", "").strip()
    if not text:
        return DEFAULT_TIMEOUT
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 86_400:
        raise UsageError(f"WANDB_HTTP_TIMEOUT is {text!r}, not a number of seconds", hint="the default is 19")
    return seconds


@dataclass(frozen=True, slots=True)
class _Key:
    key: str | None = field(default=None, repr=False)
    origin: str = ""
    token_file: Path | None = None
    refusal: str = ""
    hint: str = ""


def _find_key(base_url: str, layers: tuple[_Layer, ...], environ: Mapping[str, str], home: Path) -> _Key:
    key = environ.get("WANDB_API_KEY", "").strip()
    token_file = environ.get("WANDB_IDENTITY_TOKEN_FILE", "").strip()
    if key and token_file:
        raise UsageError("both WANDB_API_KEY and WANDB_IDENTITY_TOKEN_FILE are set", hint="unset one of them")
    if key:
        return _Key(key, "WANDB_API_KEY")
    if token_file:
        return _Key(origin="WANDB_IDENTITY_TOKEN_FILE", token_file=_expanded(token_file))
    return _from_netrc(base_url, environ, home) or _from_settings_file(base_url, layers) or _Key()


def _key_made_for_host(
    base_url: str, layers: tuple[_Layer, ...], environ: Mapping[str, str], home: Path, *, origin: str
) -> _Key:
    """Return the key for a base URL from the settings file of a folder: only one stored for that host."""
    found = _from_netrc(base_url, environ, home) or _from_settings_file(base_url, layers)
    if found is not None:
        return found
    host = urlsplit(base_url).netloc
    return _Key(
        refusal=f"settings file {origin!r} names {host!r}, and no key was stored for that host",
        hint=f"set WANDB_BASE_URL={base_url} if you trust it",
    )


def _expanded(path: str) -> Path:
    """Return a path with the home folder in place of `~`, if there is one."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - that of pathlib raises for an unknown user


def _from_netrc(base_url: str, environ: Mapping[str, str], home: Path) -> _Key | None:
    named = environ.get("NETRC", "").strip()
    candidates = [_expanded(named)] if named else [home / ".netrc", home / "_netrc"]
    path = next((file for file in candidates if file.exists()), candidates[0])
    try:
        entries = netrc.netrc(path)
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        # The SDK ignores a bad netrc file too: other programs share it.
        return None
    netloc = urlsplit(base_url).netloc
    for machine in dict.fromkeys((netloc, _upstream(netloc))):
        # A `default` entry is for any host, and a key must be for this one.
        entry = entries.hosts.get(machine)
        if entry and entry[2]:
            return _Key(entry[2], str(path))
    return None


def _from_settings_file(base_url: str, layers: tuple[_Layer, ...]) -> _Key | None:
    """Return the key of the first settings file that, read with the later ones, gives this base URL."""
    for index, layer in enumerate(layers):
        key = layer.get("api_key")
        if key and _find_base_url(layers[index:])[0] == base_url:
            return _Key(key, layer.origin)
    return None


def _checked(found: _Key) -> _Key:
    """Return the key, or the reason why it is malformed.

    The rule is that of the SDK: at least 40 characters, or a JWT.
    """
    if found.key is None or _JWT.fullmatch(found.key):
        return found
    secret = found.key.partition("-")[2] if "-" in found.key else found.key
    if len(secret) >= 40 and re.fullmatch(r"[\w-]+", secret, re.ASCII):
        return found
    return _Key(
        refusal=f"the API key in {found.origin} is malformed",
        hint="a key has at least 40 letters, digits and underscores; `wandb login` stores one",
    )
