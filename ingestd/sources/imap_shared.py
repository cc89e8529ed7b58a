"""Fetch a large mailbox over several connections at a time, each of which takes one range of its UIDs after the other.

The first connection is the one that the pass is made over, and its word alone counts: that a message is gone, that the
server will not give it, that the mailbox cannot be read now. The others are only there to be faster. What one of them
does not bring is left to the first; one that is refused, or breaks again and again, is used no more, and others bring
what it had taken. So nothing fails that would not have failed with one connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Queue
from threading import Condition, Lock, Thread

from ..errors import IngestError, Unavailable
from ..message import Arrival, LeftOut, RawMessage
from ..spool import Closed
from ..uidset import UIDSet
from .imap_fetch import CHUNK, Fetch, Task
from .imap_look import Connection
from .imap_session import Session
from .server import Server

WORTH = CHUNK  # messages: fewer are here sooner than other connections are made
TURNS = 4  # ranges that each connection takes, or more, so that all of them end at about the same time
LEAST = 50  # messages in a range, or asking what the mailbox says about them takes longer than to bring them
TRUST = 3.0  # times that another connection may break
READY = 100  # messages that are brought and not taken yet
ENDING = 0.05  # seconds between two attempts to end those that still run


@dataclass(frozen=True, slots=True)
class Another:
    """A connection that may take part."""

    open: Callable[[], Connection]  # and the mailbox on it; raises Unavailable or Refused
    cut: Callable[[], None]  # end what it waits for, from another thread
    failed: Callable[[IngestError], None]  # it is used no more


class Shared:
    """One run over a mailbox by several connections. Its `arrivals` own all of them until they end."""

    def __init__(self, task: Task, first: Another, others: Iterable[Another]) -> None:
        self._task, self._first, self._others = task, first, tuple(others)
        self._brought: Queue[Arrival | _End] = Queue(READY)
        self._opening = Lock()  # one at a time: where one is refused, the next need not try

    def arrivals(self, uids: UIDSet) -> Iterator[Arrival]:
        """Yield what becomes of each of *uids*, in any order; raise Unavailable when that cannot go on."""
        work = Work(uids, 1 + len(self._others))
        threads = {Thread(target=self._lead, args=(work,), name="fetch", daemon=True): self._first}
        for each in self._others:
            threads[Thread(target=self._follow, args=(work, each), name="fetch", daemon=True)] = each
        lead, *others = threads
        try:
            lead.start()
            with suppress(RuntimeError):  # the memory that a process may have goes for stacks, too
                for thread in others:
                    thread.start()
            while not isinstance(brought := self._brought.get(), _End):
                yield brought
            if brought.error:
                raise brought.error
        finally:
            self._end(work, threads)

    def _lead(self, work: Work) -> None:
        """Fetch over the first connection until all is done."""
        error: BaseException | None = None
        try:
            fetch = Fetch(_Watched(self._first.open(), work), self._task)
            while part := work.take_last():
                for arrival in fetch.arrivals(part):
                    self._brought.put(arrival)
            fetch.finish()
        except BaseException as raised:  # noqa: BLE001 - raised again by who waits for the arrivals
            error = raised
        self._brought.put(_End(error))

    def _follow(self, work: Work, another: Another) -> None:
        """Fetch over another connection for as long as that works, and there is something to fetch."""
        try:
            with self._opening:
                if not work.worth:
                    return
                connection = another.open()
            fetch = Fetch(_Watched(connection, work), self._task, TRUST)
            while part := work.take():
                self._bring(work, fetch, part)
        except IngestError as error:
            if not work.over:
                another.failed(error)
        except Closed:
            return  # so is everybody else told
        except BaseException as error:  # noqa: BLE001 - raised again by who waits for the arrivals
            self._brought.put(_End(error))

    def _bring(self, work: Work, fetch: Fetch, part: UIDSet) -> None:
        left, unclear = set(part), set[int]()
        try:
            for arrival in fetch.arrivals(part):
                if isinstance(arrival, RawMessage | LeftOut):
                    self._brought.put(arrival)
                else:
                    unclear.add(arrival.place.uid)
                left.discard(arrival.place.uid)
        finally:
            work.give_back(UIDSet.of(left), UIDSet.of(unclear))

    def _end(self, work: Work, threads: Mapping[Thread, Another]) -> None:
        """Have all of *threads* end, whatever they wait for, and drop what they still bring."""
        work.end()
        while running := [thread for thread in threads if thread.is_alive()]:
            self._drop_brought()
            running[0].join(ENDING)
            for thread in running:
                if thread.is_alive():
                    threads[thread].cut()
        self._drop_brought()

    def _drop_brought(self) -> None:
        while True:
            try:
                brought = self._brought.get_nowait()
            except Empty:
                return
            if not isinstance(brought, _End):
                self._task.lane.drop([brought])


class Doubtful(Unavailable):
    """Another connection than the first did not bring all. What is gone, and what cannot be had, the first one says."""


def without_doubt(connection: Connection, task: Task, uids: UIDSet) -> Iterator[Arrival]:
    """Yield those of *uids* that come over another connection than the first; at the end, raise Doubtful for the rest.

    A connection that breaks is not made again: that raises Unavailable.
    """
    fetch, doubtful = Fetch(connection, task, trust=0, judging=False), 0
    for arrival in fetch.arrivals(uids):
        if isinstance(arrival, RawMessage | LeftOut):
            yield arrival
        else:
            doubtful += 1
    fetch.finish()
    if doubtful:
        raise Doubtful(f"{connection.what}: {connection.server.host} did not give {doubtful:,} messages")


class Work:
    """The UIDs that are still to be fetched, in ranges that connections take. Safe to use from several threads."""

    def __init__(self, uids: UIDSet, connections: int) -> None:
        size = min(CHUNK, max(LEAST, len(uids) // (TURNS * connections)))
        self._ranges = deque(uids.chunks(size))
        self._unclear = UIDSet()  # for the first connection alone
        self._taken = 0  # ranges that others than the first are at
        self._changed = Condition()
        self.over = False

    @property
    def worth(self) -> bool:
        """Whether there is something for another connection."""
        return not self.over and bool(self._ranges)

    def take(self) -> UIDSet:
        """The next range, for another connection than the first; empty when there is none. Then `give_back` is owed."""
        with self._changed:
            if self.over or not self._ranges:
                return UIDSet()
            self._taken += 1
            return self._ranges.popleft()

    def give_back(self, left: UIDSet, unclear: UIDSet) -> None:
        """What was taken is done, but for what is *left* to whoever takes it, and what is *unclear*."""
        with self._changed:
            self._taken -= 1
            self._unclear |= unclear
            if left:
                self._ranges.appendleft(left)
            self._changed.notify_all()

    def take_last(self) -> UIDSet:
        """The next range, for the first connection, which takes what the others leave; empty when all is done.

        Raises `Closed` when the run is over.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.over or self._ranges or not self._taken)
            if self.over:
                raise Closed
            if self._ranges:
                return self._ranges.popleft()
            unclear, self._unclear = self._unclear, UIDSet()
            return unclear

    def end(self) -> None:
        """Have nothing more be taken."""
        with self._changed:
            self.over = True
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class _Watched:
    """A connection that is not made again once the run is over."""

    connection: Connection
    work: Work

    @property
    def what(self) -> str:
        return self.connection.what

    @property
    def server(self) -> Server:
        return self.connection.server

    def session(self) -> Session:
        if self.work.over:
            raise Closed
        return self.connection.session()

    def drop(self) -> None:
        self.connection.drop()


@dataclass(frozen=True, slots=True)
class _End:
    """Nothing more comes."""

    error: BaseException | None = None
