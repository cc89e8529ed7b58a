"""Read an account over POP3: every message of its maildrop, by the unique-ids that its server gives (UIDL).

Nothing is deleted unless that was asked for. Message numbers mean something only within one session; unique-ids hold
across all of them, so after a break everything is found again by those.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Self

from ..errors import IngestError, Refused, Unavailable
from ..message import Ages, Arrival, Failed, Listed, Metadata, Place, RawMessage, Removal, Vanished
from ..mime.parse import parse
from ..raw import InMemory
from ..spool import Lane, Writer
from ..steps import step
from ..uidset import UIDSet
from .pop3_login import BUSY, Offered, log_in, refusal
from .pop3_session import Reply, Session
from .server import Server
from .wire import Broken, Sink, Switch

TRUST = 10  # broken connections of one run
ATTEMPTS = 2  # for one message, the second on a fresh connection
ENOUGH_OLDER = 50  # messages in a row that are too old: those before them are taken to be, too

_COPY = ";COPY="
_LISTED = re.compile(rb"(\d{1,10}) +(\d{1,18})\b.*")
_UNIQUE = re.compile(rb"(\d{1,10}) +([!-~]{1,255}) *")  # RFC 1939 allows 70 characters; some servers give more


class Pop3Account:
    """A login, within the `with` block, and the maildrop as it was then. One thread at a time."""

    def __init__(self, name: str, server: Server) -> None:
        self.name, self.server = name, server
        self.listing: tuple[Listed, ...] = ()
        self.offered: Offered = {}
        self._session: Session | None = None
        self._current: dict[str, Listed] = {}  # as this connection lists them, by unique-id
        self._trust = TRUST
        self._switch = Switch()

    def __enter__(self) -> Self:
        """Connect, log in and list; raise Unavailable or Refused."""
        self.session()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        if self._session and error is None:
            self._session.log_out()
        self.drop()

    @property
    def what(self) -> str:
        """The maildrop, as errors name it."""
        return f"account {self.name}: maildrop"

    def place(self, listed: Listed) -> Place:
        return Place.of_maildrop(self.name, listed.uidl)

    # --- reading

    @property
    def numbers(self) -> UIDSet:
        """The numbers of the listing."""
        return UIDSet.of(listed.number for listed in self.listing)

    def look(self, numbers: UIDSet) -> dict[int, Metadata]:
        """Return what the listing says about each of *numbers*, without those that it does not have."""
        there = self._of(numbers & self.numbers)
        return {listed.number: Metadata(listed.number, size_bytes=listed.size_bytes) for listed in there}

    def ages(self, among: UIDSet, since: datetime, limit: int | None = None) -> Ages:
        """Tell those of *among* that came after *since* from those that are older, as their headers say.

        Goes backwards from the newest, and stops at *limit* recent ones, or after ENOUGH_OLDER that came before: those
        before them are taken to be older too. A message that says nothing of its time counts as recent, and so do all
        where the server has no TOP.
        """
        recent, older, in_a_row = list[int](), list[int](), 0
        for listed in reversed(list(self._of(among))):
            if in_a_row >= ENOUGH_OLDER:
                older.append(listed.number)
            elif limit is not None and len(recent) >= limit:
                break
            elif (arrived := self._arrived(listed)) and arrived < since:
                older.append(listed.number)
                in_a_row += 1
            else:
                recent.append(listed.number)
                in_a_row = 0
        return Ages(UIDSet.of(recent), UIDSet.of(older))

    def fetch(self, numbers: UIDSet, lane: Lane) -> Iterator[Arrival]:
        """Yield what becomes of each of *numbers* of the listing, lowest first, with the bytes in *lane*.

        A message that the server will not give is a value (`Failed`); raises Unavailable when the connection cannot be
        made again.
        """
        self._trust = TRUST
        for listed in self._of(numbers):
            self.server.meter.check()
            yield self._fetched(listed, lane)

    def abort(self) -> None:
        """End what another thread waits for. Only leaving the `with` block works after it."""
        self._switch.turn_off()

    # --- deleting

    def acknowledge(self, uids: UIDSet, action: str) -> None:
        raise NotImplementedError("nothing can be marked over POP3")

    def remove(self, known: Mapping[int, Metadata], action: str, announce: Callable[[UIDSet], None]) -> Removal:
        """Delete those messages of the listing that are still what is *known* of them, as one act.

        *announce* is told which, just before; when it raises, nothing was done. The server is asked for a new listing
        afterwards: what it has there was not deleted, whatever it said. What shares its unique-id with another is left.
        """
        assert action == "delete"  # the only thing that can be done over POP3
        with self._unbroken():
            session = self.session()
            there = UIDSet.of(listed.number for listed in self._of(UIDSet.of(known)) if listed.uidl in self._current)
            same = UIDSet.of(each.number for each in self._of(there) if self._is_still(each, known[each.number]))
            if same:
                announce(same)
                self._delete(session, same)
            left = UIDSet.of(listed.number for listed in self._of(same) if listed.uidl in self._current)
        return Removal(removed=same - left, left=left, other=there - same, absent=UIDSet.of(known) - there)

    def _is_still(self, listed: Listed, known: Metadata) -> bool:
        size, second = self._current[listed.uidl].size_bytes, _copy(listed.uidl.partition(_COPY)[0], 2)
        return size is not None and size == known.size_bytes and second not in self._current

    def _delete(self, session: Session, numbers: UIDSet) -> None:
        for listed in self._of(numbers):
            reply = session.ask(b"DELE %d" % self._current[listed.uidl].number)
            if not reply.ok:
                raise refusal(f"{self.what}: delete", self.server.host, reply, "set account.after_store to none")
        step("marked")
        ended = session.log_out()  # only now it deletes them
        self.drop()
        if ended is None or not ended.ok:
            raise Unavailable(f"{self.what}: {self.server.host} did not say that it deleted what it should")
        step("marked")
        self.session()

    # --- the session

    def session(self) -> Session:
        """The session, a fresh one after `drop`."""
        if self._switch.off:
            raise Unavailable(f"account {self.name}: told to stop")
        if self._session is None:
            self._session, self.offered = log_in(self.name, self.server, self._switch)
            try:
                listed = self._listed(self._session)
            except IngestError:
                self.drop()
                raise
            self._current = {each.uidl: each for each in listed}
            self.listing = self.listing or listed
        return self._session

    def drop(self) -> None:
        """Close the connection at once: nothing is deleted."""
        session, self._session = self._session, None
        if session:
            session.close()
            self.server.meter.close()

    @contextmanager
    def _unbroken(self) -> Iterator[None]:
        try:
            yield
        except Broken as error:
            self.drop()
            raise Unavailable(f"{self.what}: {self.server.host}: {error}") from error

    def _listed(self, session: Session) -> tuple[Listed, ...]:
        with self._unbroken():
            unique, sizes = session.lines(b"UIDL"), session.lines(b"LIST")
        if unique is None:
            raise Refused(
                f"{self.what}: {self.server.host} gives no unique-ids (UIDL), so messages cannot be told apart"
            )
        octets = {int(found[1]): int(found[2]) for line in sizes or () if (found := _LISTED.fullmatch(line))}
        return tuple(_told_apart(_numbered(unique), octets))

    def _of(self, numbers: UIDSet) -> Iterator[Listed]:
        by_number = {listed.number: listed for listed in self.listing}
        return (by_number[number] for number in numbers)

    def _fetched(self, listed: Listed, lane: Lane) -> Arrival:
        """Fetch a message; when the connection breaks over it once more, on a fresh one."""
        reason = ""
        for _ in range(ATTEMPTS):
            try:
                return self._retrieved(listed, lane)
            except Broken as error:
                self.drop()
                self._trust, reason = self._trust - 1, str(error)
        if self._trust < 0:
            raise Unavailable(f"{self.what}: too many broken connections, the last one because {reason}")
        return Failed(self.place(listed), reason)

    def _retrieved(self, listed: Listed, lane: Lane) -> Arrival:
        session, place = self.session(), self.place(listed)
        current = self._current.get(listed.uidl)
        if current is None:
            return Vanished(place)
        writer = lane.reserve(min(current.size_bytes or 0, lane.largest))
        assert writer is not None  # it waits for room
        try:
            reply = session.read(b"RETR %d" % current.number, _limited(writer, lane.largest))
        except BaseException:
            writer.discard()
            raise
        if not reply.ok:
            writer.discard()
            return self._refused(place, reply)
        content, digest = writer.keep()
        self.server.meter.fetched(content.size_bytes)
        return RawMessage(place, content, digest, None, via="pop3", server_size_bytes=current.size_bytes)

    def _refused(self, place: Place, reply: Reply) -> Failed:
        if reply.code in BUSY:
            raise refusal(f"{self.what}: fetch", self.server.host, reply, "try again later")
        return Failed(place, f"the server said -ERR{reply.bracketed} instead of giving the message")

    def _arrived(self, listed: Listed) -> datetime | None:
        """When a message came to its server, or was sent, as its header says."""
        with self._unbroken():
            session = self.session()
            current = self._current.get(listed.uidl)
            head = session.head(current.number) if current else None
        if head is None:
            return None
        said = parse(InMemory(head))
        return said.received_at or said.date


def _numbered(lines: Sequence[bytes]) -> Iterator[tuple[int, str]]:
    for line in lines:
        found = _UNIQUE.fullmatch(line)
        if not found:
            raise Unavailable("the server sent a unique-id that is none")
        yield int(found[1]), found[2].decode("ascii")


def _told_apart(unique: Iterator[tuple[int, str]], octets: dict[int, int]) -> Iterator[Listed]:
    """Some servers give copies of a message one unique-id (RFC 1939, section 7); the second becomes `id;COPY=2`."""
    seen: Counter[str] = Counter()
    for number, uidl in unique:
        seen[uidl] += 1
        distinct = uidl if seen[uidl] == 1 else _copy(uidl, seen[uidl])
        yield Listed(number, distinct, octets.get(number))


def _copy(uidl: str, number: int) -> str:
    return f"{uidl}{_COPY}{number}"


def _limited(writer: Writer, largest: int) -> Sink:
    def write(piece: bytes | memoryview) -> None:
        writer.write(piece)
        if writer.size_bytes > largest:
            raise Broken("the message is larger than the spool; raise daemon.spool_disk")

    return write
