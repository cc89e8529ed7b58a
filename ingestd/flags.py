"""How the flags and labels of what is known follow those on the server.

A mailbox that counts its changes (CONDSTORE, RFC 7162) tells which flags changed since the last time; any other is
asked for all of them now and then. Either goes in rounds over all that is known, of which a pass does the newest part.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from .message import Metadata, Numbers
from .store.ledger import Ledger
from .store.memory import Followed
from .uidset import UIDSet

FOLLOWED = 50_000  # messages in one pass
EVERY = timedelta(hours=1)  # where changes are not counted

log = structlog.get_logger(__name__)


class Flagged(Protocol):
    """A mailbox whose messages have flags."""

    @property
    def name(self) -> str: ...

    @property
    def numbers(self) -> Numbers:
        """What it said about itself when it was opened."""

    def flags(self, uids: UIDSet, since: int | None) -> dict[int, Metadata]:
        """Return flags and labels of those of *uids* that changed after *since*, a MODSEQ; without it, of all."""


def follow(mailbox: Flagged, ledger: Ledger) -> None:
    """Record the flags and labels that changed on the server, as many as one pass may."""
    memory, now = ledger.memory, datetime.now(UTC)
    if memory.first_sight:  # what is known came with its flags a moment ago
        ledger.followed(Followed(mailbox.numbers.modseq, at=now))
        return
    followed = begun(memory.followed, mailbox.numbers.modseq, memory.expected, now)
    if part := followed.left.last(FOLLOWED):
        changed = ledger.follow(mailbox.flags(part, followed.since))
        log.debug("flags followed", mailbox=f"{memory.epoch.account}/{mailbox.name}", changed=changed)
        ledger.followed(advanced(followed, part))


def begun(followed: Followed, modseq: int | None, known: UIDSet, now: datetime) -> Followed:
    """Begin a round over all *known*, unless one is under way or nothing can have changed."""
    if followed.left:
        return followed
    if modseq and followed.modseq:
        due = modseq != followed.modseq
    else:
        due = followed.at is None or not timedelta() <= now - followed.at < EVERY
    return replace(followed, left=known, target=modseq, at=now) if due else followed


def advanced(followed: Followed, done: UIDSet) -> Followed:
    """The round after *done*; at its end, flags are what they were at its beginning or later."""
    left = followed.left - done
    return replace(followed, left=left) if left else Followed(followed.target, at=followed.at)
