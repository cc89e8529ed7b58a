"""Have a server tell of news by itself: IDLE (RFC 2177), and NOTIFY (RFC 5465) for other mailboxes beside it.

What it tells is a hint that a pass is worth while, and never the truth: a pass looks for itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .imap_answers import head, tagged, untagged
from .imap_session import Session, no_body
from .wire import Broken, Channel

BEGIN_SECONDS = 30.0  # until a server says "+"
GRACE_SECONDS = 10.0  # until it answers DONE; one that does not is dead, whatever its connection looks like

_NEWS = re.compile(rb"\* (?:\d+ (?:EXISTS|EXPUNGE|FETCH)|VANISHED|STATUS)\b", re.I)
_BYE = re.compile(rb"\* BYE\b", re.I)
_STILL_HERE = re.compile(rb"\* [A-Za-z0-9]")


@dataclass(frozen=True, slots=True)
class Idling:
    """A session whose server was told to tell. Until `end` nothing else may be sent."""

    session: Session
    tag: bytes

    @property
    def channel(self) -> Channel:
        return self.session.channel

    def news(self) -> bool:
        """Whether there was any in what has come by now; never waits. Raises `Broken`."""
        found = False
        for line in self.channel.arrived():
            if _BYE.match(line):
                raise Broken("the server ended the session")
            if not _STILL_HERE.match(line):
                raise Broken("the server sent a line that is no IMAP response")
            found = found or is_news(line)
        return found

    def end(self) -> None:
        """Have the session back. Raises `Broken` when the server does not answer within GRACE_SECONDS."""
        self.session.allow(GRACE_SECONDS)
        self.channel.send(b"DONE\r\n")
        while not (answer := tagged(pieces := self.session.receive(no_body), self.tag)):
            untagged(pieces)
        if answer.status != "OK":
            raise Broken(f"the server ended IDLE with {answer.status}")


def begin(session: Session) -> tuple[Idling, bool]:
    """Send IDLE; return once the server waits too, and whether there was news on the way. Raises `Broken`."""
    (tag,) = session.send([b"IDLE"])
    session.allow(min(session.server.timeout, BEGIN_SECONDS))
    news = False
    while not (line := head(session.receive(no_body))).startswith(b"+"):
        if line.startswith(tag):
            raise Broken("the server offers IDLE and refuses it")
        untagged([line])
        news = news or is_news(line)
    return Idling(session, tag), news


def notify(session: Session, mailboxes: Sequence[bytes]) -> bool:
    """Have news of *mailboxes* (quoted names) told beside those of the one that is selected; whether it will be."""
    if "NOTIFY" not in session.capabilities:
        return False
    events = b"(MessageNew (UID) MessageExpunge FlagChange)"
    others = b" (mailboxes (%s) (MessageNew MessageExpunge))" % b" ".join(mailboxes) if mailboxes else b""
    return session.ask(b"NOTIFY SET (selected %s)%s" % (events, others)).status == "OK"


def is_news(line: bytes) -> bool:
    """Whether an untagged response tells of a change. (RECENT comes with EXISTS, and alone means nothing.)"""
    return bool(_NEWS.match(line))
