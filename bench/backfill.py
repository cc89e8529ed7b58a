"""One large mailbox over several connections: `python -m bench.backfill [MESSAGES] [MILLISECONDS] [KIB]`.

A private Dovecot, near, and then so far that a round trip takes MILLISECONDS and a connection brings KIB a second;
and `ingestd once` with one to eight connections, each time for a user who has the same small mail. The store keeps the
checkpoints and discards the mail, so that it is the way that is measured. Printed is the time of the pass itself,
without the start of the process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from bench import stores
from bench.discard import Discard
from bench.far import Far
from bench.mail import START, small
from bench.site import Site, site

MESSAGES = 5000
ROUND_TRIP = 40  # milliseconds
RATE = 2048  # KiB a second
CONNECTIONS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class Letter:
    content: bytes
    internal_date: datetime = START
    flags: tuple[str, ...] = ()


def main() -> None:
    given = [int(word) for word in sys.argv[1:]]
    count, milliseconds, rate = [*given, *(MESSAGES, ROUND_TRIP, RATE)[len(given) :]]
    letters = [Letter(content) for content in small(count)]
    size_bytes = sum(len(letter.content) for letter in letters)
    print(f"{count:,} messages, {size_bytes / (1 << 20):.1f} MiB")
    with (
        site() as made,
        Discard(stores.port(made.uri)) as discarding,
        Far(made.server.imap_port, milliseconds / 1000, rate << 10) as far,
    ):
        store = discarded(made, discarding.port)
        for where, port in (("near", made.server.imap_port), (f"{milliseconds} ms, {rate:,} KiB/s", far.port)):
            for connections in CONNECTIONS:
                user = f"{'far' if port == far.port else 'near'}{connections}"
                made.server.deliver(user, "INBOX", letters)
                account = made.account(user, "5m", port, f"fetch_connections = {connections}")
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
    """Have the mail of an account taken in, all *count*; return the seconds that the pass took."""
    done = subprocess.run([*command, "once", "--json"], capture_output=True, text=True, check=True)
    (mailbox,) = _mailboxes(json.loads(done.stdout))
    assert mailbox["stored"] + mailbox["copies"] == count, mailbox
    return float(mailbox["seconds"])


def _mailboxes(said: dict[str, list[dict[str, list[dict[str, float]]]]]) -> Iterator[dict[str, float]]:
    for account in said["accounts"]:
        yield from account["mailboxes"]


if __name__ == "__main__":
    main()
