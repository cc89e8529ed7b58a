"""One letter over two protocols: what must come out the same, and what must not."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from ingestd.mime.canonical import HEAD, canonical
from ingestd.raw import InMemory, OnDisk

PLAIN = b"Subject: x\r\nTo: a@example.org\r\n\r\nhello\r\n"


def digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def of(content: bytes) -> str:
    return canonical(InMemory(content)) or digest(content)


def test_a_usual_letter_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "letter").write_bytes(PLAIN)

    assert canonical(InMemory(PLAIN)) is None
    assert canonical(OnDisk(tmp_path / "letter", len(PLAIN)).open().__enter__()) is None


@pytest.mark.parametrize(
    ("imap", "pop3"),
    [
        (PLAIN.replace(b"ll", b"\x80\x80"), PLAIN.replace(b"ll", b"\x00\x00")),
        (PLAIN[:-2], PLAIN),
        (PLAIN[:-1] + b"\n" + b"x", PLAIN[:-1] + b"\n" + b"x\r\n"),
        (PLAIN, b"Status: RO\r\n" + PLAIN),
        (PLAIN, PLAIN.replace(b"To:", b"X-UIDL: 4711\r\n 4712\r\nX-Status: \r\nTo:")),
        (PLAIN[:-2].replace(b"ll", b"\x80"), b"status : O\r\n" + PLAIN.replace(b"ll", b"\x00")),
        (b"", b"\r\n"),
        (b"Subject: no body\r\n", b"Subject: no body\r\nStatus: O\r\n"),
    ],
)
def test_what_protocols_make_of_a_letter_is_one(imap: bytes, pop3: bytes) -> None:
    assert imap != pop3
    assert of(imap) == of(pop3)


@pytest.mark.parametrize(
    "other",
    [
        PLAIN.replace(b"hello", b"Status: RO\r\nhello"),  # in the body
        PLAIN.replace(b"To:", b"Status-Code: 5\r\nTo:"),
        PLAIN.replace(b"To:", b" Status: folded\r\nTo:"),
        PLAIN + b"\r\n",
        PLAIN.replace(b"hello", b"hallo"),
    ],
)
def test_another_letter_stays_another(other: bytes) -> None:
    assert of(other) != of(PLAIN)


def test_a_header_without_end_is_looked_at_as_far_as_it_is_bounded() -> None:
    endless = b"X: y\r\n" * HEAD

    assert canonical(InMemory(endless)) is None
    assert of(b"Status: O\r\n" + endless) == of(endless)
