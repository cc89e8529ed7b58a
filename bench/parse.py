"""Parsing alone, against the parsers that Python programs use: `python -m bench.parse [ROUNDS]`.

Each gets the same bytes and has to come to the same: every header decoded, every text and attachment decoded. All take
turns within a round, and the best round of each counts. Memory is that of a process which parses one message of 60 MB.
"""

from __future__ import annotations

import email
import email.policy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from email.message import Message
from pathlib import Path
from time import process_time

import mailparser

from bench import mail
from ingestd.mime.parse import parse
from ingestd.raw import InMemory, OnDisk

SMALL, MIXED = 1000, 400  # messages
LARGE_BYTES = 60_000_000
ROUNDS = 3


def ingestd(data: bytes) -> None:
    assert parse(InMemory(data)).parse.status == "ok"


def mail_parser(data: bytes) -> None:
    found = mailparser.parse_from_bytes(data)
    assert found.mail
    assert found.attachments is not None


def compat32(data: bytes) -> None:
    _read(email.message_from_bytes(data))


def default_policy(data: bytes) -> None:
    _read(email.message_from_bytes(data, policy=email.policy.default))


PARSERS: dict[str, Callable[[bytes], None]] = {
    "ingestd": ingestd,
    "mail-parser": mail_parser,
    "stdlib compat32": compat32,
    "stdlib default policy": default_policy,
}


def _read(message: Message) -> None:
    for part in message.walk():
        for _, value in part.items():
            str(value)
        if not part.is_multipart():
            part.get_payload(decode=True)


def seconds(mails: Sequence[bytes], rounds: int) -> dict[str, float]:
    """Return the CPU seconds of the best round of every parser."""
    best = dict.fromkeys(PARSERS, float("inf"))
    for _ in range(rounds):
        for name, read in PARSERS.items():
            started = process_time()
            for data in mails:
                read(data)
            best[name] = min(best[name], process_time() - started)
    return best


def memory(name: str, path: Path) -> int:
    """Return by how many bytes a process grows at most while it parses the message at *path*."""
    command = [sys.executable, "-m", "bench.parse", "--memory", name, str(path)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout)


def _grown(name: str, path: Path) -> int:
    PARSERS[name](next(mail.small(1)))
    before = _peak()
    if name == "ingestd":
        with OnDisk(path, path.stat().st_size).open() as raw:
            assert parse(raw).parse.status == "ok"
    else:
        PARSERS[name](path.read_bytes())
    return _peak() - before


def _peak() -> int:
    """Bytes of memory in use at the highest point; not ru_maxrss, which a process inherits from the one before it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def main(rounds: int) -> None:
    small, mixed = list(mail.small(SMALL)), list(mail.mixed(MIXED))
    mixed_mb = sum(map(len, mixed)) / 1e6
    small_seconds, mixed_seconds = seconds(small, rounds), seconds(mixed, rounds)
    print(f"small: {SMALL:,} messages, {sum(map(len, small)) / 1e6:.1f} MB; mixed: {MIXED:,}, {mixed_mb:.1f} MB\n")
    print("| | small, messages/s | mixed, messages/s | mixed, MB/s | 60 MB message, MB of memory |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "large.eml")
        mail.write_large(path, LARGE_BYTES)
        for name in PARSERS:
            row = [f"{SMALL / small_seconds[name]:,.0f}", f"{MIXED / mixed_seconds[name]:,.0f}"]
            row += [f"{mixed_mb / mixed_seconds[name]:.0f}", f"{memory(name, path) / 1e6:.1f}"]
            print(f"| {name} | {' | '.join(row)} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        print(_grown(sys.argv[2], Path(sys.argv[3])))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else ROUNDS)
