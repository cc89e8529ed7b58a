"""Fetch messages of one mailbox in order: what the mailbox says about them in bulk, then body after body to the spool.

Commands for the next bodies go out before the last are answered, so that the network's round trip is paid once a
window. A body counts only when it is complete, ours, and the only one. At any doubt the connection is dropped with
everything half fetched; the message in question is tried once more, alone on a fresh connection, and then given up for
this time (`Failed`), so that it never stops its neighbours.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from ..errors import Unavailable
from ..message import Arrival, Failed, LeftOut, Place, RawMessage, Vanished
from ..spool import Lane, Writer
from ..uidset import UIDSet
from .imap_answers import Answer, Metadata, Pieces, fetched, head, metadata, refusal, tagged, untagged
from .imap_session import Session
from .imap_wire import Broken, Sink

CHUNK = 500  # messages whose metadata is asked for at once
WINDOW_BYTES = 1 << 20  # of bodies on their way; one larger message goes alone
WINDOW = 16  # bodies on their way
UNKNOWN_SIZE = 64 * 1024  # reserved when the server does not tell
TRUST = 40.0  # broken connections until we give up; a good message earns `EARNED` back
EARNED = 0.1
ITEMS = {b"UID", b"BODY[]", b"FLAGS", b"MODSEQ", b"INTERNALDATE", b"RFC822.SIZE", b"SEQ"}

_UID = re.compile(rb"\bUID (\d{1,10})\b", re.I)


class Connection(Protocol):
    """Where the mailbox is open."""

    @property
    def what(self) -> str:
        """The mailbox, as errors name it."""

    def session(self) -> Session:
        """The session with the mailbox open, a fresh one after `drop`; raise Unavailable or Refused."""

    def drop(self) -> None:
        """Close the connection at once."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    message: Metadata
    suspicion: str = ""  # what went wrong the first time; the second time it goes alone


@dataclass(slots=True)
class _Sent:
    """A body that was asked for, and where it goes."""

    wanted: _Wanted
    writer: Writer
    size_bytes: int  # as announced with the metadata
    tag: bytes = b""
    streamed: bool = False
    answered: bool = False
    nil: bool = False

    @property
    def uid(self) -> int:
        return self.wanted.message.uid


@dataclass(frozen=True, slots=True)
class _Missing:
    """The answer was in order, but had no body."""

    wanted: _Wanted
    reason: str


_Step = _Wanted | _Sent | _Missing | Arrival


class Fetch:
    """One run over a mailbox. Its `arrivals` own the connection until they end."""

    def __init__(
        self, connection: Connection, lane: Lane, place: Callable[[int], Place], since: datetime | None = None
    ) -> None:
        self._connection, self._lane, self._place, self._since = connection, lane, place, since
        self._trust = TRUST
        self._waiting: deque[_Step] = deque()  # not asked for yet
        self._line: deque[_Step] = deque()  # asked for, or done and behind one that is not
        self._answering: _Sent | None = None  # whose body is coming in

    def arrivals(self, uids: UIDSet) -> Iterator[Arrival]:
        """Yield what becomes of each of *uids*, in ascending order; raise Unavailable when that cannot go on."""
        try:
            for chunk in uids.chunks(CHUNK):
                self._waiting.extend(self._planned(chunk))
                yield from self._run()
        except BaseException:
            # Whatever is still on its way would be taken for the answer to something else.
            self._connection.drop()
            self._forget()
            raise

    # --- metadata

    def _planned(self, chunk: UIDSet) -> Iterator[_Wanted | Arrival]:
        """Tell for each message of *chunk* whether its body is wanted; halve the chunk to find one that breaks it."""
        try:
            known = self._metadata(chunk)
        except Broken as error:
            self._lost(error)
            if len(chunk) == 1:
                yield Failed(self._place(next(iter(chunk))), f"metadata: {error}")
                return
            half = chunk.first(len(chunk) // 2)
            yield from self._planned(half)
            yield from self._planned(chunk - half)
        else:
            for uid in chunk:
                yield self._plan(uid, known.get(uid))

    def _metadata(self, chunk: UIDSet) -> dict[int, Metadata]:
        session = self._connection.session()
        labels = b" X-GM-LABELS" if "X-GM-EXT-1" in session.capabilities else b""
        items = b"UID FLAGS INTERNALDATE RFC822.SIZE" + labels
        answer = session.ask(b"UID FETCH %s (%s)" % (str(chunk).encode(), items))
        self._check_busy(answer)
        if answer.status != "OK":
            raise Broken("the server refused to tell about the message")
        return metadata(answer, chunk)

    def _plan(self, uid: int, message: Metadata | None) -> _Wanted | Arrival:
        if message is None:
            return Vanished(self._place(uid))
        if self._since and message.internal_date and message.internal_date < self._since:
            return LeftOut(self._place(uid), "older_than_since")
        return _Wanted(message)

    # --- bodies

    def _run(self) -> Iterator[Arrival]:
        while self._waiting or self._line:
            try:
                self._send_more()
                done = self._advance()
            except Broken as error:
                self._recover(error)
                continue
            if done is not None:
                yield done

    def _send_more(self) -> None:
        """Once half of the window is answered, ask for the next bodies, as far as window and spool admit."""
        sent = _on_the_way(self._line)
        if len(sent) > WINDOW // 2 or _size(sent) > WINDOW_BYTES // 2:
            return
        fresh: list[_Sent] = []
        while self._waiting and self._room():
            step = self._waiting[0]
            if isinstance(step, _Wanted):
                # Wait for room only with empty hands: what we hold is what the other side has to release.
                writer = self._lane.reserve(self._expected(step), block=not self._line)
                if writer is None:
                    break
                step = _Sent(step, writer, self._expected(step))
                fresh.append(step)
            self._waiting.popleft()
            self._line.append(step)
        self._ask(fresh)

    def _room(self) -> bool:
        following, sent = self._waiting[0], _on_the_way(self._line)
        if not self._line:
            return True
        if len(self._line) >= 2 * WINDOW or any(isinstance(step, _Missing) for step in self._line):
            return False
        if not isinstance(following, _Wanted):
            return True
        if any(one.wanted.suspicion for one in sent):
            return False
        return not following.suspicion and len(sent) < WINDOW and _size(sent) + self._expected(following) < WINDOW_BYTES

    def _expected(self, wanted: _Wanted) -> int:
        size = wanted.message.size_bytes
        return min(UNKNOWN_SIZE if size is None else size, self._lane.largest)

    def _ask(self, fresh: list[_Sent]) -> None:
        if fresh:
            session = self._connection.session()
            session.allow(session.server.timeout)
            tags = session.send([b"UID FETCH %d (UID BODY.PEEK[])" % one.uid for one in fresh])
            for one, tag in zip(fresh, tags, strict=True):
                one.tag = tag

    def _advance(self) -> Arrival | None:
        """Return what is done, if it is its turn; else take one step towards it."""
        first = self._line[0]
        if not isinstance(first, _Wanted | _Sent | _Missing):
            self._line.popleft()
            return first
        if _on_the_way(self._line):
            self._hear()
        else:
            # There is quiet now to ask about the one that had no body.
            assert isinstance(first, _Missing)
            self._line[0] = self._judged(first)
        return None

    def _hear(self) -> None:
        """Take one response. Dovecot for one works on several commands at a time: answers may come in any order."""
        session = self._connection.session()
        pieces = session.receive(self._sink)
        for at, step in enumerate(self._line):
            if isinstance(step, _Sent) and (answer := tagged(pieces, step.tag)):
                self._line[at] = self._concluded(step, answer)
                session.allow(session.server.timeout)
                return
        self._take(fetched(untagged(pieces)))

    def _sink(self, before: Pieces, size: int) -> Sink:
        """Where a body of *size* bytes goes. Its UID may also follow it; then it can only be the next one."""
        said = _UID.search(head(before))
        sent = self._expecting(int(said[1]) if said else None)
        if size > self._lane.largest:
            self._answering = sent
            raise Broken(f"the message of {size} bytes is larger than the spool; raise daemon.spool_disk")
        if sent.streamed or sent.answered:
            raise Broken("the server sent a message twice")
        self._answering, sent.streamed = sent, True
        return sent.writer.write

    def _take(self, items: Mapping[bytes, Any]) -> None:
        """Note the end of a body. Anything without one may come at any time, about any message."""
        if b"BODY[]" not in items:
            return
        sent = self._expecting(items.get(b"UID", 0))
        if self._answering not in (None, sent):
            raise Broken("the server sent another message than the one asked for")
        if items.keys() - ITEMS:
            raise Broken("the server sent more than it was asked for: the end of the message is in doubt")
        if sent.answered:
            raise Broken("the server sent a message twice")
        body = items[b"BODY[]"]
        if body and not sent.streamed:  # a quoted string, which is allowed
            sent.writer.write(body)
        sent.answered, sent.nil, self._answering = True, body is None, None

    def _expecting(self, uid: int | None) -> _Sent:
        for sent in _on_the_way(self._line):
            if sent.uid == uid or (uid is None and not sent.answered):
                return sent
        raise Broken("the server sent another message than the one asked for")

    def _concluded(self, sent: _Sent, answer: Answer) -> RawMessage | _Missing:
        self._check_busy(answer)
        if answer.status == "OK" and sent.answered and not sent.nil:
            return self._kept(sent)
        sent.writer.discard()
        if answer.status != "OK":
            return _Missing(sent.wanted, f"the server refused the message{answer.bracketed}")
        return _Missing(sent.wanted, "the server gave no body" if sent.nil else "the server did not answer")

    def _kept(self, sent: _Sent) -> RawMessage:
        content, digest = sent.writer.keep()
        self._trust = min(TRUST, self._trust + EARNED)
        message = sent.wanted.message
        return RawMessage(
            self._place(message.uid),
            content,
            digest,
            message.internal_date,
            flags=message.flags,
            labels=message.labels,
            server_size_bytes=message.size_bytes,
        )

    def _judged(self, missing: _Missing) -> Vanished:
        """The message is gone, or something is wrong with it."""
        uid, session = missing.wanted.message.uid, self._connection.session()
        session.ask(b"NOOP")  # lets the server tell what was expunged; during FETCH it may not
        answer = session.ask(b"UID FETCH %d (UID)" % uid)
        self._check_busy(answer)
        if answer.status == "OK" and not metadata(answer, UIDSet.of([uid])):
            return Vanished(self._place(uid))
        raise Broken(missing.reason)

    # --- doubt

    def _recover(self, error: Broken) -> None:
        """Drop the connection and put everything back that has no body yet, the message in question as a suspect."""
        suspect, steps = self._suspect(), list(self._line)
        self._answering = None
        self._line.clear()
        for at, step in enumerate(steps):
            if isinstance(step, _Sent):
                step.writer.discard()
            if isinstance(step, _Sent | _Missing):
                steps[at] = self._again(step.wanted, str(error)) if step is suspect else step.wanted
        self._waiting.extendleft(reversed(steps))
        self._lost(error)

    def _suspect(self) -> _Sent | _Missing | None:
        """Whom to blame: the one that was coming in, else the first that did not come at all."""
        sent = _on_the_way(self._line)
        silent = [one for one in sent if not one.answered] or sent
        missing = [step for step in self._line if isinstance(step, _Missing)]
        candidates: list[_Sent | _Missing] = [*silent, *missing]
        return self._answering or next(iter(candidates), None)

    def _again(self, wanted: _Wanted, reason: str) -> _Wanted | Failed:
        return (
            Failed(self._place(wanted.message.uid), reason) if wanted.suspicion else replace(wanted, suspicion=reason)
        )

    def _lost(self, error: Broken) -> None:
        self._connection.drop()
        self._trust -= 1
        if self._trust < 0:
            raise Unavailable(f"{self._connection.what}: too many broken connections, the last one because {error}")

    def _check_busy(self, answer: Answer) -> None:
        if answer.status != "OK" and answer.busy:
            host = self._connection.session().server.host
            raise refusal(f"{self._connection.what}: fetch", host, answer, "try again later")

    def _forget(self) -> None:
        for sent in _on_the_way(self._line):
            sent.writer.discard()
        self._lane.release([step for step in (*self._line, *self._waiting) if isinstance(step, RawMessage)])
        self._line.clear()
        self._waiting.clear()


def _on_the_way(line: deque[_Step]) -> list[_Sent]:
    return [step for step in line if isinstance(step, _Sent)]


def _size(sent: list[_Sent]) -> int:
    return sum(one.size_bytes for one in sent)
