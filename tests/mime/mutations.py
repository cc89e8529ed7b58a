"""Messages truncated, damaged and spliced at random: as many as wanted, the same ones every time.

`python -m tests.mime.mutations 10000 [FIRST]` checks that many and prints the number of any that fails.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256

import bson

from ingestd.message import Place, RawMessage
from ingestd.mime.parse import parse
from ingestd.raw import InMemory
from ingestd.store import documents
from tests.mime.enclosing import ENCLOSING
from tests.mime.rebuild import check
from tests.mime.test_anything import TOKENS
from tests.mime.test_hard_mail import EVERY

SEED_BYTES = 100_000  # a larger message takes longer and says no more
DOCUMENT_BYTES = 16 << 20  # what MongoDB takes
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@cache
def seeds() -> tuple[bytes, ...]:
    return (*(path.read_bytes() for path in EVERY if path.stat().st_size < SEED_BYTES), *ENCLOSING)


def mutation(number: int) -> bytes:
    """Return the message with this number."""
    chance = random.Random(number)
    mail = chance.choice(seeds())
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        mail = chance.choice(MUTATIONS)(chance, mail)
    return mail


def hold(data: bytes) -> None:
    """Assert what holds for every message: it parses the same twice, is rebuilt exactly, and MongoDB takes it."""
    raw = InMemory(data)
    message = parse(raw)
    assert message.parse.status in ("ok", "partial"), message.parse.defects
    assert parse(raw) == message
    check(raw, message)
    arrived = RawMessage(Place("work", "INBOX", 1, 1, 1), raw, sha256(data).hexdigest(), NOW)
    for document in (documents.message(message, arrived, None, NOW), documents.original(message, arrived, raw)):
        assert len(bson.encode(document)) < DOCUMENT_BYTES


def _cut(chance: random.Random, mail: bytes) -> bytes:
    return mail[: chance.randint(0, len(mail))]


def _cut_in_front(chance: random.Random, mail: bytes) -> bytes:
    return mail[chance.randint(0, len(mail)) :]


def _bytes(chance: random.Random, mail: bytes) -> bytes:
    changed = bytearray(mail)
    for _ in range(chance.randint(1, 30) if mail else 0):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def _words(chance: random.Random, mail: bytes) -> bytes:
    for _ in range(chance.randint(1, 5)):
        at = chance.randint(0, len(mail))
        mail = mail[:at] + chance.choice(TOKENS) + mail[at + chance.choice((0, 0, 1, 10)) :]
    return mail


def _splice(chance: random.Random, mail: bytes) -> bytes:
    other = chance.choice(seeds())
    start = chance.randint(0, len(other))
    return _cut(chance, mail) + other[start : start + chance.randint(0, 5000)] + _cut_in_front(chance, mail)


def _without_lines(chance: random.Random, mail: bytes) -> bytes:
    return b"".join(line for line in mail.splitlines(keepends=True) if chance.random() > 0.05)


def _repeated(chance: random.Random, mail: bytes) -> bytes:
    start = chance.randint(0, len(mail))
    piece = mail[start : start + chance.randint(0, 500)]
    return mail[:start] + piece * chance.randint(2, 20) + mail[start:]


def _other_line_ends(chance: random.Random, mail: bytes) -> bytes:
    return mail.replace(b"\r\n", b"\n").replace(b"\n", chance.choice((b"\n", b"\r\n", b"\r", b"\r\r\n")))


MUTATIONS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _cut,
    _cut,
    _cut_in_front,
    _bytes,
    _words,
    _splice,
    _without_lines,
    _repeated,
    _other_line_ends,
)


def main(count: int, first: int = 0) -> int:
    failed = 0
    for number in range(first, first + count):
        try:
            hold(mutation(number))
        except Exception as error:  # noqa: BLE001 - every one is counted and shown
            failed += 1
            print(f"{number}: {type(error).__name__}: {error}"[:300])
    print(f"{count:,} messages, {failed:,} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:] or ("10000",))))
