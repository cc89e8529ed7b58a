"""A large mailbox over several connections: whatever ends a pass, the next one ends as if nothing had been."""

from __future__ import annotations

import os
import re
import signal
from threading import Event
from time import monotonic
from typing import Any

import psutil
import pytest
from pymongo.database import Database

from ingestd.demo.mailbox import Sample
from ingestd.push import SLICE
from ingestd.sources.imap_shared import WORTH
from tests.dovecot import private_dovecot
from tests.e2e.conftest import Site
from tests.fakes import NOON
from tests.faults import state
from tests.faults.conftest import Trial
from tests.faults.proxy import Fault, Proxy, after, always, cut, first, forwarded, on, silent
from tests.waiting import DEADLINE, until

Document = dict[str, Any]

COUNT = WORTH + 100
CONNECTIONS = "fetch_connections = 4"
MOMENTS = ("literal:300", "spooled:450", "parsed:3", "placements:4", "sealed:2", "checkpoint:2")
ASKED = re.compile(rb"UID FETCH (\d+) \(UID BODY\.PEEK\[\]\)")


def letters() -> list[Sample]:
    return [Sample(b"Subject: %d\r\n\r\n%s" % (n, b"body\r\n" * (n % 50)), NOON, ()) for n in range(COUNT)]


@pytest.fixture
def filled(trial: Trial) -> Trial:
    trial.site.deliver(letters())
    trial.configure(account=CONNECTIONS)
    return trial


def shared(others: Fault = forwarded) -> Fault:
    """No letter is asked for before another connection has the mailbox open; *others* happens to all else."""
    another = Event()
    opened = on(b"EXAMINE", first(another.set), nth=2)
    asking = always(b"INTERNALDATE", first(lambda: another.wait(DEADLINE)), others)
    return always(b"EXAMINE", opened, asking)


def stored(database: Database[Document]) -> set[int]:
    return {place["uid"] for place in database.placements.find({"state": "stored"})}


def asked(site: Site, before: bytes = b"") -> list[int]:
    """The UIDs of the bodies that were asked for, since the transcript that was had *before*."""
    return [int(uid) for uid in ASKED.findall(site.server.transcript(site.user)[len(before) :])]


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_with_several_connections_nothing_is_lost_doubled_or_fetched_again_that_was_stored(
    filled: Trial, database: Database[Document], moment: str
) -> None:
    killed = filled.once(INGESTD_FAIL_AT=moment)
    safe = stored(database)
    filled.site.server.transcribe(filled.site.user)
    found = filled.finish()

    assert killed == -9
    assert set(found["sealed"]) == found["places"].keys()
    assert len(found["sealed"]) == len(found["messages"]) == COUNT
    assert found["mailboxes"] == {"work/INBOX": (f"1:{COUNT}", "", {})}
    assert sorted(asked(filled.site)) == sorted(set(range(1, COUNT + 1)) - safe)


def test_several_connections_bring_what_one_brings(filled: Trial, imap_proxy: Proxy) -> None:
    filled.site.server.transcribe(filled.site.user)
    filled.behind(imap_proxy)
    imap_proxy.towards_server = shared()

    found = filled.finish()
    transcripts = len(list((filled.site.server.directory / "transcripts" / filled.site.user).glob("*.in")))
    filled.configure(account="")

    assert transcripts > 1
    assert found == filled.undisturbed()


def test_a_mail_server_that_goes_down_under_several_connections_loses_nothing(trial: Trial) -> None:
    with private_dovecot() as server:
        trial.site.server = server
        trial.site.deliver(letters())
        with Proxy(("127.0.0.1", server.imap_port)) as proxy:
            trial.behind(proxy, account=CONNECTIONS)
            proxy.towards_server = shared(on(b"UID FETCH 4", first(server.stop)))

            ended = trial.once()
            connections = proxy.connections
            server.start()
            found = trial.finish()

        assert (ended, proxy.strikes) == (1, 2)
        assert connections > 1
        assert len(found["sealed"]) == len(found["messages"]) == COUNT


def test_a_connection_that_is_cut_is_made_again(filled: Trial, imap_proxy: Proxy) -> None:
    filled.behind(imap_proxy)
    imap_proxy.towards_client = after(100_000, cut)

    found = filled.finish()

    assert imap_proxy.strikes == 1
    assert imap_proxy.connections > 1
    assert len(found["sealed"]) == len(found["messages"]) == COUNT


def test_a_server_that_lets_in_fewer_connections_is_asked_for_no_more_the_next_time(
    trial: Trial, database: Database[Document]
) -> None:
    refused = Event()  # until then no body comes, or all are here before another connection is tried
    with private_dovecot(more="mail_max_userip_connections = 2") as server:
        trial.site.server = server
        trial.site.deliver(letters())
        with Proxy(("127.0.0.1", server.imap_port)) as proxy:
            trial.behind(proxy, account=CONNECTIONS)
            proxy.towards_client = on(b"Maximum number of connections", first(refused.set))
            proxy.towards_server = always(b"BODY.PEEK[]", first(lambda: refused.wait(DEADLINE)))

            assert trial.once() == 0, trial.said()
            usage = database.usage.find_one()
            found = state.of(trial.site)

    assert refused.is_set()
    assert len(found["sealed"]) == len(found["messages"]) == COUNT
    assert usage is not None
    assert (usage["learned"]["connections"], usage["hold"]) == (2, None)
    assert sum(slot["count"] for slot in usage["logins"]) == 3


@pytest.mark.parametrize("action", ["seen", "delete", "move:Done"])
def test_what_came_over_several_connections_is_acknowledged(filled: Trial, action: str) -> None:
    filled.site.deliver([], "Done")
    filled.configure(account=f'{CONNECTIONS}\nafter_store = "{action}"')

    found = filled.finish()

    lying = state.flags(filled.site)
    assert len(found["sealed"]) == COUNT
    assert len(lying["INBOX"]) == (COUNT if action == "seen" else 0)
    assert len(lying["Done"]) == (COUNT if action == "move:Done" else 0)
    assert all(flags == ["\\Seen"] for flags in lying["INBOX"].values())


@pytest.mark.parametrize("workers", [0, 2])
def test_a_spool_that_is_full_all_the_time_stops_nobody(filled: Trial, workers: int) -> None:
    padding = b"It goes on and on.\r\n" * 15_000
    filled.site.deliver(Sample(b"Subject: long %d\r\n\r\n%s" % (n, padding), NOON, ()) for n in range(30))
    filled.configure(workers=workers, daemon=f'workers = {workers}\nspool_memory = "1MiB"\nspool_disk = "16MiB"')

    found = filled.finish()

    assert len(found["sealed"]) == len(found["messages"]) == COUNT + 30


def test_sigterm_is_heard_while_the_server_is_silent_on_all_connections(filled: Trial, imap_proxy: Proxy) -> None:
    filled.behind(imap_proxy)
    quiet = Event()

    def fall_silent() -> None:
        imap_proxy.towards_client = silent
        quiet.set()

    imap_proxy.towards_client = after(100_000, first(fall_silent))
    imap_proxy.towards_server = shared()
    life = filled.start("once")
    assert quiet.wait(DEADLINE)
    began = monotonic()

    os.kill(life.pid, signal.SIGTERM)
    ended = life.wait()

    assert ended == 130
    assert imap_proxy.connections > 1
    assert monotonic() - began < 30
    imap_proxy.heal()
    assert len(filled.finish()["sealed"]) == COUNT


def test_a_daemon_keeps_its_connections_while_there_is_much_to_do_and_no_longer(
    trial: Trial, database: Database[Document], imap_proxy: Proxy
) -> None:
    trial.site.deliver(Sample(b"Subject: %d\r\n\r\nhello\r\n" % n, NOON, ()) for n in range(SLICE + COUNT))
    trial.behind(imap_proxy, account=f"{CONNECTIONS}\nidle = true")
    imap_proxy.towards_server = shared()
    life = trial.start("run")
    process = psutil.Process(life.pid)

    def connections() -> int:
        open_ = process.net_connections()
        return sum(each.status == "ESTABLISHED" and each.raddr.port == imap_proxy.port for each in open_)

    until(lambda: database.placements.count_documents({"state": "stored"}) == SLICE + COUNT, 2 * DEADLINE)
    until(lambda: connections() == 1)
    os.kill(life.pid, signal.SIGTERM)

    assert life.wait() == 0
    (usage,) = database.usage.find()
    assert 1 < sum(slot["count"] for slot in usage["logins"]) <= 4
    assert f"messages={SLICE} " in trial.said()
    assert f"remaining={COUNT}" in trial.said()
