"""An account over several connections: `python -m bench.backfill [MESSAGES] [MILLISECONDS] [KIB] [MAILBOXES]`.

A private Dovecot, near, and then so far that a round trip takes MILLISECONDS and a connection brings KIB a second;
and `ingestd once` with one to eight connections, each time for a user who has the same small mail, in one mailbox or
evenly in MAILBOXES. The store keeps the checkpoints and discards the mail, so that it is the way that is measured.
Printed is the time of the whole program.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from urllib.parse import urlsplit

from bench import stores
from bench.discard import Discard
from bench.far import Far
from bench.mail import START, small
from bench.site import Site, site

MESSAGES = 5000
ROUND_TRIP = 40  # milliseconds
RATE = 2048  # KiB a second
MAILBOXES = 1
CONNECTIONS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class Letter:
    content: bytes
    internal_date: datetime = START
    flags: tuple[str, ...] = ()


def main() -> None:
    given = [int(word) for word in sys.argv[1:]]
    count, milliseconds, rate, mailboxes = [*given, *(MESSAGES, ROUND_TRIP, RATE, MAILBOXES)[len(given) :]]
    letters = [Letter(content) for content in small(count)]
    size_bytes = sum(len(letter.content) for letter in letters)
    print(f"{count:,} messages, {size_bytes / (1 << 20):.1f} MiB, in {mailboxes:,} mailbox(es)")
    with (
        site() as made,
        Discard(stores.port(made.uri)) as discarding,
        Far(made.server.imap_port, milliseconds / 1000, rate << 10) as far,
    ):
        store = discarded(made, discarding.port)
        for where, port in (("near", made.server.imap_port), (f"{milliseconds} ms, {rate:,} KiB/s", far.port)):
            for connections in CONNECTIONS:
                user = f"{'far' if port == far.port else 'near'}{connections}"
                for number in range(mailboxes):
                    made.server.deliver(user, f"box {number}" if number else "INBOX", letters[number::mailboxes])
                keys = f'mailboxes = ["*"]\nfetch_connections = {connections}'
                account = made.account(user, "5m", port, keys)
                seconds = taken_in(made.configured([account], store), count)
                rate_of = f"{count / seconds:,.0f} messages/s"
                print(f"{where}: {connections} connections: {seconds:.1f} s, {rate_of}", flush=True)


def discarded(made: Site, port: int) -> str:
    """The table of a store on *port*, in front of that of *made*."""
    store = urlsplit(made.uri)
    secret = made.directory / "store-secret"
    secret.touch(mode=0o600)
    secret.write_text(store.password or "")
    uri = f"mongodb://{store.username}@127.0.0.1:{port}/backfill?directConnection=true&authSource=admin"
    return f'uri = "{uri}"\ntls = "none"\npassword = {{ file = "store-secret" }}'


def taken_in(command: list[str], count: int) -> float:
    """Have the mail of an account taken in, all *count*; return the seconds that it took."""
    began = monotonic()
    done = subprocess.run([*command, "once", "--json"], capture_output=True, text=True, check=True)
    seconds = monotonic() - began
    (account,) = json.loads(done.stdout)["accounts"]
    taken = sum(mailbox["stored"] + mailbox["copies"] for mailbox in account["mailboxes"])
    assert taken == count, account
    return seconds


if __name__ == "__main__":
    main()
