"""How long it takes from delivery to the database, by IDLE: `python -m bench.latency [MESSAGES]`.

Delivers messages by LMTP to a private Dovecot while `ingestd run` is at work, some time apart, and asks the database
for each of them again and again. "all" is the time from the moment the LMTP server has taken the message to the answer
that has it. "ours" begins when Dovecot has told another IMAP connection, which waits in the same way: that is what
ingestd can do something about.
"""

from __future__ import annotations

import random
import select
import statistics
import sys
import time
from collections.abc import Iterator, Sequence

from bench.site import Site, site, until
from ingestd.sources.imap import ImapAccount, Server
from ingestd.sources.imap_idle import Idling

MESSAGES = 200
PAUSE = 0.5  # seconds between two messages, on average
LOST = 60.0  # seconds after which one is given up


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else MESSAGES
    with site() as made, made.serving([made.account("bob", "1h")]):
        times = list(measured(made, count))
    for name, each in zip(("all", "ours"), zip(*times, strict=True), strict=True):
        print(f"{name}, {count} messages: {quantiles(each)}")


def quantiles(times: Sequence[float]) -> str:
    cuts = statistics.quantiles(times, n=100)
    told = {"fastest": min(times), "median": cuts[49], "p90": cuts[89], "p99": cuts[98], "slowest": max(times)}
    return ", ".join(f"{name} {1000 * seconds:,.0f} ms" for name, seconds in told.items())


def measured(made: Site, count: int) -> Iterator[tuple[float, float]]:
    """Yield the two times of each message."""
    made.deliver("bob", "first")
    until(lambda: stored(made, "first@example.org"), LOST)
    server = Server("127.0.0.1", made.server.imap_port, "none", "bob", lambda: made.server.password)
    with ImapAccount("bench", server) as imap:
        begun = imap.begin_idle(["INBOX"])
        assert begun is not None
        for number in range(count):
            time.sleep(2 * PAUSE * random.random())
            name = made.deliver("bob", f"bench{number}")
            delivered = time.perf_counter()
            told = heard(begun.idling)
            found = until(lambda expected=name: stored(made, expected), LOST)  # type: ignore[misc]
            yield found - delivered, found - told
        begun.idling.end()


def heard(idling: Idling) -> float:
    """When the server told that there is one more message."""
    while not idling.news():
        select.select([idling.channel.sock], [], [], LOST)
    return time.perf_counter()


def stored(made: Site, name: str) -> bool:
    return made.database.messages.find_one({"message_id": name}, {"_id": 1}) is not None


if __name__ == "__main__":
    main()
