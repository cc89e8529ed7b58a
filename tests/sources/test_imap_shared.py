"""One mailbox over several connections: every message comes once, and only the first connection can fail the run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event, active_count

import pytest

from ingestd.errors import IngestError, PutOff, Refused, Unavailable
from ingestd.message import Arrival, Failed, RawMessage
from ingestd.sources.imap import ImapAccount
from ingestd.sources.imap_shared import WORTH
from ingestd.sources.server import Meter
from ingestd.spool import Spool
from ingestd.uidset import UIDSet
from tests.fakes import Learning
from tests.imap_script import Answer, ImapScript, Turn
from tests.waiting import until

COUNT = WORTH + 100
SICK = 300
ANOTHER = "mailbox work/INBOX: another connection to 127.0.0.1 shows another state of it"


@pytest.fixture
def server() -> Iterator[ImapScript]:
    with ImapScript(
        {uid: b"Subject: %d\r\n\r\n" % uid + b"body\r\n" * (uid % 7) for uid in range(1, COUNT + 1)}
    ) as script:
        yield script


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool") as spool:
        yield spool


def fetched(server: ImapScript, spool: Spool, connections: int = 3, meter: Meter | None = None) -> list[Arrival]:
    """Fetch everything as a pass does; check that it comes once and intact, and that all is given back."""
    arrivals: list[Arrival] = []
    with ImapAccount("work", replace(server.account(), meter=meter or Learning()), connections) as account:
        account.mailboxes(["INBOX"])
        mailbox = account.open("INBOX")
        with spool.lane(mailbox.abort) as lane:
            for batch in lane.batches(lambda lane: mailbox.fetch(UIDSet.of(server.messages), lane, epoch=1), 4096, 100):
                for arrival in batch:
                    if isinstance(arrival, RawMessage):
                        assert content(arrival) == server.messages[arrival.place.uid]
                arrivals += batch
                lane.release(batch)
    assert (spool.used.memory, spool.used.disk) == (0, 0)
    assert sorted(arrival.place.uid for arrival in arrivals) == sorted(server.messages)
    return arrivals


def content(message: RawMessage) -> bytes:
    with message.content.open() as raw:
        return raw.read(0, raw.size_bytes)


def uids(arrivals: list[Arrival], kind: type[Arrival]) -> list[int]:
    return sorted(arrival.place.uid for arrival in arrivals if isinstance(arrival, kind))


def bodies(server: ImapScript) -> Counter[str]:
    return Counter(command for command in server.commands if command.endswith("(UID BODY.PEEK[])"))


def once(true: Callable[[], object]) -> Answer:
    """The usual answer, which waits until something is *true*: so nobody is too late to take part."""

    def answer(turn: Turn) -> None:
        until(true)
        turn.default()

    return answer


def test_a_large_mailbox_comes_over_all_connections_and_each_message_once(server: ImapScript, spool: Spool) -> None:
    server.replies["UID FETCH"] = once(lambda: server.count("EXAMINE") >= 3)

    arrivals = fetched(server, spool)

    assert uids(arrivals, RawMessage) == list(range(1, COUNT + 1))
    assert server.connections == 3
    assert server.count("EXAMINE") == 3
    assert set(bodies(server).values()) == {1}


def test_a_small_mailbox_comes_over_one_connection_in_order(server: ImapScript, spool: Spool) -> None:
    for uid in range(WORTH + 1, COUNT + 1):
        del server.messages[uid]

    arrivals = fetched(server, spool)

    assert [arrival.place.uid for arrival in arrivals] == list(range(1, WORTH + 1))
    assert server.connections == 1


def test_connections_beside_are_kept_for_the_next_fetch_until_there_is_no_use_for_them(
    server: ImapScript, spool: Spool
) -> None:
    server.replies["UID FETCH"] = once(lambda: server.count("EXAMINE") >= 3)
    with ImapAccount("work", server.account(), 3) as account, spool.lane() as lane:
        mailbox = account.open("INBOX")
        for _ in range(2):
            lane.release(list(mailbox.fetch(UIDSet.of(server.messages), lane, epoch=1)))
        before = server.connections, server.count("LOGOUT")
        account.be_alone()
        listed = mailbox.listed()

    assert before == (3, 0)
    assert (server.connections, server.count("LOGOUT")) == (3, 3)
    assert len(listed) == COUNT


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"%t NO [LIMIT] Too many connections", PutOff),
        (b"%t NO [AUTHENTICATIONFAILED] no", Refused),
        (b"* BYE not now", Unavailable),
    ],
)
def test_a_connection_that_is_refused_is_not_used_and_nothing_fails(
    server: ImapScript, spool: Spool, answer: bytes, error: type[IngestError]
) -> None:
    server.capabilities = "IMAP4rev1"
    server.replies["LOGIN"] = lambda turn: turn.default() if turn.count == 1 else turn.send(answer)
    meter = Learning()
    server.replies["UID FETCH"] = once(lambda: len(meter.failures) == 2)

    arrivals = fetched(server, spool, meter=meter)

    assert uids(arrivals, RawMessage) == list(range(1, COUNT + 1))
    assert list(map(type, meter.failures)) == [error, error]


def test_a_connection_that_shows_another_uidvalidity_is_not_used(server: ImapScript, spool: Spool) -> None:
    def renumbered(turn: Turn) -> None:
        server.uidvalidity = 7 if turn.count == 1 else 8
        turn.default()

    server.replies["EXAMINE"] = renumbered
    meter = Learning()
    server.replies["UID FETCH"] = once(lambda: len(meter.failures) == 2)

    arrivals = fetched(server, spool, meter=meter)

    assert uids(arrivals, RawMessage) == list(range(1, COUNT + 1))
    assert [str(failure) for failure in meter.failures] == [ANOTHER] * 2


def test_a_connection_to_a_server_that_lags_behind_is_not_used(server: ImapScript, spool: Spool) -> None:
    def behind(turn: Turn) -> None:
        server.uidnext = COUNT + 1 if turn.count == 1 else COUNT
        turn.default()

    server.replies["EXAMINE"] = behind
    meter = Learning()
    server.replies["UID FETCH"] = once(lambda: len(meter.failures) == 2)

    fetched(server, spool, meter=meter)

    assert [str(failure) for failure in meter.failures] == [ANOTHER] * 2


def test_what_a_connection_had_taken_when_it_broke_for_good_is_brought_by_the_others(
    server: ImapScript, spool: Spool
) -> None:
    first: list[object] = []
    server.replies["LIST"] = lambda turn: (first.append(turn.connection), turn.default())[1]
    meter = Learning()
    patient = once(lambda: len(meter.failures) == 2)
    server.replies["UID FETCH"] = lambda turn: patient(turn) if turn.connection in first else turn.close()

    arrivals = fetched(server, spool, meter=meter)

    assert uids(arrivals, RawMessage) == list(range(1, COUNT + 1))
    assert all("too many broken connections" in str(failure) for failure in meter.failures)
    assert len(meter.failures) == 2


def test_a_message_that_only_another_connection_finds_gone_comes_over_the_first(
    server: ImapScript, spool: Spool
) -> None:
    first: list[object] = []
    denied: list[str] = []
    server.replies["LIST"] = lambda turn: (first.append(turn.connection), turn.default())[1]

    def denying(turn: Turn) -> None:
        if turn.connection in first:
            once(lambda: denied)(turn)
        elif not re.match(r"UID FETCH \d+0 ", turn.command):
            turn.default()
        else:
            denied.append(turn.command)
            turn.send(b"%t OK done")

    server.replies["UID FETCH"] = denying

    arrivals = fetched(server, spool)

    assert denied
    assert uids(arrivals, RawMessage) == list(range(1, COUNT + 1))


def test_a_message_that_its_server_does_not_give_fails_once(server: ImapScript, spool: Spool) -> None:
    server.replies[f"UID FETCH {SICK} (UID BODY"] = lambda turn: turn.send(b"%t NO [SERVERBUG] cannot read it")

    arrivals = fetched(server, spool)

    assert uids(arrivals, Failed) == [SICK]
    assert len(uids(arrivals, RawMessage)) == COUNT - 1


def test_a_run_whose_first_connection_fails_ends_and_leaves_no_thread(server: ImapScript, spool: Spool) -> None:
    hanging, before = Event(), active_count()

    def never(turn: Turn) -> None:
        hanging.set()
        turn.hang()

    server.replies["UID FETCH"] = never
    with ImapAccount("work", server.account(timeout=60), 3) as account, ThreadPoolExecutor(1) as thread:
        mailbox = account.open("INBOX")
        with spool.lane(mailbox.abort) as lane:
            done = thread.submit(lambda: list(mailbox.fetch(UIDSet.of(server.messages), lane, epoch=1)))
            assert hanging.wait(10)
            until(lambda: server.count("UID FETCH") == 3)

            mailbox.abort()

            with pytest.raises(Unavailable, match="told to stop"):
                done.result(timeout=10)
    server.over.set()
    until(lambda: active_count() <= before + 1)


def test_a_run_that_is_not_read_to_its_end_leaves_a_connection_that_works(server: ImapScript, spool: Spool) -> None:
    with ImapAccount("work", server.account(), 3) as account, spool.lane() as lane:
        mailbox = account.open("INBOX")
        arrivals = mailbox.fetch(UIDSet.of(server.messages), lane, epoch=1)
        lane.release([next(arrivals)])
        arrivals.close()  # type: ignore[attr-defined]  # a generator, which is what Iterator leaves open

        assert spool.used.memory == 0
        assert len(mailbox.listed()) == COUNT


@pytest.mark.parametrize("memory", [1, 200, 5000])
def test_connections_that_wait_for_room_do_not_wait_for_each_other(
    server: ImapScript, tmp_path: Path, memory: int
) -> None:
    with Spool(tmp_path / "small", memory_bytes=memory) as small:
        arrivals = fetched(server, small, connections=4)

    assert uids(arrivals, RawMessage) == list(range(1, COUNT + 1))
