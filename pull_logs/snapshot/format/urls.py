"""URLs of bundles: how one is told from a path, and what of it may be shown."""

from __future__ import annotations

import re

_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*::)*[a-z][a-z0-9+.-]+://")


def is_url(text: str) -> bool:
    """Whether a bundle is named by a URL, rather than by a path."""
    return _URL.match(text) is not None


def shown_url(url: str) -> str:
    """A URL without what may let somebody in: user, password, query and fragment."""
    scheme, _, rest = re.split(r"[?#]", url, maxsplit=1)[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
