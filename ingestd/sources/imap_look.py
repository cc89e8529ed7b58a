"""What a mailbox says about its messages without giving them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import Protocol, TypeVar

from ..errors import Unavailable
from ..message import Metadata
from ..uidset import UIDSet
from .imap_answers import Answer, SentAway, metadata, refusal
from .imap_session import Session
from .server import Server
from .wire import Broken

LOOKED_AT = 500  # messages asked about at once
FLAGGED_AT = 10_000  # messages whose flags are asked for at once
TRUST = 15  # broken connections until we give up; one message that breaks them takes nine of 500 to be found

T = TypeVar("T")


class Connection(Protocol):
    """Where the mailbox is open."""

    @property
    def what(self) -> str:
        """The mailbox, as errors name it."""

    @property
    def server(self) -> Server:
        """Where that is."""

    def session(self) -> Session:
        """The session with the mailbox open, a fresh one after `drop`; raise Unavailable or Refused."""

    def drop(self) -> None:
        """Close the connection at once."""


Tell = Callable[[Connection, UIDSet], dict[int, T]]


def items(capabilities: Collection[str]) -> bytes:
    """What to ask for, in the words of FETCH."""
    gmail, objects = "X-GM-EXT-1" in capabilities, "OBJECTID" in capabilities
    identity = [b"X-GM-MSGID"] if gmail else [b"EMAILID"] if objects else []
    return b" ".join([b"UID FLAGS INTERNALDATE RFC822.SIZE", *_labels(capabilities), *identity])


def _labels(capabilities: Collection[str]) -> list[bytes]:
    return [b"X-GM-LABELS"] if "X-GM-EXT-1" in capabilities else []


def look(connection: Connection, uids: UIDSet) -> dict[int, Metadata]:
    """Return what is said about each of *uids*; those that the server says nothing about are left out."""
    session, found = connection.session(), dict[int, Metadata]()
    for chunk in uids.chunks(LOOKED_AT):
        answer = session.ask(b"UID FETCH %s (%s)" % (str(chunk).encode(), items(session.capabilities)))
        found |= _told(connection, answer, chunk)
    return found


def flags(connection: Connection, uids: UIDSet, since: int | None) -> dict[int, Metadata]:
    """Return flags and labels of *uids*: of all, or of those that changed after *since*, a MODSEQ."""
    session = connection.session()
    wanted = [b"FLAGS", *_labels(session.capabilities)]
    if since:
        every = b"%d:%d" % (uids.ranges[0][0], uids.highest)  # a short command, and what did not change is not told
        answer = session.ask(b"UID FETCH %s (UID %s) (CHANGEDSINCE %d)" % (every, b" ".join(wanted), since))
        if answer.status == "OK":  # some servers offer it and do not know it
            return metadata(answer, uids, *wanted)
    found: dict[int, Metadata] = {}
    for chunk in uids.chunks(FLAGGED_AT):
        answer = session.ask(b"UID FETCH %s (UID %s)" % (str(chunk).encode(), b" ".join(wanted)))
        found |= _told(connection, answer, chunk, *wanted)
    return found


def _told(connection: Connection, answer: Answer, uids: UIDSet, *needed: bytes) -> dict[int, Metadata]:
    if answer.status != "OK" and answer.busy:
        raise refusal(f"{connection.what}: look", connection.server.host, answer, "try again later")
    # A NO may tell something all the same: some servers say it when they cannot tell about one of many.
    return metadata(answer, uids, *needed)


def told(connection: Connection, uids: UIDSet, tell: Tell[T], count: int = LOOKED_AT) -> dict[int, T]:
    """Return what *tell* finds out about *uids*, part by part; one that breaks the connection is left out.

    Raises Unavailable when the connection breaks again and again.
    """
    found: dict[int, T] = {}
    parts, broken = deque(uids.chunks(count, length=22 * count)), 0
    while parts:
        part = parts.popleft()
        try:
            found |= tell(connection, part)
        except SentAway:
            raise
        except Broken as error:
            connection.drop()
            broken += 1
            if broken > TRUST:
                what = f"{connection.what}: too many broken connections"
                raise Unavailable(f"{what}, the last one because {error}") from error
            if len(part) > 1:
                half = part.first(len(part) // 2)
                parts.extendleft((part - half, half))
    return found
