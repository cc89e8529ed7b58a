"""Hold messages between the mailbox and the store, within a byte budget that all mailboxes share.

A mailbox is read ahead on a thread of its own, so that network and database work at the same time. When the budget is
spent, reading ahead pauses: the mail stays on its server, which is the only durable queue ingestd needs. So nothing
here survives a crash, and nothing has to: the spool directory is locked and emptied at start.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Condition, Thread
from time import monotonic, sleep
from types import TracebackType
from typing import Self

from .errors import Refused, Unavailable
from .message import Arrival, Kept, RawMessage
from .raw import Content, InMemory, OnDisk
from .steps import step

IN_MEMORY = 1 << 20  # bytes; a larger message goes to a file
AHEAD = 5000  # messages of a lane that wait; what is known of each takes memory, too, with bytes or without
SUFFIX = ".spooled"  # of our files, so that nobody else's are emptied away
ANOTHERS_END = 1.0  # seconds that whoever has the directory is given to end
LINGER = 1.0  # seconds a batch waits for more before it goes as it is


@dataclass(slots=True)
class Use:
    """Bytes held, in memory and on disk."""

    memory: int = 0
    disk: int = 0

    def add(self, memory: int, disk: int) -> None:
        self.memory += memory
        self.disk += disk


class Spool:
    """The budget, and the directory for what is too large for memory. One daemon a directory."""

    def __init__(self, directory: Path, memory_bytes: int = 64 << 20, disk_bytes: int = 2 << 30) -> None:
        self.directory, self.memory_bytes, self.disk_bytes = directory, memory_bytes, disk_bytes
        self.used = Use()
        self.changed = Condition()
        self.stopped = False
        self.moved_at = monotonic()  # when bytes last came in
        self._lock: int | None = None

    def __enter__(self) -> Self:
        """Take the directory and empty it; raise Refused when another process has it or it cannot be used."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.directory.stat().st_mode & 0o077:
                raise Refused(
                    f"spool {self.directory}: others may look into it; run: chmod 700 {self.directory},"
                    " or set daemon.spool_dir"
                )
            self._lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            _lock(self._lock)
            for leftover in self.directory.glob(f"*{SUFFIX}"):
                leftover.unlink()
        except BlockingIOError as error:
            self.__exit__()
            raise Refused(
                f"spool {self.directory}: another ingestd uses it; stop that one or set daemon.spool_dir"
            ) from error
        except OSError as error:
            self.__exit__()
            raise Refused(f"spool {self.directory}: {error.strerror}; set daemon.spool_dir") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def stop(self) -> None:
        """End every lane: what was read ahead and not yet taken is dropped, and nothing more is read."""
        with self.changed:
            self.stopped = True
            self.changed.notify_all()

    @contextmanager
    def lane(self, abort: Callable[[], None] | None = None) -> Iterator[Lane]:
        """Give one mailbox its share; whatever it still holds at the end is dropped.

        *abort* is called, from the thread that ends the block, when reading ahead has to be cut short.
        """
        lane = Lane(self, abort)
        try:
            yield lane
        finally:
            lane.close()


class Lane:
    """One mailbox's share of the spool: written by the threads that fetch, read by the one that stores."""

    def __init__(self, spool: Spool, abort: Callable[[], None] | None = None) -> None:
        self._spool, self._abort = spool, abort
        self._changed = spool.changed
        self._held = Use()
        self._files: set[Path] = set()
        self._waiting: deque[Arrival] = deque()
        self._reader: Thread | None = None
        self._error: BaseException | None = None
        self._blocked = 0  # threads that wait for room
        self._taken = 0  # arrivals that the storing side has, and will release
        self._finished = self._closed = False

    @property
    def ended(self) -> bool:
        """Whether nobody will take what is read from here on."""
        return self._closed or self._spool.stopped

    # --- the fetching side

    @property
    def largest(self) -> int:
        """The bytes of the largest message that the spool can take at all."""
        return self._spool.disk_bytes

    def reserve(self, size_bytes: int, *, block: bool = True) -> Writer | None:
        """Return a place for a message of about *size_bytes*, as soon as the budget admits it.

        Without *block*, return None rather than wait. A lane that holds nothing is always admitted, so a message larger
        than the budget passes, and no mailbox starves another. Raises `Closed` when nobody reads this lane any more.
        """
        memory, disk = (size_bytes, 0) if size_bytes <= IN_MEMORY else (0, size_bytes)
        with self._changed:
            if not block and not self._admits(memory, disk):
                return None
            self._blocked += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.ended or self._admits(memory, disk))
            self._blocked -= 1
            if self.ended:
                raise Closed
            self._take(memory, disk)
        return Writer(self, memory, disk)

    def drop(self, arrivals: Iterable[Arrival]) -> None:
        """Forget the bytes of *arrivals*, which nobody was given."""
        for arrival in arrivals:
            if isinstance(arrival, RawMessage):
                self._drop(arrival.content)

    def _admits(self, memory: int, disk: int) -> bool:
        used, held, spool = self._spool.used, self._held, self._spool
        fits = used.memory + memory <= spool.memory_bytes and used.disk + disk <= spool.disk_bytes
        return fits or (not held.memory and not held.disk)

    def _take(self, memory: int, disk: int) -> None:
        self._held.add(memory, disk)
        self._spool.used.add(memory, disk)
        self._changed.notify_all()

    def _give_back(self, memory: int, disk: int) -> None:
        with self._changed:
            self._take(-memory, -disk)

    # --- the storing side

    def batches(
        self, arrivals: Callable[[Lane], Iterable[Arrival]], size_bytes: int, count: int
    ) -> Iterator[list[Arrival]]:
        """Read *arrivals* ahead and yield them in order, in batches of at most *count* and about *size_bytes*.

        An empty batch means that reading ahead waits for room: finish what you hold and `release` it. There is none
        while you hold nothing. An error of the reader is raised here, after everything it gave before.
        """
        self._reader = Thread(target=self._fill, args=(arrivals,), name="read-ahead", daemon=True)
        self._reader.start()
        while (batch := self._next(size_bytes, count)) is not None:
            yield batch
        if self._error:
            raise self._error

    def release(self, arrivals: Iterable[Arrival]) -> None:
        """Drop the bytes of *arrivals*, which are stored or given up."""
        released = list(arrivals)
        self.drop(released)
        with self._changed:
            self._taken -= len(released)

    def close(self) -> None:
        """Stop reading ahead and drop everything. Returns when the reader has ended."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._reader:
            if self._abort and not self._finished:
                self._abort()
            self._reader.join()
        self._waiting.clear()
        for path in self._files:
            path.unlink(missing_ok=True)
        self._give_back(self._held.memory, self._held.disk)

    def _fill(self, arrivals: Callable[[Lane], Iterable[Arrival]]) -> None:
        try:
            for arrival in arrivals(self):
                with self._changed:
                    self._waiting.append(arrival)
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self.ended or len(self._waiting) < AHEAD)
                    if self.ended:
                        return
        except Closed:
            return
        except BaseException as error:  # noqa: BLE001 - carried over to the storing side, which raises it
            self._error = error
        finally:
            with self._changed:
                self._finished = True
                self._changed.notify_all()

    def _next(self, size_bytes: int, count: int) -> list[Arrival] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._settled)
            self._changed.wait_for(lambda: self._enough(size_bytes, count), timeout=LINGER)
            if self.ended or (self._finished and not self._waiting):
                return None
            batch: list[Arrival] = []
            taken = 0
            while self._waiting and len(batch) < count and (not batch or taken < size_bytes):
                taken += _size(self._waiting[0])
                if batch and taken > size_bytes:
                    break
                batch.append(self._waiting.popleft())
            self._taken += len(batch)
            if batch:
                self._changed.notify_all()
            return batch

    @property
    def _settled(self) -> bool:
        # Who waits for room while the storing side holds nothing waits for another that fetches: that one will bring.
        return self._finished or self.ended or (self._blocked > 0 and self._taken > 0)

    def _enough(self, size_bytes: int, count: int) -> bool:
        if self._settled or self._blocked:
            return True
        return len(self._waiting) >= count or sum(map(_size, self._waiting)) >= size_bytes

    def _drop(self, content: Content) -> None:
        if isinstance(content, Kept):
            return
        if isinstance(content, OnDisk):
            content.path.unlink(missing_ok=True)
            self._files.discard(content.path)
            self._give_back(0, content.size_bytes)
        else:
            self._give_back(content.size_bytes, 0)


class Closed(Exception):
    """Nobody reads this lane any more."""


class Writer:
    """Where the bytes of one message go as they arrive: to memory, or to a file from 1 MiB on.

    A smaller one that is larger than announced goes to a file, too, when the memory is spent.

    End it with `keep` or `discard`; until then the reservation stands.
    """

    def __init__(self, lane: Lane, memory: int, disk: int) -> None:
        self._lane, self._memory, self._disk = lane, memory, disk
        self._pieces: list[bytes] = []
        self._file: int | None = None
        self._path: Path | None = None
        self._digest = sha256()
        self.size_bytes = 0

    def write(self, piece: bytes | memoryview) -> None:
        """Add *piece*; raise Unavailable when the disk is full."""
        self._digest.update(piece)
        self.size_bytes += len(piece)
        self._lane._spool.moved_at = monotonic()
        step("literal")
        if self._file is None and self.size_bytes <= IN_MEMORY and self._fits():
            self._charge(self.size_bytes, 0)
            self._pieces.append(bytes(piece))
            return
        self._charge(0, self.size_bytes)
        try:
            if self._file is None:
                self._spill()
            self._to_file(piece)
        except OSError as error:
            raise Unavailable(
                f"spool {self._lane._spool.directory}: {error.strerror}; free some space there"
            ) from error

    def keep(self) -> tuple[Content, str]:
        """Return the content and its SHA-256. The reservation becomes its true size, until it is released."""
        content: Content
        if self._file is None:
            content, now = InMemory(b"".join(self._pieces)), (self.size_bytes, 0)
        else:
            assert self._path is not None
            os.close(self._file)
            self._lane._files.add(self._path)
            content, now = OnDisk(self._path, self.size_bytes), (0, self.size_bytes)
        with self._lane._changed:
            self._lane._take(now[0] - self._memory, now[1] - self._disk)
        step("spooled")
        return content, self._digest.hexdigest()

    def discard(self) -> None:
        """Forget the bytes and give the reservation back."""
        if self._file is not None:
            assert self._path is not None
            os.close(self._file)
            self._path.unlink(missing_ok=True)
        self._lane._give_back(self._memory, self._disk)

    def _fits(self) -> bool:
        """Whether there is room in memory for what was not announced."""
        spool, more = self._lane._spool, self.size_bytes - self._memory
        return more <= 0 or spool.used.memory + more <= spool.memory_bytes

    def _charge(self, memory: int, disk: int) -> None:
        """Have what the message takes counted, when it is larger than was announced."""
        memory, disk = max(memory, self._memory), max(disk, self._disk)
        if (memory, disk) != (self._memory, self._disk):
            with self._lane._changed:
                self._lane._take(memory - self._memory, disk - self._disk)
            self._memory, self._disk = memory, disk

    def _spill(self) -> None:
        self._file, name = tempfile.mkstemp(suffix=SUFFIX, dir=self._lane._spool.directory)  # 0600
        self._path = Path(name)
        for piece in self._pieces:
            self._to_file(piece)
        self._pieces.clear()

    def _to_file(self, piece: bytes | memoryview) -> None:
        assert self._file is not None
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(self._file, rest) :]


def _lock(descriptor: int) -> None:
    """Lock the file at once, or nearly: a killed process may leave it to a child that was to become another program."""
    deadline = monotonic() + ANOTHERS_END
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if monotonic() >= deadline:
                raise
        sleep(ANOTHERS_END / 20)


def _size(arrival: Arrival) -> int:
    return arrival.content.size_bytes if isinstance(arrival, RawMessage) and arrival.fetched else 0
