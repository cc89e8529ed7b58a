"""The hard messages that come with the project, and those of Python's own test suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingestd.mime.parse import parse
from ingestd.raw import InMemory, OnDisk
from tests.mime.rebuild import check

MAIL = Path(__file__).parents[2] / "ingestd" / "demo" / "mail"


@pytest.mark.parametrize("path", sorted(MAIL.glob("*.eml")), ids=lambda path: path.stem)
def test_a_hard_message_is_understood_the_same_in_memory_and_on_disk_and_rebuilt_exactly(path: Path) -> None:
    raw = InMemory(path.read_bytes())

    message = parse(raw)

    assert message.parse.status in ("ok", "partial")
    check(raw, message)
    with OnDisk(path, raw.size_bytes).open() as opened:
        assert parse(opened) == message
