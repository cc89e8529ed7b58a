"""All of it, beside its peers: `make bench`, or `python -m bench [--rounds N] [--only NAME] [--publish]`.

Whole programs are timed from the outside, one after the other within each round, so that what else the machine does
falls on all of them alike; medians count. Memory is looked at in one more round, since looking takes time. After each
run, and outside of its time, what it stored is held against what lies on the server.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench import growth, mail, publish, stores, tables
from bench.discard import Discard
from bench.inventory import Inventory
from bench.machine import machine
from bench.process import adopt, cost
from bench.programs import Program, Task, ingestd, programs
from bench.say import say
from bench.servers import Server
from bench.sizes import sizes
from ingestd.demo.dovecot import Dovecot
from ingestd.store.embedded import embedded


@dataclass(frozen=True, slots=True)
class Run:
    program: str
    mailbox: str
    messages: int
    wall_seconds: float
    cpu_seconds: float  # of all processes of the program
    peak_bytes: int | None
    mail_server_cpu_seconds: float | None
    store_cpu_seconds: float | None
    checked_by: str  # that all is stored, and once


def main(words: Sequence[str]) -> int:
    options = _options().parse_args(words)
    adopt()
    found = measured(options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(tables.programs(found["runs"]))
    if options.publish:
        growth.main([])
        publish.main([str(options.out), str(publish.GROWTH)])
    return 0


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """All of it, as is kept in JSON. Leaves nothing behind."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench", dir="/var/tmp")))
        directory.chmod(0o755)  # the mail server runs as a user of its own
        server = stack.enter_context(Dovecot(directory / "dovecot", "secret"))
        filled = _filled(server, options)
        uri = stack.enter_context(stores.store(directory / "store"))
        about = machine(stores.described(uri))
        behind = stack.enter_context(embedded(directory / "behind", allow_embedded=True))
        discarding = stack.enter_context(Discard(stores.port(behind)))
        found = [each for each in programs(uri, behind, discarding) if each.name.startswith(options.only)]
        runs = list(_rounds(found, server, filled, directory, options.rounds))
        stored = {name: _stored(server, name, directory, uri) for name in ("small", "mixed")}
    return {
        "machine": about,
        "mailboxes": {name: _described(each) for name, each in filled.items()},
        "runs": [asdict(run) for run in runs],
        "stored": stored,
    }


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="ingestd beside its peers: wall time, CPU time, memory, and whether all is stored. Ten minutes.",
        epilog=f"{stores.NAMED} names a MongoDB to measure with instead of an embedded store. Peers take part where"
        " they are installed: mbsync (package isync), node-imap (npm install in bench/peers). More of the kind:"
        " python -m bench.growth, bench.latency, bench.scale, bench.parse.",
    )
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts (3)")
    parser.add_argument("--small", type=int, default=5000, metavar="N", help="messages of text (5000)")
    parser.add_argument("--mixed", type=int, default=1500, metavar="N", help="messages with attachments (1500)")
    parser.add_argument(
        "--large", type=int, default=60_000_000, metavar="BYTES", help="of one large message (60000000)"
    )
    parser.add_argument("--only", default="", metavar="NAME", help="programs that are called like that, as ingestd")
    parser.add_argument("--out", type=Path, default=publish.BENCH, metavar="FILE", help="every single run")
    parser.add_argument(
        "--publish",
        action="store_true",
        help="then measure the growth too, an hour and 40 GB, and write all of it into docs/performance.*",
    )
    return parser


def _filled(server: Dovecot, options: argparse.Namespace) -> dict[str, Inventory]:
    """Fill a mailbox of each kind; return what is in each."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "large.eml")
        mail.write_large(path, options.large)
        contents = {
            "small": mail.small_mailbox(options.small),
            "mixed": mail.mixed_mailbox(options.mixed),
            "one large": iter([path.read_bytes()]),
        }
        return {name: _delivered(server, name, messages) for name, messages in contents.items()}


def _delivered(server: Dovecot, name: str, messages: Iterator[bytes]) -> Inventory:
    say(f"making the mailbox {name}")
    inventory = Inventory()
    server.deliver(_user(name), "INBOX", mail.dated(inventory.noting(messages)))
    return inventory


def _user(mailbox: str) -> str:
    return mailbox.replace(" ", "").lower()


def _described(inventory: Inventory) -> dict[str, int]:
    return {"messages": inventory.digests.total(), "bytes": inventory.size_bytes}


def _rounds(
    found: Sequence[Program], server: Dovecot, filled: Mapping[str, Inventory], directory: Path, rounds: int
) -> Iterator[Run]:
    timed = [(mailbox, False) for _ in range(rounds) for mailbox in ("small", "mixed")]
    for number, (mailbox, memory) in enumerate([*timed, ("mixed", True), ("one large", True)]):
        for program in found:
            say(f"round {number + 1}: {mailbox:9} {program.name:24} ", end="")
            with _task(server, _user(mailbox), directory) as task:
                run = _run(program, task, mailbox, filled[mailbox], memory=memory)
            say(_spent(run))
            yield run


def _run(program: Program, task: Task, mailbox: str, there: Inventory, *, memory: bool) -> Run:
    """Run *program* once; exit, saying what went wrong, when it did not bring all that is *there*."""
    command, log = program.command(task), task.directory.with_name("log")
    with Server.mail(task.server).spending() as mail_server, program.store().spending() as store:
        spent = cost(command, log, memory=memory)
    kept = program.kept(task)
    if spent.code or (wrong := kept.wrong(there)):
        said = log.read_text(errors="replace")[-2000:]
        sys.exit(f"{program.name}, {mailbox}: exit code {spent.code}{'' if spent.code else f'; {wrong}'}\n{said}")
    return Run(
        program.name,
        mailbox,
        there.digests.total(),
        spent.wall_seconds,
        spent.cpu_seconds,
        spent.peak_bytes,
        mail_server[0] if mail_server else None,
        store[0] if store else None,
        kept.by,
    )


def _stored(server: Dovecot, mailbox: str, directory: Path, uri: str) -> dict[str, Any]:
    """What the store has of a mailbox, and how large it is."""
    say(f"reading how large all is that is stored of {mailbox}")
    with _task(server, _user(mailbox), directory) as task, stores.client(uri) as client:
        try:
            cost(ingestd(task, uri), directory / "log")
            return sizes(client[task.database])
        finally:
            client.drop_database(task.database)


@contextmanager
def _task(server: Dovecot, user: str, directory: Path) -> Iterator[Task]:
    place = directory / "run"
    place.mkdir()
    try:
        yield Task(server, user, place, f"bench_{uuid4().hex[:12]}")
    finally:
        shutil.rmtree(place)


def _spent(run: Run) -> str:
    peak = f", {run.peak_bytes / 1e6:.0f} MB" if run.peak_bytes is not None else ""
    return f"{run.wall_seconds:7.2f} s, CPU {run.cpu_seconds:6.2f} s{peak}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
