"""Fetch messages of one mailbox in order: what the mailbox says about them in bulk, then body after body to the spool.

Commands for the next bodies go out before the last are answered, so that the network's round trip is paid once a
window. A body counts only when it is complete, ours, and the only one. At any doubt the connection is dropped with
everything half fetched; the message in question is tried once more, alone on a fresh connection, and then given up for
this time (`Failed`), so that it never stops its neighbours.

A server that has enough of us says so of whatever message is asked for, and then the run ends; one that says so of a
message again and again, while it gives the others, only means that message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from ..errors import PutOff, Unavailable
from ..message import Arrival, Failed, Kept, LeftOut, Metadata, Place, RawMessage, Twin, Twins, Vanished
from ..raw import Content
from ..spool import Lane
from ..uidset import UIDSet
from .imap_answers import Answer, SentAway, metadata, refusal
from .imap_bodies import Bodies, Body
from .imap_look import Connection, items
from .wire import Broken

CHUNK = 500  # messages whose metadata is asked for at once
WINDOW_BYTES = 1 << 20  # of bodies on their way; a larger one goes alone
WINDOW = 64  # bodies on their way
UNKNOWN_SIZE = 64 * 1024  # reserved when the server does not tell
TRUST = 40.0  # broken connections until we give up; a good message earns `EARNED` back
EARNED = 0.1
PUT_OFF = 3  # messages in a row that the server puts off: then it means us, and not one of them


@dataclass(frozen=True, slots=True)
class _Wanted:
    message: Metadata
    suspicion: str = ""  # what went wrong the first time; the second time it goes alone


@dataclass(slots=True, eq=False)
class _Asked:
    """A message whose body was asked for: on its way, or done and behind one that is not, or without a body."""

    wanted: _Wanted
    body: Body
    done: RawMessage | None = None
    missing: str = ""  # how an answer in good order came without a body
    put_off: PutOff | None = None  # and that this was for a limit of ours


@dataclass(frozen=True, slots=True)
class Task:
    """What is wanted of a mailbox, and where it goes."""

    lane: Lane
    place: Callable[[int], Place]
    since: datetime | None = None
    twins: Twins | None = None


class Fetch:
    """One run over a mailbox. Its `arrivals` own the connection until they end."""

    def __init__(self, connection: Connection, task: Task, trust: float = TRUST, *, judging: bool = True) -> None:
        """A connection that breaks is made again, as far as *trust* goes.

        Without *judging*, what does not come is a `Failed`, and why is nobody's concern.
        """
        self._connection, self._lane, self._place = connection, task.lane, task.place
        self._since, self._twins = task.since, task.twins
        self._most_trust = self._trust = trust
        self._judging = judging
        self._kept = 0
        self._put_off: list[PutOff] = []  # in a row
        self._waiting: deque[_Wanted | Arrival] = deque()  # not asked for yet
        self._line: deque[_Asked | Arrival] = deque()  # asked for, in order
        self._bodies = Bodies(task.lane.largest)  # those of the line that are on their way

    def arrivals(self, uids: UIDSet) -> Iterator[Arrival]:
        """Yield what becomes of each of *uids*, in ascending order; raise Unavailable when that cannot go on.

        May be asked again and again; when there is no more to ask for, `finish` is owed.
        """
        try:
            for chunk in uids.chunks(CHUNK):
                self._waiting.extend(self._planned(chunk))
                yield from self._run()
        except BaseException:
            # Whatever is still on its way would be taken for the answer to something else.
            self._connection.drop()
            self._forget()
            raise

    def finish(self) -> None:
        """Raise PutOff when the server has given nothing, since it has enough of us."""
        if self._put_off and not self._kept:
            self._connection.drop()
            raise self._put_off[-1]

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
            twins = self._twins([message for message in known.values() if message.object_id]) if self._twins else {}
            for uid in chunk:
                yield self._plan(uid, known.get(uid), twins.get(uid))

    def _metadata(self, chunk: UIDSet) -> dict[int, Metadata]:
        session = self._connection.session()
        answer = session.ask(b"UID FETCH %s (%s)" % (str(chunk).encode(), items(session.capabilities)))
        if put_off := self._limited(answer):
            raise put_off
        if answer.status != "OK":
            raise Broken("the server refused to tell about the message")
        return metadata(answer, chunk)

    def _plan(self, uid: int, message: Metadata | None, twin: Twin | None) -> _Wanted | Arrival:
        if message is None:
            return Vanished(self._place(uid))
        if self._since and message.internal_date and message.internal_date < self._since:
            return LeftOut(self._place(uid), "older_than_since")
        return self._arrived(message, Kept(twin.size_bytes), twin.sha256) if twin else _Wanted(message)

    # --- bodies

    def _run(self) -> Iterator[Arrival]:
        while self._waiting or self._line:
            if len(self._put_off) >= PUT_OFF:
                raise self._put_off[-1]
            if not self._line:
                self._connection.server.meter.check()
            try:
                self._send_more()
                arrival = self._advance()
            except Broken as error:
                self._recover(error)
                continue
            if arrival is not None:
                yield arrival

    def _send_more(self) -> None:
        """Once half of the window is answered, ask for the next bodies, as far as window and spool admit."""
        if len(self._bodies) > WINDOW // 2 or self._bodies.size_bytes > WINDOW_BYTES // 2:
            return
        if self._line and not self._connection.server.meter.more:
            return
        session, fresh = self._connection.session(), list[Body]()
        while self._waiting and self._room(fresh):
            following = self._waiting[0]
            if isinstance(following, _Wanted):
                size = self._expected(following)
                # Wait for room only with empty hands: what we hold is what the other side has to release.
                writer = self._lane.reserve(size, block=not self._line)
                if writer is None:
                    break
                fresh.append(Body(following.message.uid, writer, size))
                self._line.append(_Asked(following, fresh[-1]))
            else:
                self._line.append(following)
            self._waiting.popleft()
        if fresh:
            self._bodies.ask(session, fresh)

    def _room(self, fresh: list[Body]) -> bool:
        """Whether what is next may go out now; one under suspicion goes alone, and nothing follows a missing one."""
        following = self._waiting[0]
        if not self._line:
            return True
        asked = [step for step in self._line if isinstance(step, _Asked)]
        if len(self._line) >= 2 * WINDOW or any(step.missing or step.wanted.suspicion for step in asked):
            return False
        if not isinstance(following, _Wanted):
            return True
        size = self._bodies.size_bytes + sum(body.size_bytes for body in fresh) + self._expected(following)
        return not following.suspicion and len(self._bodies) + len(fresh) < WINDOW and size <= WINDOW_BYTES

    def _expected(self, wanted: _Wanted) -> int:
        size = wanted.message.size_bytes
        return min(UNKNOWN_SIZE if size is None else size, self._lane.largest)

    def _advance(self) -> Arrival | None:
        """Return what is done, if it is its turn; else take one step towards it."""
        first = self._line[0]
        if not isinstance(first, _Asked) or first.done or first.put_off:
            self._line.popleft()
            return self._ended(first) if isinstance(first, _Asked) else first
        if self._bodies:
            self._hear()
        else:
            # There is quiet now to ask about the one that had no body.
            self._line[0] = self._judged(first) if self._judging else self._unjudged(first)
        return None

    def _hear(self) -> None:
        heard = self._bodies.hear(self._connection.session())
        if heard is None:
            return
        body, answer = heard
        asked = next(step for step in self._line if isinstance(step, _Asked) and step.body is body)
        if answer.status == "OK" and body.complete:
            asked.done = self._whole(asked)
            return
        asked.missing = f"the server said {answer.status}{answer.bracketed} without giving the message"
        asked.put_off = self._limited(answer)
        body.writer.discard()

    def _ended(self, asked: _Asked) -> Arrival | None:
        """What became of a message at the head of the line."""
        if not asked.put_off:
            self._put_off.clear()
            return asked.done
        self._put_off.append(asked.put_off)
        message = asked.wanted.message
        return Failed(self._place(message.uid), asked.missing, message.internal_date, message.size_bytes, put_off=True)

    def _whole(self, asked: _Asked) -> RawMessage:
        content, digest = asked.body.writer.keep()
        self._connection.server.meter.fetched(content.size_bytes)
        self._trust = min(self._most_trust, self._trust + EARNED)
        self._kept += 1
        return self._arrived(asked.wanted.message, content, digest)

    def _arrived(self, message: Metadata, content: Content, digest: str) -> RawMessage:
        return RawMessage(
            self._place(message.uid),
            content,
            digest,
            message.internal_date,
            flags=message.flags,
            labels=message.labels,
            server_size_bytes=message.size_bytes,
            object_id=message.object_id,
        )

    def _unjudged(self, asked: _Asked) -> Failed:
        return Failed(self._place(asked.wanted.message.uid), asked.missing)

    def _judged(self, asked: _Asked) -> Vanished:
        """The message is gone, or something is wrong with it."""
        uid, session = asked.wanted.message.uid, self._connection.session()
        session.ask(b"NOOP")  # lets the server tell what was expunged; during FETCH it may not
        answer = session.ask(b"UID FETCH %d (UID)" % uid)
        if put_off := self._limited(answer):
            raise put_off
        if answer.status == "OK" and not metadata(answer, UIDSet.of([uid])):
            return Vanished(self._place(uid))
        raise Broken(asked.missing)

    # --- doubt

    def _recover(self, error: Broken) -> None:
        """Drop the connection and begin again with all that is in line, the message in question as a suspect."""
        suspect, asked = self._bodies.suspect(), [step for step in self._line if isinstance(step, _Asked)]
        blamed = next((step for step in asked if step.body is suspect or (suspect is None and step.missing)), None)
        steps = [self._again(step, str(error) if step is blamed else "") for step in self._line]
        self._forget_line()
        self._waiting.extendleft(reversed(steps))
        self._lost(error)

    def _again(self, step: _Asked | Arrival, reason: str) -> _Wanted | Arrival:
        if not isinstance(step, _Asked):
            return step
        if reason and step.wanted.suspicion:
            message = step.wanted.message
            return Failed(self._place(message.uid), reason, message.internal_date, message.size_bytes)
        return replace(step.wanted, suspicion=reason or step.wanted.suspicion)

    def _lost(self, error: Broken) -> None:
        self._connection.drop()
        if isinstance(error, SentAway):
            raise error
        self._trust -= 1
        if self._trust < 0:
            raise Unavailable(f"{self._connection.what}: too many broken connections, the last one because {error}")

    def _limited(self, answer: Answer) -> PutOff | None:
        """The error for an answer that names a limit of ours."""
        if answer.status == "OK" or not answer.throttle:
            return None
        error = refusal(f"{self._connection.what}: fetch", self._connection.server.host, answer, "try again later")
        return error if isinstance(error, PutOff) else None

    def _forget_line(self) -> None:
        self._bodies.clear()
        for step in self._line:
            if isinstance(step, _Asked) and step.done:
                self._lane.drop([step.done])
            elif isinstance(step, _Asked) and not step.missing:
                step.body.writer.discard()
        self._line.clear()

    def _forget(self) -> None:
        self._forget_line()
        self._waiting.clear()
