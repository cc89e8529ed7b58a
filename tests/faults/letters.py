"""Mail for trials: some of every kind, and one large message."""

from __future__ import annotations

import base64
import itertools
from random import Random

from ingestd.demo.mailbox import Sample, messages
from tests.fakes import NOON

COUNT = 12
LARGE_BYTES = 5 << 20  # more chunks of its blob than go in one command


def mixed(count: int = COUNT) -> list[Sample]:
    """*count* messages of an office, the same each time."""
    return list(itertools.islice(messages(100), count))


def large(size_bytes: int = LARGE_BYTES) -> Sample:
    body = base64.encodebytes(Random(1).randbytes(size_bytes)).replace(b"\n", b"\r\n")
    head = b"Subject: plans\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return Sample(head + body, NOON, ())
