"""Where the CPU time of a message goes: `python -m bench.budget [--rounds N] [--small N] [--mixed N]`.

The stations of its trip, each alone in this process and in its best round, and what `ingestd once` takes for all of it,
start included. The store discards. What is left over is what stations do to each other: threads, pipes, the ledger, and
two processes that share caches.
"""

from __future__ import annotations

import argparse
import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import thread_time
from typing import TypeVar

from bench import mail, stores
from bench.discard import Discard
from bench.process import adopt, cost
from bench.programs import Task, ingestd
from bench.say import say
from bench.tables import table
from ingestd.demo.dovecot import Dovecot
from ingestd.ingest import BATCH_BYTES, BATCH_COUNT
from ingestd.message import Message, RawMessage
from ingestd.mime.parse import parse
from ingestd.mime.scan import scan
from ingestd.raw import InMemory, Raw
from ingestd.sources.imap import ImapAccount, Server
from ingestd.spool import Spool
from ingestd.steps import step
from ingestd.store import messages
from ingestd.store.database import StoreSettings, connected
from ingestd.store.messages import Terms
from ingestd.workers import Job

EMPTY = "empty"
ACCOUNT = "work"

Batches = Sequence[list[RawMessage]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bench:
    """The servers, and how often each station is measured."""

    server: Dovecot
    behind: str  # the URI of the store that the one that discards asks
    discarding: Discard
    directory: Path
    rounds: int

    def budget(self, mailbox: str) -> dict[str, float]:
        """Microseconds of CPU time of a message, by station."""
        say(f"measuring what a message of the mailbox {mailbox} takes")
        batches = list(_batches(self._fetched(mailbox, _in_memory)))
        count = sum(map(len, batches))
        start, whole = self._program(EMPTY), self._program(mailbox)
        stations = {
            "fetch: IMAP, SHA-256, spool": self._best(lambda: self._fetched(mailbox, bool)),
            "hand over to a worker, and back": self._best(lambda: [_handed(batch) for batch in batches]),
            "parse: find the parts": self._best(lambda: _each(batches, scan)),
            "parse: all the rest": self._best(lambda: _each(batches, parse)),
            "write: documents, BSON, commands": self._written(batches),
        }
        stations["parse: all the rest"] -= stations["parse: find the parts"]
        found = {name: seconds / count * 1e6 for name, seconds in stations.items()}
        left = (whole - start) / count * 1e6 - sum(found.values())
        rest = "ledger, threads, pipes, shared caches"
        return {**found, rest: left, "start, spread over all": start / count * 1e6, "all": whole / count * 1e6}

    def _fetched(self, mailbox: str, keep: Callable[[RawMessage], T]) -> list[T]:
        """Fetch all of *mailbox*, and *keep* something of each message before its bytes are dropped."""
        server = Server("127.0.0.1", self.server.imap_port, "none", mailbox, lambda: self.server.password)
        kept: list[T] = []
        with Spool(self.directory / "spool") as spool, ImapAccount(ACCOUNT, server) as imap:
            inbox = imap.open("INBOX")
            with spool.lane(inbox.abort) as lane:
                for arrival in inbox.fetch(inbox.listed(), lane, epoch=1):
                    assert isinstance(arrival, RawMessage)
                    kept.append(keep(arrival))
                    lane.release([arrival])
        return kept

    def _written(self, batches: Batches) -> float:
        """Store *batches*, which are parsed already."""
        parsed = {id(raw.content): _done(raw, parse) for batch in batches for raw in batch}
        port, discarding = stores.port(self.behind), self.discarding.port
        uri = self.behind.replace(f":{port}/", f":{discarding}/") + "&directConnection=true"

        def look_up(content: Raw) -> Message:
            return parsed[id(content)]

        with connected(StoreSettings(uri)) as database:
            return self._best(lambda: [messages.write(database, each, look_up, Terms(), step) for each in batches])

    def _program(self, user: str) -> float:
        """What the program takes, all its processes together."""
        return median(self._ran(user) for _ in range(self.rounds))

    def _ran(self, user: str) -> float:
        with tempfile.TemporaryDirectory(dir=self.directory) as place:
            task = Task(self.server, user, Path(place), f"budget_{Path(place).name}")
            return cost(ingestd(task, self.behind, self.discarding.port), self.directory / "log").cpu_seconds

    def _best(self, do: Callable[[], object]) -> float:
        return min(_timed(do) for _ in range(self.rounds))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.budget", description="Where the CPU time of a message goes.")
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts (3)")
    parser.add_argument("--small", type=int, default=5000, metavar="N", help="messages of text (5000)")
    parser.add_argument("--mixed", type=int, default=1500, metavar="N", help="messages with attachments (1500)")
    options = parser.parse_args()
    filled = {"small": mail.small_mailbox(options.small), "mixed": mail.mixed_mailbox(options.mixed), EMPTY: iter(())}
    adopt()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench", dir="/var/tmp")))
        directory.chmod(0o711)  # the mail server runs as a user of its own
        server = stack.enter_context(Dovecot(directory / "dovecot", "secret"))
        for name, contents in filled.items():
            say(f"making the mailbox {name}")
            server.deliver(name, "INBOX", mail.dated(contents))
        behind = stack.enter_context(stores.store(directory / "behind"))
        discarding = stack.enter_context(Discard(stores.port(behind)))
        bench = Bench(server, behind, discarding, directory, options.rounds)
        found = {name: bench.budget(name) for name in filled if name != EMPTY}
    rows = ([station, *(f"{found[name][station]:.0f}" for name in found)] for station in found["small"])
    print(table(("µs of CPU time for a message", *found), rows))


def _batches(fetched: Sequence[RawMessage]) -> Iterator[list[RawMessage]]:
    """As the daemon cuts them."""
    batch: list[RawMessage] = []
    size = 0
    for raw in fetched:
        if batch and (len(batch) == BATCH_COUNT or size + raw.content.size_bytes > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(raw)
        size += raw.content.size_bytes
    yield batch


def _in_memory(raw: RawMessage) -> RawMessage:
    return replace(raw, content=InMemory(_done(raw, lambda content: content.read(0, content.size_bytes))))


def _done(raw: RawMessage, do: Callable[[Raw], T]) -> T:
    with raw.content.open() as content:
        return do(content)


def _handed(batch: list[RawMessage]) -> object:
    return pickle.loads(pickle.dumps(Job(tuple(batch), Terms())))


def _each(batches: Batches, do: Callable[[Raw], object]) -> None:
    for batch in batches:
        for raw in batch:
            _done(raw, do)


def _timed(do: Callable[[], object]) -> float:
    began = thread_time()
    do()
    return thread_time() - began


if __name__ == "__main__":
    main()
