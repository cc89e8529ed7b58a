"""The message bodies that were asked for and are on their way, each with the place in the spool that it goes to.

Nothing here believes a server: a body has to be one that was asked for, come once, end where it said it would, and be
followed by its command's OK. Everything else is `Broken`, and then all that was on its way is worth nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..spool import Writer
from .imap_answers import Answer, Pieces, fetched, head, tagged, untagged
from .imap_session import Session
from .wire import Broken, Sink

# What a server may put beside a body. Anything else may be the end of a message longer than its server thinks.
ITEMS = {b"UID", b"BODY[]", b"FLAGS", b"MODSEQ", b"INTERNALDATE", b"RFC822.SIZE", b"SEQ"}
ANOTHER = "the server sent another message than the one asked for"
TWICE = "the server sent a message twice"

_UID = re.compile(rb"\bUID (\d{1,10})\b", re.I)


@dataclass(slots=True, eq=False)
class Body:
    """A body on its way."""

    uid: int
    writer: Writer
    size_bytes: int  # as announced with the metadata
    tag: bytes = b""
    streamed: bool = False
    answered: bool = False
    nil: bool = False

    @property
    def complete(self) -> bool:
        return self.answered and not self.nil


class Bodies:
    """All that are on their way over one session, oldest first."""

    def __init__(self, largest: int) -> None:
        """Refuse bodies of more than *largest* bytes."""
        self._largest = largest
        self._expected: list[Body] = []
        self._coming: Body | None = None  # the one whose bytes are coming in

    def __len__(self) -> int:
        return len(self._expected)

    @property
    def size_bytes(self) -> int:
        return sum(body.size_bytes for body in self._expected)

    def ask(self, session: Session, bodies: Sequence[Body]) -> None:
        """Ask for *bodies* with one command each, all at once."""
        self._expected.extend(bodies)
        session.allow(session.server.timeout)
        tags = session.send([b"UID FETCH %d (UID BODY.PEEK[])" % body.uid for body in bodies])
        for body, tag in zip(bodies, tags, strict=True):
            body.tag = tag

    def hear(self, session: Session) -> tuple[Body, Answer] | None:
        """Take one response; return a body with the end of its command, when it is that.

        They may come in any order: Dovecot for one works on several commands at a time.
        """
        pieces = session.receive(self._sink)
        for at, body in enumerate(self._expected):
            if answer := tagged(pieces, body.tag):
                del self._expected[at]
                session.allow(session.server.timeout)
                return body, answer
        self._take(fetched(untagged(pieces)))
        return None

    def suspect(self) -> Body | None:
        """Whom to blame for a break: the one that was coming in, else the first that did not come at all."""
        silent = (body for body in self._expected if not body.answered)
        return self._coming or next(silent, None) or next(iter(self._expected), None)

    def clear(self) -> None:
        """Expect none any more."""
        self._expected.clear()
        self._coming = None

    def _sink(self, before: Pieces, size: int) -> Sink:
        said = _UID.search(head(before))
        # The UID may also stand behind the body: then this can only be the next one, and `_take` looks again.
        body = self._find(int(said[1]) if said else None)
        if body.streamed or body.answered:
            raise Broken(TWICE)
        self._coming, body.streamed = body, True
        if size > self._largest:
            raise Broken(f"the message of {size} bytes is larger than the spool; raise daemon.spool_disk")
        return body.writer.write

    def _take(self, items: Mapping[bytes, Any]) -> None:
        """Note the end of a body. Anything without one may come at any time, about any message."""
        if b"BODY[]" not in items:
            return
        body = self._find(items.get(b"UID", 0))
        if self._coming not in (None, body):
            raise Broken(ANOTHER)
        if items.keys() - ITEMS:
            raise Broken("the server sent more than it was asked for: the end of the message is in doubt")
        if body.answered:
            raise Broken(TWICE)
        content = items[b"BODY[]"]
        if content and not body.streamed:  # a quoted string, which is allowed
            body.writer.write(content)
        body.answered, body.nil, self._coming = True, content is None, None

    def _find(self, uid: int | None) -> Body:
        for body in self._expected:
            if body.uid == uid or (uid is None and not body.answered):
                return body
        raise Broken(ANOTHER)
