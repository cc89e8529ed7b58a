"""Many accounts on one daemon: `python -m bench.scale [ACCOUNTS] [SECONDS]`.

Gives each user of a private Dovecot some mail, starts `ingestd run` for all of them and for one more account whose
server takes connections and never says a word, and measures: the first pass over all; what the daemon needs while
nothing happens (threads, memory and sockets of its main process, CPU time of all its processes); and how late mail of
some of them is, with that black hole beside them.
"""

from __future__ import annotations

import socket
import statistics
import sys
import time
from collections.abc import Sequence

import psutil

from bench.latency import quantiles
from bench.site import Site, site, until
from ingestd.demo.mailbox import messages

ACCOUNTS = 200
SECONDS = 300.0  # of doing nothing
EACH = 5  # messages of an account
DELIVERED = 50  # messages, each to another account
PATIENCE = 120.0


def main() -> None:
    accounts = int(sys.argv[1]) if len(sys.argv) > 1 else ACCOUNTS
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    names = [f"user{number:04}" for number in range(accounts)]
    with site() as made, socket.create_server(("127.0.0.1", 0)) as hole:
        for name in names:
            made.server.deliver(name, "INBOX", messages(EACH))
        tables = [made.account(name, "5m") for name in names]
        tables.append(made.account("hole", "1s", hole.getsockname()[1]))
        alone(made)
        began = time.perf_counter()
        with made.serving(tables) as process:
            daemon = psutil.Process(process.pid)
            first_pass(made, daemon, accounts, began)
            idle(daemon, seconds, made.server.imaps_port)
            late(made, names)
            began = time.perf_counter()
        print(f"stopped in {time.perf_counter() - began:.1f} s")


def alone(made: Site) -> None:
    """What one account needs."""
    with made.serving([made.account("nobody", "5m")]) as process:
        daemon, port = psutil.Process(process.pid), made.server.imaps_port
        until(lambda: sockets(daemon, port), PATIENCE, pause=0.1)
        time.sleep(2)
        print(f"with one account: {needs(daemon, port)}")


def first_pass(made: Site, daemon: psutil.Process, accounts: int, began: float) -> None:
    before = cpu(daemon)
    expected = accounts * EACH
    until(lambda: made.database.placements.count_documents({"state": "stored"}) >= expected, PATIENCE, pause=0.2)
    until(lambda: made.database.mailboxes.count_documents({"last_pass": {"$ne": None}}) > accounts, PATIENCE, pause=0.2)
    took = time.perf_counter() - began
    print(f"first pass: {accounts} accounts, {expected} messages in {took:.1f} s, {cpu(daemon) - before:.1f} s of CPU")


def idle(daemon: psutil.Process, seconds: float, port: int) -> None:
    time.sleep(5)
    before, began = cpu(daemon), time.perf_counter()
    time.sleep(seconds)
    share = (cpu(daemon) - before) / (time.perf_counter() - began)
    print(f"idle for {seconds:.0f} s: {100 * share:.2f} % of a CPU; {needs(daemon, port)}")


def late(made: Site, names: Sequence[str]) -> None:
    """Deliver to one after the other; tell how long it took."""
    times = []
    for name in names[:: max(1, len(names) // DELIVERED)][:DELIVERED]:
        named = made.deliver(name, f"late-{name}")
        began = time.perf_counter()
        wanted = {"message_id": named}
        times.append(until(lambda query=wanted: made.database.messages.find_one(query), PATIENCE) - began)  # type: ignore[misc]
    print(f"beside the black hole, {len(times)} messages: {quantiles(times)}; mean {statistics.mean(times):.3f} s")


def needs(daemon: psutil.Process, port: int) -> str:
    rss = daemon.memory_info().rss / (1 << 20)
    return f"{daemon.num_threads()} threads, {rss:.0f} MiB, {sockets(daemon, port)} connections to the mail server"


def sockets(daemon: psutil.Process, port: int) -> int:
    """Connections to the mail server."""
    return sum(bool(each.raddr) and each.raddr.port == port for each in daemon.net_connections())


def cpu(daemon: psutil.Process) -> float:
    """Seconds of CPU time, of the workers too."""
    return sum(sum(each.cpu_times()[:2]) for each in [daemon, *daemon.children(recursive=True)])


if __name__ == "__main__":
    main()
