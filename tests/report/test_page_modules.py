"""The page's own code: joined into one script, type-checked, and tested by node's own test runner."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from checkout import ROOT

from pull_logs.report.modules import page_script

PAGE = ROOT / "pull_logs" / "report" / "page"
TESTS = Path(__file__).parent / "js"
NODE_MODULES = "PULL_LOGS_NODE_MODULES"
INSTALLED = os.environ.get(NODE_MODULES)
"""The folder in which `.ci/run` installed typescript and axe-core; tests do not have the variable."""


def test_modules_are_joined_after_what_they_import() -> None:
    script = page_script(
        {
            "main.js": 'import { twice } from "./b.js";\nimport { one } from "./a.js";\ntwice(one);\n',
            "b.js": '/** Doubles. */\nimport { one } from "./a.js";\n\n'
            "export function twice(n) {\n  return n + one;\n}\n",
            "a.js": "/**\n * One.\n */\nexport const one = 1;\n",
            "unused.js": "export const two = 2;\n",
        }
    )
    assert script == (
        '"use strict";\n(() => {\n// a.js\nconst one = 1;\n\n'
        "// b.js\nfunction twice(n) {\n  return n + one;\n}\n\n// main.js\ntwice(one);\n})();\n"
    )


def test_a_name_that_two_modules_define_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^one is defined in a\.js and in main\.js$"):
        page_script(
            {"main.js": 'import { one } from "./a.js";\nconst one = 2;\n', "a.js": "const one = 1;\n"}
        )


def test_modules_that_import_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^main\.js imports itself through other modules$"):
        page_script(
            {
                "main.js": 'import { a } from "./a.js";\nexport const b = 1;\n',
                "a.js": 'import { b } from "./main.js";\nexport const a = 1;\n',
            }
        )


def test_every_module_is_short_and_used() -> None:
    script = page_script()
    for module in PAGE.glob("*.js"):
        assert len(module.read_text().splitlines()) <= 400
        assert f"// {module.name}\n" in script or module.name == "types.js"


def test_the_page_sets_texts_as_text() -> None:
    script = page_script()
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "fetch(",
    ):
        assert way not in script


def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("there is no node on PATH")
    return found


def test_the_modules_pass_their_own_tests() -> None:
    files = sorted(map(str, TESTS.glob("*.test.mjs")))
    done = subprocess.run([node(), "--test", *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_modules_are_type_checked() -> None:
    folder = INSTALLED
    if folder is None:
        pytest.skip(f"{NODE_MODULES} does not name a folder with typescript")
    compiler = Path(folder) / "typescript" / "bin" / "tsc"
    done = subprocess.run(
        [node(), str(compiler), "-p", str(TESTS / "tsconfig.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
