"""The hard messages, as a person would read them."""

from __future__ import annotations

import pytest

from tests.mime import expectations


def test_every_hard_message_has_an_expectation() -> None:
    assert sorted(path.stem for path in expectations.MAIL.glob("*.eml")) == expectations.NAMES


@pytest.mark.parametrize("name", expectations.NAMES)
def test_a_hard_message_is_read_as_a_person_would(name: str) -> None:
    assert expectations.unmet(name) == []


def test_the_documentation_shows_the_table_of_today() -> None:
    shown = expectations.DOCUMENT.read_text(encoding="utf-8")

    assert shown == expectations.document(), "run: python -m tests.mime.expectations"
