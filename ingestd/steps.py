"""Named moments on the trip of a message, at which a test has the process killed, as a power cut would end it.

`INGESTD_FAIL_AT=NAME` kills it when it first comes to that moment, `NAME:3` the third time. Nobody else is disturbed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import cache

STEPS = {
    "checkpoint": "before what is remembered of a mailbox is saved",
    "searched": "the server said what there is, and nothing of that is saved",
    "literal": "a piece of a message has come, perhaps the last one",
    "spooled": "a message has come as a whole",
    "parsed": "a batch is parsed",
    "chunks": "some chunks of blobs are written, whose files are not whole yet",
    "blobs": "the blobs of a batch are written",
    "originals": "and its originals",
    "messages": "and its messages",
    "placements": "and its placements: it is stored, and nobody was told",
    "renewed": "what lies where another message was known to lie is recorded there, and not sealed",
    "sealed": "a batch is sealed",
    "postponed": "failed attempts are written, the last of which put a message into quarantine",
    "told": "the server marked what is stored, and that is not recorded",
    "removing": "it is recorded that the server is about to be told to remove messages",
    "marked": "the server was told so, in part or as a whole",
    "removed": "the server has removed messages, and that is neither sealed nor recorded",
    "attested": "it is sealed, and not recorded",
    "named": "the blobs of messages that were parsed again are named",
}


def step(name: str) -> None:
    """Come to the moment *name*, one of `STEPS`."""
    fatal, left = _fatal()
    if name == fatal and not next(left):
        os.kill(os.getpid(), signal.SIGKILL)


@cache
def _fatal() -> tuple[str, Iterator[int]]:
    """The moment to die at, and how often it may be come to before that."""
    name, _, time = os.environ.get("INGESTD_FAIL_AT", "").partition(":")
    return name, iter(range(int(time or 1) - 1, -1, -1))
