"""All of it, beside its peers: `make bench`, or `python -m bench [--rounds N] [--small N] [--mixed N] [--out FILE]`.

Whole programs are timed from the outside, one after the other within each round, so that what else the machine does
falls on all of them alike; medians count. Memory is looked at in one more round, since looking takes time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

from pymongo import MongoClient

from bench import mail
from bench.discard import Discard
from bench.process import adopt, cost
from bench.programs import Program, Task, programs
from ingestd.demo.dovecot import Dovecot
from ingestd.demo.mailbox import Sample
from ingestd.store.embedded import embedded

LARGE_BYTES = 60_000_000
EVERY = timedelta(minutes=7)


@dataclass(frozen=True, slots=True)
class Run:
    program: str
    mailbox: str
    messages: int
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int | None


def main(words: Sequence[str]) -> int:
    options = _options().parse_args(words)
    adopt()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench", dir="/var/tmp")))
        directory.chmod(0o755)  # the mail server runs as a user of its own
        server = stack.enter_context(Dovecot(directory / "dovecot", "secret"))
        counts = _filled(server, options.small, options.mixed)
        uri = os.environ.get("INGESTD_BENCH_MONGODB_URI") or stack.enter_context(
            embedded(directory / "store", allow_embedded=True)
        )
        behind = stack.enter_context(embedded(directory / "behind", allow_embedded=True))
        discarding = stack.enter_context(Discard(_port(behind)))
        found = programs(uri, behind, discarding.port)
        runs = list(_rounds(found, server, counts, directory, options.rounds))
        report = {"machine": _machine(uri), "mailboxes": counts, "runs": [asdict(run) for run in runs]}
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(table(runs))
    return 0


def table(runs: Sequence[Run]) -> str:
    """Medians, one row for each program and mailbox, in Markdown."""
    lines = [
        "| mailbox | program | messages/s | CPU seconds of 1,000 messages | peak memory, MB |",
        "|---|---|---|---|---|",
    ]
    for mailbox, program in dict.fromkeys((run.mailbox, run.program) for run in runs):
        ours = [run for run in runs if (run.mailbox, run.program) == (mailbox, program)]
        timed = [run for run in ours if run.peak_bytes is None]
        peaks = [run.peak_bytes for run in ours if run.peak_bytes is not None]
        rate = f"{timed[0].messages / median(run.wall_seconds for run in timed):,.0f}" if timed else ""
        cpu = f"{median(run.cpu_seconds for run in timed) / timed[0].messages * 1000:.2f}" if timed else ""
        peak = f"{max(peaks) / 1e6:.0f}" if peaks else ""
        lines.append(f"| {mailbox} | {program} | {rate} | {cpu} | {peak} |")
    return "\n".join(lines)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="ingestd beside its peers, all of it.")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts (3)")
    parser.add_argument("--small", type=int, default=5000, metavar="N", help="messages of text (5000)")
    parser.add_argument("--mixed", type=int, default=1500, metavar="N", help="messages with attachments (1500)")
    parser.add_argument("--out", type=Path, default=Path("var/bench.json"), metavar="FILE", help="every single run")
    return parser


def _filled(server: Dovecot, small: int, mixed: int) -> dict[str, int]:
    """Fill a mailbox of each kind; return how many messages are in each."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "large.eml")
        mail.write_large(path, LARGE_BYTES)
        contents = {
            "small": mail.small_mailbox(small),
            "mixed": mail.mixed_mailbox(mixed),
            "60 MB": iter([path.read_bytes()]),
        }
        return {name: server.deliver(_user(name), "INBOX", dated(messages)) for name, messages in contents.items()}


def dated(messages: Iterator[bytes]) -> Iterator[Sample]:
    for number, content in enumerate(messages):
        yield Sample(content, mail.START + number * EVERY, ())


def _user(mailbox: str) -> str:
    return mailbox.replace(" ", "").lower()


def _rounds(
    found: Sequence[Program], server: Dovecot, counts: dict[str, int], directory: Path, rounds: int
) -> Iterator[Run]:
    timed = [(mailbox, False) for _ in range(rounds) for mailbox in ("small", "mixed")]
    for number, (mailbox, memory) in enumerate([*timed, ("mixed", True), ("60 MB", True)]):
        for program in found:
            with _task(server, _user(mailbox), directory) as task:
                command = program.command(task)
                spent = cost(command, directory / "log", memory=memory)
                stored = program.stored(task)
            if spent.code or stored not in (None, counts[mailbox]):
                log = (directory / "log").read_text(errors="replace")[-2000:]
                sys.exit(f"{program.name}: exit code {spent.code}, {stored} of {counts[mailbox]} stored\n{log}")
            run = Run(program.name, mailbox, counts[mailbox], spent.wall_seconds, spent.cpu_seconds, spent.peak_bytes)
            _say(number, run)
            yield run


@contextmanager
def _task(server: Dovecot, user: str, directory: Path) -> Iterator[Task]:
    place = directory / "run"
    place.mkdir()
    try:
        yield Task(server, user, place, f"bench_{uuid4().hex[:12]}")
    finally:
        shutil.rmtree(place)


def _say(number: int, run: Run) -> None:
    spent = f"{run.wall_seconds:7.2f} s, CPU {run.cpu_seconds:6.2f} s"
    peak = f", {run.peak_bytes / 1e6:.0f} MB" if run.peak_bytes is not None else ""
    print(f"round {number + 1}: {run.mailbox:6} {run.program:24} {spent}{peak}", file=sys.stderr, flush=True)


def _port(uri: str) -> int:
    with MongoClient[dict[str, Any]](uri) as client:
        client.admin.command("ping")
        assert client.address is not None
        return client.address[1]


def _machine(uri: str) -> dict[str, Any]:
    with MongoClient[dict[str, Any]](uri) as client:
        store = client.server_info().get("version")
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "store": f"{'given by INGESTD_BENCH_MONGODB_URI' if 'INGESTD_BENCH_MONGODB_URI' in os.environ else 'embedded'}"
        f", says {store}",
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
