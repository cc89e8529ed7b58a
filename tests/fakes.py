"""Small honest stand-ins: a mailbox in memory, and ways to make messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Self

from ingestd.errors import IngestError
from ingestd.message import (
    Ages,
    Arrival,
    Failed,
    Kept,
    LeftOut,
    Listed,
    Metadata,
    Numbers,
    Place,
    RawMessage,
    Removal,
    Twins,
    Vanished,
)
from ingestd.raw import Content, InMemory
from ingestd.sources.server import Unmetered
from ingestd.spool import Lane
from ingestd.uidset import UIDSet

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def mail(number: int, body: str = "hello") -> bytes:
    return (
        f"From: ann@example.org\r\nTo: bob@example.com\r\nMessage-ID: <{number}@example.org>\r\n"
        f"Date: Sun, 01 Mar 2026 12:00:00 +0000\r\nSubject: number {number}\r\n\r\n{body} {number}\r\n"
    ).encode()


def digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def raw(content: bytes, uid: int = 1, mailbox: str = "INBOX", account: str = "work") -> RawMessage:
    place = Place(account, mailbox, 1, 9, uid)
    return RawMessage(place, InMemory(content), sha256(content).hexdigest(), NOON, server_size_bytes=len(content))


class Learning(Unmetered):
    """A meter that remembers why connections were not used."""

    def __init__(self) -> None:
        self.failures: list[IngestError] = []

    def failed_beside(self, error: IngestError) -> None:
        self.failures.append(error)


class ListMailbox:
    """A mailbox in memory that behaves as IMAP does: UIDs rise, flags change, messages are expunged.

    A message is bytes, or None for one whose bytes the server will not give.
    """

    account = "work"

    def __init__(self, *messages: bytes | None, uidvalidity: int = 9, name: str = "INBOX") -> None:
        self.name = name
        self.messages = dict(enumerate(messages, 1))
        self.seen: set[int] = set()
        self.dates = dict.fromkeys(self.messages, NOON)
        self.uidvalidity, self.uidnext = uidvalidity, len(messages) + 1
        self.fetched: list[int] = []
        self.looked: list[UIDSet] = []
        self.followed: list[tuple[str, int | None]] = []
        self.asked: list[str] = []
        self.keywords: dict[int, tuple[str, ...]] = {}
        self.labels: dict[int, tuple[str, ...]] = {}
        self.object_ids: dict[int, str] = {}
        self.hidden = 0  # messages that it has and does not list
        self.modseq: int | None = None  # a number, and it counts its changes (CONDSTORE)
        self.modseqs: dict[int, int] = {}
        self.aborted = False
        self.programs: dict[str, set[int]] = {}  # what search programs find
        self.put_off: set[int] = set()  # what the server says that it has enough of us for
        self.before_each: Callable[[int], None] = lambda uid: None
        self.opened()

    def opened(self) -> Self:
        """What a pass is given: the numbers stay what they were when it began."""
        self.numbers = Numbers(self.uidvalidity, self.uidnext, len(self.messages) + self.hidden, self.modseq)
        return self

    def listed(self) -> UIDSet:
        self.asked.append("listed")
        return UIDSet.of(self.messages)

    def look(self, uids: UIDSet) -> dict[int, Metadata]:
        self.asked.append("look")
        self.looked.append(uids)
        return {uid: self._metadata(uid) for uid in uids & UIDSet.of(self.messages)}

    def flags(self, uids: UIDSet, since: int | None) -> dict[int, Metadata]:
        self.asked.append("flags")
        self.followed.append((str(uids), since))
        changed = (uid for uid in uids if uid in self.messages and (since is None or self.modseqs.get(uid, 0) > since))
        return {uid: Metadata(uid, self._flags(uid), self.labels.get(uid, ())) for uid in changed}

    def read(self, uid: int) -> None:
        """What a person does who opens a message."""
        self.seen.add(uid)
        self._count(uid)

    def expunge(self, uid: int) -> None:
        del self.messages[uid]
        self._count()

    def _count(self, *uids: int) -> None:
        if self.modseq is not None:
            self.modseq += 1
            self.modseqs |= dict.fromkeys(uids, self.modseq)

    def deliver(self, content: bytes | None, *, seen: bool = False) -> int:
        uid, self.uidnext = self.uidnext, self.uidnext + 1
        self.messages[uid], self.dates[uid] = content, NOON
        if seen:
            self.seen.add(uid)
        self._count(uid)
        return uid

    def search(self, program: str, within: UIDSet | None = None) -> UIDSet:
        self.asked.append(program)
        matching = {**self.programs, "UNSEEN": set(self.messages) - self.seen}
        if program.startswith("SINCE "):
            day = datetime.strptime(program[6:], "%d-%b-%Y").replace(tzinfo=UTC).date()
            matching[program] = {uid for uid in self.messages if self.dates[uid].date() >= day}
        found = UIDSet.of(matching[program])
        return found if within is None else found & within

    def fetch(
        self, uids: UIDSet, lane: Lane, *, epoch: int, since: datetime | None = None, twins: Twins | None = None
    ) -> Iterator[Arrival]:
        known = twins([self._metadata(uid) for uid in uids if uid in self.messages]) if twins else {}
        for uid in uids:
            self.before_each(uid)
            place = Place(self.account, self.name, epoch, self.uidvalidity, uid)
            if uid not in self.messages:
                yield Vanished(place)
            elif since and self.dates[uid] < since:
                yield LeftOut(place, "older_than_since")
            elif twin := known.get(uid):
                yield self._message(place, Kept(twin.size_bytes), twin.sha256)
            elif uid in self.put_off:
                yield Failed(place, "the server has enough of us", put_off=True)
            elif (content := self.messages[uid]) is None:
                yield Failed(place, "the server broke off")
            else:
                yield self._whole(place, content, lane)

    def _whole(self, place: Place, content: bytes, lane: Lane) -> RawMessage:
        writer = lane.reserve(len(content))
        assert writer is not None
        writer.write(content)
        self.fetched.append(place.uid)
        return self._message(place, *writer.keep())

    def _message(self, place: Place, content: Content, digest: str) -> RawMessage:
        said = self._metadata(place.uid)
        facts = {"server_size_bytes": said.size_bytes, "object_id": said.object_id}
        return RawMessage(place, content, digest, said.internal_date, said.flags, said.labels, **facts)

    def _metadata(self, uid: int) -> Metadata:
        size, labels = len(self.messages[uid] or b""), self.labels.get(uid, ())
        return Metadata(uid, self._flags(uid), labels, self.dates[uid], size, self.object_ids.get(uid))

    def _flags(self, uid: int) -> tuple[str, ...]:
        return (*self.keywords.get(uid, ()), *(["\\Seen"] if uid in self.seen else []))

    def acknowledge(self, uids: UIDSet, action: str) -> None:
        assert action == "seen"
        for uid in uids:
            self.read(uid)

    def remove(self, known: Mapping[int, Metadata], action: str, announce: Callable[[UIDSet], None]) -> Removal:
        said, asked = self.look(UIDSet.of(known)), UIDSet.of(known)
        same = UIDSet.of(uid for uid, each in said.items() if self._facts(each) == self._facts(known[uid]))
        if same:
            announce(same)
        for uid in same:
            self.expunge(uid)
        return Removal(same, UIDSet(), UIDSet.of(said) - same, asked - UIDSet.of(said))

    @staticmethod
    def _facts(said: Metadata) -> tuple[datetime | None, int | None]:
        return said.internal_date, said.size_bytes

    def abort(self) -> None:
        self.aborted = True


class ListMaildrop:
    """A POP3 maildrop in memory: `listing` is what a session was told, and `messages` what there is by now.

    A message is bytes, or None for one whose bytes the server will not give.
    """

    account = "work"

    def __init__(self, messages: dict[str, bytes | None]) -> None:
        self.messages = messages
        self.dates = dict.fromkeys(messages, NOON)
        self.fetched: list[str] = []
        self.sizes: dict[str, int] = {}  # what it says where that is not the truth
        self.keeps: set[str] = set()  # what it does not delete, whatever it says
        self.before_each: Callable[[str], None] = lambda uidl: None
        self.opened()

    def opened(self) -> Self:
        self.listing = tuple(
            Listed(number, uidl, self.sizes.get(uidl, None if body is None else len(body)))
            for number, (uidl, body) in enumerate(self.messages.items(), 1)
        )
        return self

    def deliver(self, uidl: str, content: bytes | None) -> None:
        self.messages[uidl], self.dates[uidl] = content, NOON

    def ages(self, among: UIDSet, since: datetime, limit: int | None = None) -> Ages:
        came = [each for each in reversed(self.listing) if each.number in among]
        recent = [each.number for each in came if self.dates[each.uidl] >= since][:limit]
        older = [each.number for each in came if self.dates[each.uidl] < since]
        return Ages(UIDSet.of(recent), UIDSet.of(older))

    def fetch(self, numbers: UIDSet, lane: Lane) -> Iterator[Arrival]:
        for listed in self._of(numbers):
            self.before_each(listed.uidl)
            place = Place.of_maildrop(self.account, listed.uidl)
            if listed.uidl not in self.messages:
                yield Vanished(place)
            elif (content := self.messages[listed.uidl]) is None:
                yield Failed(place, "the server said -ERR", server_size_bytes=listed.size_bytes)
            else:
                writer = lane.reserve(len(content))
                assert writer is not None
                writer.write(content)
                self.fetched.append(listed.uidl)
                yield RawMessage(place, *writer.keep(), None, via="pop3", server_size_bytes=listed.size_bytes)

    def look(self, uids: UIDSet) -> dict[int, Metadata]:
        return {each.number: Metadata(each.number, size_bytes=each.size_bytes) for each in self._of(uids)}

    def acknowledge(self, uids: UIDSet, action: str) -> None:
        raise NotImplementedError("nothing can be marked over POP3")

    def remove(self, known: Mapping[int, Metadata], action: str, announce: Callable[[UIDSet], None]) -> Removal:
        there = [each for each in self._of(UIDSet.of(known)) if each.uidl in self.messages]
        same = [each for each in there if known[each.number].size_bytes == each.size_bytes]
        announce(UIDSet.of(each.number for each in same))
        for each in same:
            if each.uidl not in self.keeps:
                del self.messages[each.uidl]
        left = UIDSet.of(each.number for each in same if each.uidl in self.messages)
        numbers, found = UIDSet.of(each.number for each in same), UIDSet.of(each.number for each in there)
        return Removal(numbers - left, left, found - numbers, UIDSet.of(known) - found)

    def abort(self) -> None:
        """Nothing to do: this ends by itself."""

    def _of(self, numbers: UIDSet) -> list[Listed]:
        return [each for each in self.listing if each.number in numbers]
