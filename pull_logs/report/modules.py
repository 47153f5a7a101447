"""The page's own code: its modules as one script.

The modules in `page/` are plain ES modules that any tool can read and check. A page that requests nothing
cannot import them, so they are joined in the order of their imports, without their `import` and `export`.
All of them then share one scope; that two have the same name at their top level is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files

ENTRY = "main.js"

_IMPORT = re.compile(r'^import\s[^;]*?from\s+"\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class|let)\b)", re.MULTILINE)
_NAME = re.compile(r"^(?:export )?(?:async )?(?:function\*?|const|let|class)\s+(\w+)", re.MULTILINE)
_BLOCK_COMMENT = re.compile(r"^[ \t]*/\*\*.*?\*/\n", re.MULTILINE | re.DOTALL)


def page_file(name: str) -> str:
    """Return the text of a file of the page."""
    return (files("pull_logs.report") / "page" / name).read_text(encoding="utf-8")


def page_script(sources: Mapping[str, str] | None = None) -> str:
    """Return all modules as one script in strict mode, the entry last.

    Args:
        sources: The modules by their names; those of the page by default.

    Raises:
        ValueError: Two modules have the same name at their top level, or import each other.
    """
    texts = _page_modules() if sources is None else sources
    defined: dict[str, str] = {}
    parts = []
    for name in _in_order(texts):
        for found in _NAME.findall(texts[name]):
            if found in defined:
                raise ValueError(f"{found} is defined in {defined[found]} and in {name}")
            defined[found] = name
        text = _EXPORT.sub("", _IMPORT.sub("", _BLOCK_COMMENT.sub("", texts[name])))
        parts.append(f"// {name}\n{text.strip()}\n")
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"


def _page_modules() -> dict[str, str]:
    folder = files("pull_logs.report") / "page"
    return {
        item.name: item.read_text(encoding="utf-8") for item in folder.iterdir() if item.name.endswith(".js")
    }


def _in_order(texts: Mapping[str, str]) -> Iterator[str]:
    """Iterate over the modules that the entry needs, each after those it imports."""
    finished: dict[str, bool] = {}

    def visit(name: str) -> Iterator[str]:
        if name in finished:
            if not finished[name]:
                raise ValueError(f"{name} imports itself through other modules")
            return
        finished[name] = False
        for imported in _IMPORT.findall(texts[name]):
            yield from visit(imported)
        finished[name] = True
        yield name

    return visit(ENTRY)
