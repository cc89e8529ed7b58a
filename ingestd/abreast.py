"""Serve several mailboxes of an account at the same time, each over a connection of its own.

Where a server is far away, the first look at a mailbox takes some round trips, however little lies in it. Only the word
of the first connection counts, as in a fetch over several (`sources.imap_shared`): what goes wrong with another one is
no fault of the visit, and what it has not served is left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from threading import Lock, Thread

from .errors import IngestError, LeaseLost, StoreUnavailable
from .sources.imap import ImapAccount

WORTH = 4  # mailboxes for each connection: fewer are served sooner than another one is made
STILL_THERE = 60.0  # seconds between two words on a connection that waits for others

Serve = Callable[[ImapAccount, str], object]


class Abreast:
    """One round of *serve* over *mailboxes*; it is called from several threads, each with a connection of its own."""

    def __init__(self, mailboxes: Iterable[str], serve: Serve) -> None:
        self._left, self._serve = deque(mailboxes), serve
        self._others: Sequence[ImapAccount] = ()
        self._opening = Lock()  # one at a time: where one is refused, the next need not try
        self._failure: BaseException | None = None
        self._over = False

    def run(self, imap: ImapAccount) -> None:
        """Serve all mailboxes over *imap* and the connections beside it; return when nothing is under way any more.

        Raises what *serve* raises, but not what another connection than the first is to blame for.
        """
        error: BaseException | None = None
        threads: list[Thread] = []
        with imap.lent() as others:
            self._others = others[: len(self._left) // WORTH]
            try:
                self._start(threads)
                self._serve_all(imap)
                self._wait(threads, imap)
            except BaseException as raised:  # noqa: BLE001 - raised again when the others have ended
                error = raised
                self._cut_short()
            for thread in threads:
                thread.join()
        if self._failure:  # which is worse than what happened to a connection
            raise self._failure from error
        if error:
            raise error

    def _start(self, threads: list[Thread]) -> None:
        with suppress(RuntimeError):  # the memory that a process may have goes for stacks, too
            for other in self._others:
                thread = Thread(target=self._follow, args=(other,), name="mailboxes", daemon=True)
                thread.start()
                threads.append(thread)

    def _follow(self, other: ImapAccount) -> None:
        """Serve mailboxes over *other* for as long as that works."""
        try:
            with self._opening:
                if not self._left:
                    return
                other.session()
            self._serve_all(other)
        except (StoreUnavailable, LeaseLost) as error:
            self._fail(error)
        except IngestError as error:
            if not self._over:
                other.server.meter.failed_beside(error)
        except BaseException as error:  # noqa: BLE001 - raised again by who runs the round
            self._fail(error)

    def _serve_all(self, imap: ImapAccount) -> None:
        while True:
            try:
                mailbox = self._left.popleft()
            except IndexError:
                return
            self._serve(imap, mailbox)

    def _wait(self, threads: Iterable[Thread], imap: ImapAccount) -> None:
        """Wait for *threads*; meanwhile, *imap* has nothing to do, and its server is to know that it is still there."""
        for thread in threads:
            while thread.is_alive():
                thread.join(STILL_THERE)
                if thread.is_alive() and imap.connected:
                    with suppress(IngestError):  # told by whoever makes use of it
                        imap.ask(f"account {imap.name}", b"NOOP")

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._cut_short()

    def _cut_short(self) -> None:
        """Have whatever is under way over other connections end where it is."""
        self._over = True
        self._left.clear()
        for other in self._others:
            other.abort()
