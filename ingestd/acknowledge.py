"""Telling the server what is stored: a mark on the message, or its removal from the mailbox.

A message is only removed when all of this holds: it was asked for when the message was stored, and still is; that it is
stored is sealed; read back from the store, just now, it is the same, byte for byte; and what lies on the server is, by
date and size, still what was fetched from there. Then it is written down, the server is told, and when it lists the
message no more, that is sealed too.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from .message import Metadata, Removal
from .store.ledger import Ledger
from .store.maildrop_ledger import MaildropLedger
from .store.removals import Held, removes
from .uidset import UIDSet


class Server(Protocol):
    """One open mailbox that can be told something."""

    def look(self, uids: UIDSet) -> dict[int, Metadata]:
        """Return what the mailbox says about each of *uids*, without those that it says nothing about."""

    def acknowledge(self, uids: UIDSet, action: str) -> None:
        """Mark the messages as *action* says; those that are gone are no error."""

    def remove(self, known: Mapping[int, Metadata], action: str, announce: Callable[[UIDSet], None]) -> Removal:
        """Delete or move, as *action* says, those messages that are still what is *known* of them.

        *announce* is told which, just before; when it raises, nothing was done.
        """


class Proof(Protocol):
    """Where messages ended up."""

    def proven(self, digests: Mapping[str, str]) -> set[str]:
        """Return which messages, by `_id`, can be had back with their SHA-256 in *digests*, byte for byte."""


NONE = UIDSet()
NOTHING = Removal(NONE, NONE, NONE, NONE)


@dataclass(frozen=True, slots=True)
class Told:
    """What came of telling the server to remove messages."""

    action: str
    removed: int = 0
    unproven: int = 0  # left there, since the store does not give back what was stored


def acknowledge(
    mailbox: Server, ledger: Ledger | MaildropLedger, proof: Proof, action: str | None, tried: UIDSet = NONE
) -> Generator[Told, None, UIDSet]:
    """Do *action* on the server to what is stored, as far as it was asked for then and is not done, nor *tried*.

    Returns the UIDs it was done to, or tried.
    """
    if action is None:
        return NONE
    uids = ledger.unacknowledged(action) - tried
    if removes(action):
        uids = ledger.sealed(uids)
        yield from (_remove(mailbox, ledger, proof, held, action) for held in ledger.held(uids, action) if held)
    elif uids:
        mailbox.acknowledge(uids, action)
        ledger.acknowledged(uids)
    return uids


def settle(mailbox: Server, ledger: Ledger | MaildropLedger, present: UIDSet) -> Iterator[Told]:
    """Find out what became of the messages that a pass was removing when it died. *present* are there still."""
    begun = ledger.removals_begun()
    if not begun:
        return
    asked = UIDSet.of(held.uid for held in begun)
    there = (asked & present) | UIDSet.of(mailbox.look(asked))
    ledger.still_there(there)
    for action in sorted({held.action for held in begun}):
        removed = [held for held in begun if held.action == action and held.uid not in there]
        if removed:
            ledger.removed(removed, action, again=True)
            yield Told(action, len(removed))


def _remove(mailbox: Server, ledger: Ledger | MaildropLedger, proof: Proof, held: Sequence[Held], action: str) -> Told:
    proven = proof.proven({each.receipt.message: each.receipt.sha256 for each in held})
    known = {each.uid: each.metadata for each in held if each.receipt.message in proven}
    done = mailbox.remove(known, action, ledger.removing) if known else NOTHING
    ledger.removed([each for each in held if each.uid in done.removed], action)
    ledger.still_there(done.left)
    ledger.missed(done.absent)
    ledger.suspect(done.other)
    return Told(action, len(done.removed), len(held) - len(known))
