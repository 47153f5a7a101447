"""Find secrets and personal data in a text, by the shape of the text or by the key that it is stored under.

Both kinds of mistakes are costly: what is missed leaks, and needless findings teach people to ignore all of
them. So a shape counts only if its issuer chose it to be recognizable (`hf_...`, `AKIA...`, a PEM block),
or if the key says what the value is (`api_key`, `password`). Forty hexadecimal digits alone are far more
often a git commit than a W&B key, and are not reported; near a mention of W&B they are a key, unless a word
there says that they are a commit, a hash or an id (`wandb.git.commit`).

The text between markers (`[redacted: api-key]`) is searched, never across one, so what was replaced once is
not found again.
"""

from __future__ import annotations

import ipaddress
import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import chain

SECRETS = ("private-key", "api-key", "jwt", "bearer-token", "password", "secret", "signed-url")
"""Kinds of findings that give access to something."""

PERSONAL = ("email", "home-path", "user-name", "host-name", "ip-address")
"""Kinds of findings that identify a person, an account or a machine."""

KINDS = (*SECRETS, *PERSONAL)

MARKER = re.compile(r"\[redacted: (" + "|".join(KINDS) + r")\]")

HINT = (
    r"(?i)@|://|home|users|private key|sk-|hf_|api_org_|akia|asia|gh[pousr]_|github_pat_|glpat-|aiza|ya29"
    r"|gocspx|xox[abeoprs]-|xapp-|slack|npm_|pypi-|[sr]k_live|dapi|eyj|bearer|local-|wandb|pass|pwd|secret"
    r"|token|key|credential|auth|cookie|sas|login|user|host|node|\d\.\d{1,3}\.\d{1,3}\.\d"
    r"|[0-9a-f:]:[0-9a-f:]+:|\[redacted: |w&b|biases|gsk_|r8_|xai-|pplx-|sg\.|do[opr]_v1_|hvs\.|lsv2_"
    r"|nvapi-|pcsk_|lin_api_|tskey-|ntn_|:aa"
)
"""A regular expression (RE2 too) that matches every text and JSON text with a finding or a marker."""

TEXT_HINT = (
    r"(?i)\[redacted: |private key|wandb_v\d_|wandb login |local-[0-9a-f]{40}|sk-[a-z0-9_-]{20}"
    r"|hf_[a-z0-9]{30}|api_org_|a[ks]ia[0-9a-z]{16}|gh[pousr]_[a-z0-9]{36}|github_pat_|glpat-|aiza[\w-]{35}|ya29\.|gocspx-"
    r"|xox[abeoprs]-|xapp-|hooks\.slack|npm_[a-z0-9]{36}|pypi-[\w-]{40}|[sr]k_live_|dapi[0-9a-f]{32}"
    r"|gsk_[a-z0-9]{40}|r8_[a-z0-9]{37}|xai-[a-z0-9]{40}|pplx-[a-z0-9]{40}|SG\.[\w-]{16,}\.|do[opr]_v1_|hvs\."
    r"|lsv2_|nvapi-|pcsk_|lin_api_|tskey-|ntn_[a-z0-9]{40}|\d:AA[\w-]{33}"
    r"|(?:wandb|w&b|biases)[^/\n]{0,96}[0-9a-f]{40}"
    r"|eyj[\w-]{8,}\.eyj|eyjhcGlf|authorization|(?:bearer|password)\W|://[^\s/@]+@|://[^\s?]+\?"
    r"|[\w.%+-]@[a-z0-9.-]+\.[a-z]{2}|[/\\](?:home|users)[/\\]"
    r"|(?:password|passwd|passphrase|pwd|secret|token|key|credentials?|auth|cookie)[\"']?\s*[=:]"
    r"|--[\w.-]*(?:password|passwd|passphrase|pwd|secret|token|key|credentials?|auth|cookie)[\"']?\W"
    r"|\d\.\d{1,3}\.\d{1,3}\.\d|[0-9a-f]::|::[0-9a-f]|(?:[0-9a-f]{1,4}:){7}"
)
"""The same for texts whose key does not describe them. It matches fewer texts; searching one takes 15 us."""

_VENDORS = (
    r"wandb_v\d_[A-Za-z0-9_-]{20,}",
    r"local-[0-9a-f]{40}",
    r"sk-(?:proj|svcacct|admin|ant|or)-[A-Za-z0-9_-]{20,}",
    r"sk-[A-Za-z0-9]{32,}",
    r"hf_[A-Za-z0-9]{30,}",
    r"api_org_[A-Za-z0-9]{30,}",
    r"(?:AKIA|ASIA)[0-9A-Z]{16}",
    r"gh[pousr]_[A-Za-z0-9]{36,}",
    r"github_pat_[A-Za-z0-9_]{30,}",
    r"glpat-[A-Za-z0-9_-]{20,}",
    r"AIza[0-9A-Za-z_-]{35}",
    r"ya29\.[0-9A-Za-z_-]{20,}",
    r"GOCSPX-[0-9A-Za-z_-]{20,}",
    r"xox[abeoprs]-[0-9A-Za-z-]{10,}",
    r"xapp-\d-[0-9A-Za-z-]{10,}",
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-[A-Za-z0-9_-]{40,}",
    r"[sr]k_live_[0-9A-Za-z]{16,}",
    r"dapi[0-9a-f]{32}",
    r"gsk_[A-Za-z0-9]{40,}",  # Groq
    r"r8_[A-Za-z0-9]{37}",  # Replicate
    r"xai-[A-Za-z0-9]{40,}",
    r"pplx-[A-Za-z0-9]{40,}",  # Perplexity
    r"SG\.[\w-]{16,32}\.[\w-]{32,64}",  # SendGrid
    r"do[opr]_v1_[0-9a-f]{64}",  # DigitalOcean
    r"hvs\.[\w-]{24,}",  # Vault
    r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}",  # LangSmith
    r"nvapi-[\w-]{40,}",
    r"pcsk_\w{40,}",  # Pinecone
    r"lin_api_[A-Za-z0-9]{40}",  # Linear
    r"tskey-[a-z]+-[A-Za-z0-9]{8,}-[A-Za-z0-9]{16,}",  # Tailscale
    r"ntn_[A-Za-z0-9]{40,}",  # Notion
    r"\d{8,10}:AA[\w-]{33}",  # Telegram
    r"eyJhcGlfYWRkcmVzcyI6[\w+/=-]{40,}",  # Neptune
)
_VENDOR = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(_VENDORS)})(?![A-Za-z0-9])")
_WEBHOOK = re.compile(r"hooks\.slack\.com/services/([A-Za-z0-9/]{20,})")
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----.*?"
    r"(?:-----END [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}", re.ASCII)
_BEARER = re.compile(
    r"\b(?:bearer|authorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?:basic|token))\s{1,4}([\w.~+/=-]{16,})",
    re.IGNORECASE | re.ASCII,
)
_NETRC = re.compile(r"\blogin\s{1,9}\S{1,99}\s{1,9}password\s{1,9}(\S{4,})")
_LOGIN = re.compile(r"\bwandb login (?:--\S{1,40} )*([0-9a-f]{40})(?![0-9a-f])")
_CLASSIC = r"(?<![A-Za-z0-9])[0-9a-f]{40}(?![A-Za-z0-9])"
_CLASSIC_KEY = re.compile(rf"(?<![@/\\]){_CLASSIC}(?![/\\])")
"""Forty hexadecimal digits, not in a path: a key of W&B as it was before `wandb_v1_...`, or a commit."""

_WANDB = r"(?:wandb|w&b|weights[ _-]?(?:and|&)[ _-]?biases)"
_MENTION = re.compile(_WANDB, re.IGNORECASE)
_NEAR_WANDB = re.compile(
    rf"([\w.&-]{{0,64}}?(?i:{_WANDB})[\w \t\"'=:,(){{}}\[\].-]{{0,64}}?)({_CLASSIC})", re.ASCII
)
_HASHES = re.compile(
    r"(?:^|_)(?:git|commits?|sha|hash|hashes|hexsha|digests?|checksums?|md|rev|revision|tree|branch|ref|refs|etag"
    r"|versions?|blob|head|parent|fingerprint|cache|ids?|uu?id|guid|group|names?|tags?|artifacts?)(?:_|$)"
)
"""Words by which forty hexadecimal digits are something else."""

_INLINE = re.compile(
    r"(?<![\w.-])((?:--)?[\w.-]{0,64}?"
    r"(?:password|passwd|passphrase|pwd|secret|token|key|credentials?|auth|cookie))"
    r"[\"']?(\s{0,4}[=:]\s{0,4}|(?<=\w)\s{1,4})[\"']?([^\s\"'&;,<>\[\](){}]{4,512})",
    re.IGNORECASE | re.ASCII,
)
_USERINFO = re.compile(r"[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"'?#]{0,128}:([^\s/@\"'?#]{1,256})@", re.IGNORECASE)
_USERTOKEN = re.compile(r"[a-z][a-z0-9+.-]{1,20}://([^\s/:@\"'?#]{16,256})@", re.IGNORECASE)
_QUERY = re.compile(r"[a-z][a-z0-9+.-]{1,20}://[^\s\"'<>?]{1,2048}\?([^\s\"'<>]+)", re.IGNORECASE)
_SIGNED = re.compile(
    r"(?:^|[&;])(?:(?:amp;)?X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)=[^&]"
    r"|(?:signature|sig|token|access_token|auth|api_?key|key|secret|password)=[^&]{16})",
    re.IGNORECASE,
)
_EMAIL = re.compile(
    r"(?<![\w.%+-])[\w.%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])", re.ASCII
)
_HOME = re.compile(
    r"(?:(?<![\w./-])|(?<=file://))(?:/[\w.-]{1,64}){0,4}?/(?:home|Users)/([^\s/\\:;,\"'<>|\[\](){}*?$]{1,64})"
    r"|\b[A-Z]:[\\/]{1,2}Users[\\/]{1,2}([^\s/\\:;,\"'<>|\[\](){}*?$%]{1,64})",
    re.IGNORECASE,
)
_IPV4 = re.compile(r"(?<![\w.=-])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\w|-\w)", re.ASCII)
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{6,39}(?![\w:])", re.ASCII)

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PASSWORD_NAME = re.compile(r"(?:^|_)(?:password|passwd|passphrase|passcode)$|_pwd$")
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:secret|token|apikey|credentials?|auth|authorization|bearer|cookie|sas"
    r"|(?:api|access|secret|private|signing|encryption|auth|account|master|shared|service|client|wandb|openai"
    r"|anthropic|hf|huggingface|aws|azure|gcp|google|github|license)_key)$"
)
_VOCABULARY = re.compile(
    r"(?:^|_)(?:pad|eos|bos|unk|sep|cls|mask|special|image|video|audio|stop|start|end|begin|additional|extra"
    r"|tool|think|system|assistant|prompt|class|text|vision|boi|eoi|num|max|min|per|new|next|first|last)_token$"
)
_HOST_NAME = re.compile(r"(?:^|_)(?:hostname|host_name|nodename|node_name|submit_host|nodelist|node_list)$")
_USER_NAME = re.compile(r"(?:^|_)(?:username|user_name|user_login|job_user)$")
_MACHINE_NAMES = {"host": "host-name", "node": "host-name", "user": "user-name", "login": "user-name"}
_VERSION_NAME = re.compile(r"(?:^|_)(?:version|versions|ver|cuda|cudnn|driver|nccl|requirements|packages)$")

_MAX_NEAR = 256
"""Characters of a text that a key of W&B may be a part of, if only the path of the text mentions W&B."""

_PLACEHOLDER = re.compile(
    r"[$<*{%].*|x{3,}|\.{3,}|-+|(?:none|null|nil|true|false|unset|empty|env|hidden|redacted|changeme|n/a|todo"
    r"|your[-_].*|my[-_](?:password|token|secret|key))",
    re.IGNORECASE | re.DOTALL,
)
_SECRET_VALUE = re.compile(r"[\w+/=.:~!@#$%^&*-]{16,4096}", re.ASCII)
_PATH_START = ("/", "./", "../", "~")
_LOCAL_HOSTS = frozenset({"localhost", "localhost.localdomain", "host", "hostname"})
_GENERIC_USER = re.compile(
    r"users?|username|name|me|you|root|admin|ubuntu|debian|centos|runner|runneradmin|jovyan|ec2-user|shared|public"
    r"|default|vscode|coder|ray|docker|app|appuser|conda|mambauser|sagemaker-user|nonroot|nobody",
    re.IGNORECASE,
)
_NO_PERSON = re.compile(r"git|hg|svn|no-?reply", re.IGNORECASE)
_EXAMPLE = re.compile(r"(?:.*\.)?example\.(?:com|org|net)|.*\.(?:example|invalid|test)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a text that is a secret or personal data.

    Attributes:
        start: The offset of its first character.
        end: The offset after its last character.
        kind: One of `KINDS`.
    """

    start: int
    end: int
    kind: str


def marker(kind: str) -> str:
    """Return the marker that replaces a finding of a kind."""
    return f"[redacted: {kind}]"


def key_kind(name: str, *, machine: bool = False) -> str | None:
    """Return the kind of a value by its key: `password`, `secret`, `host-name`, `user-name`, or None.

    Args:
        name: The last key, in any of the usual spellings (`apiKey`, `API_KEY`, `--api-key`).
        machine: Whether the document describes a machine, so that `host` and `user` are names.
    """
    words = _spelled(name)
    if _PASSWORD_NAME.search(words):
        return "password"
    if _SECRET_NAME.search(words) and not _VOCABULARY.search(words):
        return "secret"
    if _HOST_NAME.search(words):
        return "host-name"
    if _USER_NAME.search(words):
        return "user-name"
    return _MACHINE_NAMES.get(words) if machine else None


def holds_wandb_key(name: str) -> bool:
    """Return whether forty hexadecimal digits at a path, or under a key, are a key of W&B.

    Args:
        name: A key, or the keys of a path joined by dots: one mentions W&B, and none after it says otherwise.
    """
    mention = _MENTION.search(name)
    return mention is not None and not _HASHES.search(_spelled(name[mention.end() :]))


def find_spans(
    text: str, *, key: str = "", path: str = "", machine: bool = False, kinds: Collection[str] = KINDS
) -> list[Span]:
    """Return the secrets and personal data in a text, in order and without overlaps.

    Args:
        text: The text.
        key: The key that the text is stored under, or an empty string.
        path: The keys that lead to that key, joined by dots.
        machine: As for `key_kind`.
        kinds: The kinds to look for.
    """
    found: list[Span] = []
    start = 0
    for mark in (*MARKER.finditer(text), None):
        end = len(text) if mark is None else mark.start()
        if end > start:
            segment = text[start:end]
            named = key_kind(key, machine=machine) if key else None
            candidates = chain(
                _secrets(segment, key, named, path=path), _personal(segment, key, after_marker=start > 0)
            )
            wanted = (span for span in candidates if span.kind in kinds)
            found += [
                Span(span.start + start, span.end + start, span.kind) for span in _without_overlaps(wanted)
            ]
        start = end if mark is None else mark.end()
    return found


def redact_text(
    text: str, *, key: str = "", path: str = "", machine: bool = False, kinds: Collection[str] = KINDS
) -> str:
    """Replace everything that `find_spans` finds by markers, until it finds nothing."""
    while spans := find_spans(text, key=key, path=path, machine=machine, kinds=kinds):
        # Each pass replaces characters outside of markers, so their number decreases and the loop ends.
        for span in reversed(spans):
            text = text[: span.start] + marker(span.kind) + text[span.end :]
    return text


def masked(text: str, kind: str) -> str:
    """Return a masked form of a finding: at most a prefix that is public, because its issuer chose it."""
    if kind in SECRETS:
        issued = kind == "api-key" and len(text) >= 16 and not _CLASSIC_KEY.fullmatch(text)
        shown = text[:4] if issued else ""
        return f"{shown}*** ({len(text)} characters)"
    if kind == "email":
        return f"{text[:1]}***@{text.rpartition('@')[2]}"
    return f"{text[:1] if len(text) > 2 else ''}***"


def _without_overlaps(candidates: Iterator[Span]) -> list[Span]:
    """Leave out each candidate that overlaps an earlier one, and sort the others by their start."""
    taken: list[Span] = []
    for span in candidates:
        index = bisect_left(taken, span.start, key=lambda other: other.start)
        free = (index == 0 or taken[index - 1].end <= span.start) and (
            index == len(taken) or span.end <= taken[index].start
        )
        if span.start < span.end and free:
            taken.insert(index, span)
    return taken


def _secrets(text: str, key: str, named: str | None, *, path: str) -> Iterator[Span]:
    """Return the secrets that a rule finds in a text without markers, the most certain first.

    Args:
        text: The text.
        key: The key that the text is stored under.
        named: The kind of the value, by its key.
        path: The keys that lead to the key.
    """
    for rule in _ISSUED:
        yield from _matches(text, rule)
    of_value = Span(0, len(text), named) if named is not None and _NAMED[named](text) else None
    if of_value is not None and named in SECRETS:
        yield of_value
    if len(text) <= _MAX_NEAR and holds_wandb_key(f"{path}.{key}"):
        yield from _matches(text, _OF_WANDB)
    if of_value is not None:
        yield of_value
    for rule in _WRITTEN:
        yield from _matches(text, rule)
    for found in _INLINE.finditer(text):
        kind = _inline_kind(found[1], found[2], found[3])
        if kind is not None:
            yield Span(*found.span(3), kind)
    yield from _matches(text, _BY_WANDB)


def _personal(text: str, key: str, *, after_marker: bool) -> Iterator[Span]:
    """Return the personal data that a rule finds in a text without markers.

    Args:
        text: The text.
        key: The key that the text is stored under.
        after_marker: Whether a marker precedes the text, so that a path at its start is the rest of one.
    """
    yield from _matches(text, _MAILBOX)
    for found in _HOME.finditer(text):
        if not (after_marker and found.start() == 0) and _is_person(found[found.lastindex or 0]):
            yield Span(*found.span(found.lastindex or 0), "home-path")
    if not _VERSION_NAME.search(_spelled(key)):
        for rule in _MACHINES:
            yield from _matches(text, rule)


def _matches(text: str, rule: _Rule) -> Iterator[Span]:
    for found in rule.pattern.finditer(text):
        if rule.accepts(found):
            yield Span(*found.span(found.lastindex or 0), rule.kind)


def _spelled(name: str) -> str:
    """Return a key in lower case, with its words joined by underscores."""
    return "_".join(word.lower() for word in _WORDS.findall(name))


def _inline_kind(name: str, between: str, value: str) -> str | None:
    """Return the kind of the value in `name=value`, `name: value` or `--name value` inside a text."""
    if not between.strip() and not name.startswith("-"):
        return None
    kind = key_kind(name)
    if kind == "password":
        certain = ":" not in between or re.search(r"[^A-Za-z.]", value) is not None
        return kind if certain and _is_password(value) else None
    return kind if kind == "secret" and _is_secret(value) else None


def _varied(found: re.Match[str]) -> bool:
    """Return whether an API key is neither a placeholder (`sk-xxxx...`) nor a word in a long name."""
    value = found[0]
    return len(set(value)) >= 8 and any(char.isdigit() or char.isupper() for char in value)


def _is_wandb_key(found: re.Match[str]) -> bool:
    """Return whether the words before forty hexadecimal digits do not say that they are something else."""
    return not _HASHES.search(_spelled(found[1])) and len(set(found[2])) >= 8


def _is_password(value: str) -> bool:
    return 3 <= len(value) <= 512 and "\n" not in value and not _PLACEHOLDER.fullmatch(value)


def _is_secret(value: str) -> bool:
    """Return whether a value under the name of a secret looks random, and not like the name of something."""
    return (
        _SECRET_VALUE.fullmatch(value) is not None
        and not value.startswith(_PATH_START)
        and "://" not in value
        and not _PLACEHOLDER.fullmatch(value)
        and any(char.isdigit() for char in value)
        and any(char.isalpha() for char in value)
        and _entropy(value) >= 3.0
    )


def _entropy(value: str) -> float:
    """Return the entropy in bits per character, from the frequency of each character."""
    size = len(value)
    return -sum(count / size * math.log2(count / size) for count in Counter(value).values())


def _is_person(value: str) -> bool:
    return (
        any(map(str.isalnum, value))
        and not _GENERIC_USER.fullmatch(value)
        and not _PLACEHOLDER.fullmatch(value)
    )


def _is_host(value: str) -> bool:
    known = value.lower() in _LOCAL_HOSTS or value.startswith("127.") or value in ("0.0.0.0", "::", "::1")  # noqa: S104 - read, not bound
    return (
        not known
        and any(map(str.isalnum, value))
        and not re.search(r"\s", value)
        and not _PLACEHOLDER.fullmatch(value)
    )


def _is_mailbox(found: re.Match[str]) -> bool:
    local, _, domain = found[0].partition("@")
    label = domain.split(".")[-2]
    return (
        any(map(str.isalnum, local))
        and len(label) > 1
        and re.fullmatch(r"v?[\d-]+", label) is None
        and not _NO_PERSON.fullmatch(local)
        and not _EXAMPLE.fullmatch(domain)
    )


def _is_address(found: re.Match[str]) -> bool:
    """Return whether it is the address of a machine, and neither a version nor one that every machine has."""
    text = found[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified or address.is_multicast or text.startswith("255."):
        return False
    if address.version == 6:
        return len([group for group in text.split(":") if group]) >= 3
    octets = [int(part) for part in text.split(".")]
    return octets[0] == 10 or max(octets) >= 100


@dataclass(frozen=True, slots=True)
class _Rule:
    """A kind of finding with a recognizable shape.

    Attributes:
        kind: One of `KINDS`.
        pattern: The shape; its last group is the finding.
        accepts: Returns whether a match is a finding.
    """

    kind: str
    pattern: re.Pattern[str]
    accepts: Callable[[re.Match[str]], bool] = lambda _: True


_NAMED: dict[str, Callable[[str], bool]] = {
    "password": _is_password,
    "secret": _is_secret,
    "host-name": _is_host,
    "user-name": _is_person,
}
_ISSUED = (_Rule("private-key", _PRIVATE_KEY), _Rule("api-key", _VENDOR, _varied), _Rule("jwt", _JWT))
_WRITTEN = (
    _Rule("api-key", _WEBHOOK),
    _Rule("bearer-token", _BEARER, lambda found: _is_secret(found[1])),
    _Rule("password", _NETRC, lambda found: _is_password(found[1])),
    _Rule("api-key", _LOGIN),
    _Rule("password", _USERINFO, lambda found: not _PLACEHOLDER.fullmatch(found[1])),
    _Rule("password", _USERTOKEN, lambda found: _is_secret(found[1])),
    _Rule("signed-url", _QUERY, lambda found: _SIGNED.search(found[1]) is not None),
)
_OF_WANDB = _Rule("api-key", _CLASSIC_KEY, _varied)
_BY_WANDB = _Rule("api-key", _NEAR_WANDB, _is_wandb_key)
_MAILBOX = _Rule("email", _EMAIL, _is_mailbox)
_MACHINES = (_Rule("ip-address", _IPV4, _is_address), _Rule("ip-address", _IPV6, _is_address))
