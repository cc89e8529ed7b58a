"""What a mailbox says about its messages without giving them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import Protocol, TypeVar

from ..errors import Unavailable
from ..message import Metadata
from ..uidset import UIDSet
from .imap_answers import metadata, refusal
from .imap_session import Session
from .wire import Broken

LOOKED_AT = 500  # messages asked about at once
TRUST = 15  # broken connections until we give up; one message that breaks them takes nine of 500 to be found

T = TypeVar("T")


class Connection(Protocol):
    """Where the mailbox is open."""

    @property
    def what(self) -> str:
        """The mailbox, as errors name it."""

    def session(self) -> Session:
        """The session with the mailbox open, a fresh one after `drop`; raise Unavailable or Refused."""

    def drop(self) -> None:
        """Close the connection at once."""


Tell = Callable[[Connection, UIDSet], dict[int, T]]


def items(capabilities: Collection[str]) -> bytes:
    """What to ask for, in the words of FETCH."""
    labels = b" X-GM-LABELS" if "X-GM-EXT-1" in capabilities else b""
    return b"UID FLAGS INTERNALDATE RFC822.SIZE" + labels


def look(connection: Connection, uids: UIDSet) -> dict[int, Metadata]:
    """Return what is said about each of *uids*; those that the server says nothing about are left out."""
    session = connection.session()
    answer = session.ask(b"UID FETCH %s (%s)" % (str(uids).encode(), items(session.capabilities)))
    if answer.status != "OK" and answer.busy:
        raise refusal(f"{connection.what}: look", session.server.host, answer, "try again later")
    return metadata(answer, uids)  # also of a NO, which some servers say when they cannot tell about one of many


def told(connection: Connection, uids: UIDSet, tell: Tell[T]) -> dict[int, T]:
    """Return what *tell* finds out about *uids*, part by part; one that breaks the connection is left out.

    Raises Unavailable when the connection breaks again and again.
    """
    found: dict[int, T] = {}
    parts, broken = deque(uids.chunks(LOOKED_AT)), 0
    while parts:
        part = parts.popleft()
        try:
            found |= tell(connection, part)
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
