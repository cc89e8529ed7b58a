"""Whether it gets slower as the store grows: `python -m bench.growth [--sizes N,N] [--rounds N]`.

Beside an empty store there are some that hold much mail already, in databases of the same server. In every round new
mail is taken in to each of them in turn, by the whole program, so that what else the machine does falls on all of them
alike; the median of each counts. Then it polls where nothing is new, and passes again over a large mailbox that it
knows.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

from pymongo import MongoClient

from bench import growth_tables, mail, stores
from bench.fill import fill, seeds
from bench.machine import machine
from bench.process import adopt, cost
from bench.programs import Task, configured
from bench.relay import Relay
from bench.say import say
from bench.servers import Server
from ingestd.demo.dovecot import Dovecot

USER = "desk"
ONCE = ("-q", "--json", "once")
SEEDS = 300  # messages
NEEDED_BYTES = 40_000  # on disk, for each message of a filled store
SIZES = [100_000, 1_000_000]  # messages


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over one mailbox, into a database that held *size* messages."""

    what: str
    size: int
    messages: int
    pass_seconds: float
    wall_seconds: float  # of the whole program
    cpu_seconds: float
    bodies: int | None  # fetched; None where nobody listened
    store_cpu_seconds: float | None  # of the store's own process, where that is on this machine

    @property
    def a_message(self) -> float:
        return self.pass_seconds / max(self.messages, 1)


@dataclass(frozen=True, slots=True)
class Question:
    """What the store was asked during a pass."""

    what: str
    size: int
    command: str
    times: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Bench:
    """Where it is measured: *names* are the databases, by how many messages they held at first."""

    server: Dovecot
    uri: str
    directory: Path
    client: MongoClient[dict[str, Any]]
    names: dict[int, str]

    def fill(self) -> None:
        """Take in some mail, and have as many likenesses of it as each database is to hold."""
        self.server.deliver(USER, "INBOX", mail.dated(mail.seeds(SEEDS)))
        with self.database() as name:
            self.passed("seeds", 0, name, "INBOX")
            found = seeds(self.client[name])
        for size, name in self.names.items():
            fill(self.client[name], found, size)

    def rounds(self, rounds: int, each: int) -> Iterator[Pass]:
        """Take new mail in to each of the databases, and poll them, in turn."""
        for number in range(rounds):
            mailbox = f"Round{number}"
            self._deliver(mailbox, SEEDS + number * each, each)
            with self.database() as empty:
                turns = [(0, empty), *self.names.items()]
                first = number % len(turns)  # each is the first one of a round in its turn
                for what in ("new mail", "poll"):
                    for size, name in turns[first:] + turns[:first]:
                        yield self.passed(what, size, name, mailbox)

    def known(self, first: int, count: int, rounds: int) -> Iterator[Pass]:
        """Pass over a mailbox of *count* messages again: as it is, and as once an hour, when all is looked at."""
        size, name = list(self.names.items())[-1]
        self._deliver("Known", first, count)
        self.server.transcribe(USER)
        yield self.passed("first pass", size, name, "Known")
        for _ in range(rounds):
            yield self.passed("second pass", size, name, "Known")
            self.client[name].mailboxes.update_many({}, {"$set": {"looked": None}})
            yield self.passed("hourly look", size, name, "Known")

    def asked(self, first: int, count: int) -> Iterator[Question]:
        """What the store is asked for new mail and for a poll, and how long it takes over that."""
        port = stores.local_port(self.uri)
        if port is None or not stores.is_plain(self.uri):
            say("what the store is asked is not told: it is on another machine, or by TLS")
            return
        self._deliver("Asked", first, count)
        with self.database() as empty, Relay(port) as relay:
            for what in ("new mail", "poll"):
                for size, name in {0: empty, **self.names}.items():
                    relay.asked.clear()
                    self.passed(what, size, name, "Asked", relay.port)
                    for command, asked in sorted(relay.asked.items()):
                        yield Question(what, size, command, asked.times, asked.seconds)

    def _deliver(self, mailbox: str, first: int, count: int) -> None:
        """Have as many messages there that lie nowhere else."""
        self.server.deliver(USER, mailbox, islice(mail.dated(mail.small(first + count)), first, None))

    def passed(self, what: str, size: int, database: str, mailbox: str, port: int | None = None) -> Pass:
        """Run `ingestd once` for one mailbox; through *port*, if that is given, to whatever answers there."""
        say(f"{what:12} {size:>9,} there: ", end="")
        before = self._bodies()
        with self._place() as place:
            config = configured(Task(self.server, USER, place, database), self.uri, port, ["*"])
            command = [sys.executable, "-m", "ingestd", "--config", str(config), *ONCE, f"work/{mailbox}"]
            with Server.listening(stores.local_port(self.uri)).spending() as store:
                spent = cost(command, self.directory / "log")
        said = (self.directory / "log").read_text(errors="replace")
        if spent.code:
            sys.exit(f"{' '.join(command)}: exit code {spent.code}\n{said[-2000:]}")
        (summary,) = json.loads(said.splitlines()[-1])["accounts"][0]["mailboxes"]
        done = Pass(
            what,
            size,
            summary["stored"] + summary["copies"] or summary["known_before"],
            summary["seconds"],
            spent.wall_seconds,
            spent.cpu_seconds,
            self._bodies() - before if self.server.transcript(USER) else None,
            store[0] if store else None,
        )
        say(
            f"{done.messages:6,} messages in {done.pass_seconds:7.3f} s, {1e3 * done.a_message:.3f} ms each;"
            f" whole program {done.wall_seconds:.2f} s"
        )
        return done

    @contextmanager
    def database(self) -> Iterator[str]:
        """A name that was never used; dropped afterwards."""
        name = f"bench_{uuid4().hex[:12]}"
        try:
            yield name
        finally:
            self.client.drop_database(name)

    @contextmanager
    def _place(self) -> Iterator[Path]:
        place = self.directory / "run"
        place.mkdir()
        try:
            yield place
        finally:
            shutil.rmtree(place)

    def _bodies(self) -> int:
        return self.server.transcript(USER).count(b"BODY")


def main(words: Sequence[str]) -> int:
    options = _options().parse_args(words)
    adopt()
    with ExitStack() as stack:
        bench = stack.enter_context(made(options.sizes, Path(options.directory)))
        say(f"store: {stores.described(bench.uri)}")
        about = machine(stores.described(bench.uri))
        bench.fill()
        found = {"machine": about, **measured(bench, options.rounds, options.each, options.known)}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(found, indent=1) + "\n")
        print(growth_tables.passes(found["passes"]), flush=True)
        say("stopping the servers, and removing what was made")
    return 0


def measured(bench: Bench, rounds: int, each: int, known: int) -> dict[str, Any]:
    """All of it, as is kept in JSON."""
    after = SEEDS + rounds * each
    passes = [*bench.rounds(rounds, each), *bench.known(after, known, rounds)]
    questions = bench.asked(after + known, each)
    return {
        "passes": list(map(asdict, passes)),
        "asked": list(map(asdict, questions)),
        "stored": {size: sizes(bench.client, name) for size, name in bench.names.items()},
    }


@contextmanager
def made(sizes: Sequence[int], directory: Path) -> Iterator[Bench]:
    """Start a mail server and a store; leave nothing behind."""
    needed, free = NEEDED_BYTES * sum(sizes), shutil.disk_usage(directory).free
    if stores.NAMED not in os.environ and free < needed:
        sys.exit(f"{directory} has {free / 1e9:.0f} GB, {needed / 1e9:.0f} are needed: --sizes, or --directory")
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench", dir=directory)))
        place.chmod(0o755)  # the mail server runs as a user of its own
        server = stack.enter_context(Dovecot(place / "dovecot", "secret"))
        uri = stack.enter_context(stores.store(place / "store"))
        client = stack.enter_context(stores.client(uri))
        names = {size: f"bench_{uuid4().hex[:12]}" for size in sizes}
        if stores.NAMED in os.environ:  # an embedded one goes as a whole
            for name in names.values():
                stack.callback(client.drop_database, name)
        yield Bench(server, uri, place, client, names)


def sizes(client: MongoClient[dict[str, Any]], name: str) -> dict[str, Any]:
    """What the store says of each collection; the embedded one counts them, for minutes if need be."""
    say(f"asking the store how large all is in {name}")
    stats = {each: client[name].command("collStats", each) for each in sorted(client[name].list_collection_names())}
    facts = ("count", "size", "storageSize", "indexSizes")
    return {each: {fact: said[fact] for fact in facts} for each, said in stats.items() if said.get("count")}


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.growth",
        description="Whether ingestd gets slower as the store grows. By default an hour and up to 40 GB of disk.",
        epilog=f"{stores.NAMED} names a MongoDB to measure with instead of an embedded store; its databases bench_* are"
        " made and dropped again.",
    )
    parser.add_argument("--sizes", type=_sizes, default=SIZES, metavar="N,N", help="messages there (100000,1000000)")
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts (5)")
    parser.add_argument("--each", type=int, default=2000, metavar="N", help="new messages of a round (2000)")
    parser.add_argument("--known", type=int, default=20_000, metavar="N", help="messages passed over again (20000)")
    parser.add_argument("--directory", default="/var/tmp", metavar="DIR", help="for the servers (/var/tmp)")
    parser.add_argument("--out", type=Path, default=Path("var/growth.json"), metavar="FILE", help="every single pass")
    return parser


def _sizes(text: str) -> list[int]:
    sizes = sorted({int(each) for each in text.split(",")})
    if sizes[0] < 1:
        raise argparse.ArgumentTypeError("an empty store is measured anyway; name some that hold mail")
    return sizes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
