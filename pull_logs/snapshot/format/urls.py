"""URLs of bundles: how they differ from paths, and the part of them that may be shown."""

from __future__ import annotations

import re

_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*::)*[a-z][a-z0-9+.-]+://")


def is_url(text: str) -> bool:
    """Return whether a bundle is given by a URL rather than by a path."""
    return _URL.match(text) is not None


def shown_url(url: str) -> str:
    """Return a URL without the parts that may grant access: user, password, query and fragment."""
    scheme, _, rest = re.split(r"[?#]", url, maxsplit=1)[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
