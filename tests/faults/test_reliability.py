"""docs/reliability.md names tests that are there, and all that make something fail."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
DOCUMENT = TESTS.parent / "docs" / "reliability.md"
OF_TOOLS = {"test_proxy.py", "test_reliability.py"}  # these prove nothing about ingestd


def named() -> set[str]:
    """The tests that the page names, such as "faults/test_kills.py::test_…"."""
    return set(re.findall(r"`([\w/]+\.py::\w+)`", DOCUMENT.read_text(encoding="utf-8")))


def defined(path: Path) -> Iterator[str]:
    """The tests of a module, under the names that pytest gives them."""
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.FunctionDef) and statement.name.startswith("test_"):
            yield f"{path.relative_to(TESTS)}::{statement.name}"
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            yield f"{path.relative_to(TESTS)}::{statement.targets[0].id}"


def test_every_test_that_the_page_names_is_there() -> None:
    there = {test for path in TESTS.rglob("test_*.py") for test in defined(path)}

    assert len(named()) > 50
    assert named() - there == set()


def test_the_page_names_every_test_in_which_something_fails() -> None:
    modules = [path for path in (TESTS / "faults").glob("test_*.py") if path.name not in OF_TOOLS]
    tests = {test for path in modules for test in defined(path) if "::test_" in test}

    assert tests - named() == set()
