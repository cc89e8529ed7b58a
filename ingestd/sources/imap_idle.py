"""Have a server tell of news by itself: IDLE (RFC 2177), and NOTIFY (RFC 5465) for other mailboxes beside it.

What it tells is a hint that a pass is worth while, and never the truth: a pass looks for itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .imap_answers import Answer, exists, head, tagged, untagged
from .imap_session import Session, no_body
from .wire import Broken, Channel

BEGIN_SECONDS = 30.0  # until a server says "+"
GRACE_SECONDS = 10.0  # until it answers DONE; one that does not is dead, whatever its connection looks like

_NEWS = re.compile(rb"\* (?:\d+ (?:EXISTS|EXPUNGE|FETCH)|VANISHED|STATUS)\b", re.I)
_BYE = re.compile(rb"\* BYE\b", re.I)
_STILL_HERE = re.compile(rb"\* [A-Za-z0-9]")


@dataclass(slots=True)
class Idling:
    """A session whose server was told to tell. Until `end` nothing else may be sent."""

    session: Session
    tag: bytes
    exists: int | None = None  # messages that are known; a server that says it again tells nothing new
    ending: bool = False  # it was told to stop telling
    over: bool = False  # and has

    @property
    def channel(self) -> Channel:
        return self.session.channel

    def news(self) -> bool:
        """Whether there was any in what has come by now; never waits. Raises `Broken`."""
        found = False
        for line in self.channel.arrived():
            if self.ending and (answer := tagged([line.rstrip(b"\r\n")], self.tag)):
                self._ended(answer)
                continue
            if _BYE.match(line):
                raise Broken("the server ended the session")
            if not _STILL_HERE.match(line):
                raise Broken("the server sent a line that is no IMAP response")
            found = found or is_news(line, self.exists)
        return found

    def ask_end(self) -> None:
        """Have the server stop telling, without waiting until it has: then it is `over`. Raises `Broken`."""
        self.channel.send(b"DONE\r\n")
        self.ending = True

    def end(self) -> None:
        """Have the session back. Raises `Broken` when the server does not answer within GRACE_SECONDS."""
        if self.over:
            self.news()  # it may have closed the connection since
            return
        if not self.ending:
            self.ask_end()
        self._ended(_answer(self.session, self.tag))

    def _ended(self, answer: Answer) -> None:
        if answer.status != "OK":
            raise Broken(f"the server ended IDLE with {answer.status}")
        self.over = True


def still_there(session: Session) -> None:
    """Raise `Broken` when the server does not answer within GRACE_SECONDS."""
    (tag,) = session.send([b"NOOP"])
    _answer(session, tag)


def _answer(session: Session, tag: bytes) -> Answer:
    session.allow(GRACE_SECONDS)
    while not (answer := tagged(pieces := session.receive(no_body), tag)):
        untagged(pieces)
    return answer


@dataclass(frozen=True, slots=True)
class Begun:
    """A connection that waits for news."""

    idling: Idling
    mailboxes: tuple[str, ...]  # those of which it is told
    news: bool  # whether something has happened there already, since they were last opened


def begin(session: Session, known: int | None = None) -> tuple[Idling, bool]:
    """Send IDLE; return once the server waits too, and whether there was news on the way. Raises `Broken`.

    *known* is how many messages the mailbox had when it was opened just now.
    """
    (tag,) = session.send([b"IDLE"])
    session.allow(min(session.server.timeout, BEGIN_SECONDS))
    news = False
    while not (line := head(session.receive(no_body))).startswith(b"+"):
        if line.startswith(tag):
            raise Broken("the server offers IDLE and refuses it")
        untagged([line])
        news = news or is_news(line, known)
    return Idling(session, tag, known), news


def notify(session: Session, mailboxes: Sequence[bytes]) -> Answer | None:
    """Have news of *mailboxes* (quoted names) told beside those of the one that is selected; None when they are not.

    The answer says how each of them is now, in STATUS responses.
    """
    if "NOTIFY" not in session.capabilities:
        return None
    others = b" (mailboxes (%s) (MessageNew MessageExpunge))" % b" ".join(mailboxes) if mailboxes else b""
    events = b"(selected (MessageNew (UID) MessageExpunge FlagChange))"
    answer = session.ask(b"NOTIFY SET STATUS %s%s" % (events, others))
    return answer if answer.status == "OK" else None


def is_news(line: bytes, known: int | None = None) -> bool:
    """Whether an untagged response tells of a change. (RECENT comes with EXISTS, and alone means nothing.)"""
    return bool(_NEWS.match(line)) and (known is None or exists(line) != known)
