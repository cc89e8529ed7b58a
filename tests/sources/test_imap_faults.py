"""A server that misbehaves in the middle of a fetch: the message in question fails, its neighbours arrive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from ingestd.errors import PutOff, Unavailable
from ingestd.message import Arrival, Failed, RawMessage, Vanished
from ingestd.sources.imap import ImapAccount
from ingestd.spool import Lane, Spool
from ingestd.throttle import Throttle
from ingestd.uidset import UIDSet

from ..imap_script import ImapScript, Turn

SICK = 3
BODY_OF_SICK = f"UID FETCH {SICK} (UID BODY.PEEK[])"
HEALTHY = [1, 2, 4, 5, 6]


def mail(uid: int) -> bytes:
    return b"Subject: %d\r\n\r\n" % uid + b"body (with parentheses)\r\n" * uid


@pytest.fixture
def server() -> Iterator[ImapScript]:
    with ImapScript({uid: mail(uid) for uid in range(1, 7)}) as script:
        yield script


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool") as spool:
        yield spool


@contextmanager
def lane_of(spool: Spool) -> Iterator[tuple[Lane, list[Arrival]]]:
    """A lane, and a list for what arrives: with that released, nothing may be left, not even after an error."""
    arrivals: list[Arrival] = []
    with spool.lane() as lane:
        try:
            yield lane, arrivals
        finally:
            lane.release(arrivals)
            assert (spool.used.memory, spool.used.disk) == (0, 0), "the spool was not given back"
            assert list(spool.directory.glob("*.eml")) == []


def fetched(server: ImapScript, spool: Spool, *, timeout: float = 5.0) -> list[Arrival]:
    """Fetch everything, and check that what arrived is intact, in order, and given back."""
    with ImapAccount("work", server.account(timeout=timeout)) as account, lane_of(spool) as (lane, arrivals):
        mailbox = account.open("INBOX")
        for arrival in mailbox.fetch(UIDSet.of(server.messages), lane, epoch=1):
            arrivals.append(arrival)
            if isinstance(arrival, RawMessage):
                assert content(arrival) == server.messages[arrival.place.uid]
    assert [arrival.place.uid for arrival in arrivals] == sorted(server.messages)
    return arrivals


def content(message: RawMessage) -> bytes:
    with message.content.open() as raw:
        return raw.read(0, raw.size_bytes)


def uids(arrivals: list[Arrival], kind: type[Arrival]) -> list[int]:
    return [arrival.place.uid for arrival in arrivals if isinstance(arrival, kind)]


# --- one bad answer


def literal_too_short(turn: Turn) -> None:
    turn.write(b"* 3 FETCH (UID 3 BODY[] {%d}\r\n%s)\r\n" % (len(mail(SICK)) - 10, mail(SICK)))
    turn.send(b"%t OK done")


def literal_too_long(turn: Turn) -> None:
    turn.write(b"* 3 FETCH (UID 3 BODY[] {%d}\r\n%s)\r\n" % (len(mail(SICK)) + 10, mail(SICK)))
    turn.send(b"%t OK done")


def literal_of_a_terabyte(turn: Turn) -> None:
    turn.send(b"* 3 FETCH (UID 3 BODY[] {1099511627776}\r\nSubject: endless")


def literal_of_a_terabyte_elsewhere(turn: Turn) -> None:
    turn.send(b"* 3 FETCH (UID 3 ENVELOPE {1099511627776}\r\nSubject: endless")


def nil_of_a_message_that_is_there(turn: Turn) -> None:
    turn.send(b"* 3 FETCH (UID 3 BODY[] NIL)\r\n%t OK done")


def ok_without_an_answer(turn: Turn) -> None:
    turn.send(b"%t OK done")


def refusal(turn: Turn) -> None:
    turn.send(b"%t NO [SERVERBUG] cannot read it")


def body_of_another_message(turn: Turn) -> None:
    turn.write(b"* 9 FETCH (UID 9 BODY[] {4}\r\nSpam)\r\n")
    turn.send(b"%t OK done")


def body_of_another_message_named_behind_it(turn: Turn) -> None:
    turn.write(b"* 9 FETCH (BODY[] {4}\r\nSpam UID 9)\r\n")
    turn.send(b"%t OK done")


def body_without_any_uid(turn: Turn) -> None:
    turn.write(b"* 3 FETCH (BODY[] {4}\r\nSpam)\r\n")
    turn.send(b"%t OK done")


def the_same_body_twice(turn: Turn) -> None:
    turn.write(turn.server.body(SICK) * 2)
    turn.send(b"%t OK done")


def two_bodies_in_one_response(turn: Turn) -> None:
    turn.write(b"* 3 FETCH (UID 3 BODY[] {4}\r\nSpam BODY[] {4}\r\nSpam)\r\n")
    turn.send(b"%t OK done")


def unbalanced_parentheses(turn: Turn) -> None:
    turn.write(turn.server.body(SICK).replace(b")\r\n* ", b"\r\n* ")[:-3] + b"\r\n")
    turn.send(b"%t OK done")


def a_deep_nest_of_parentheses(turn: Turn) -> None:
    turn.send(b"* 3 FETCH " + b"(" * 100_000)


def a_garbage_line(turn: Turn) -> None:
    turn.send(b"HTTP/1.1 400 Bad Request")


def something_more_than_was_asked_for(turn: Turn) -> None:
    turn.write(turn.server.body(SICK)[:-3] + b" FOO BAR)\r\n")
    turn.send(b"%t OK done")


def goodbye(turn: Turn) -> None:
    turn.send(b"* BYE shutting down")
    turn.close()


def fin_in_the_literal(turn: Turn) -> None:
    turn.write(turn.server.body(SICK)[:40])
    turn.close()


def rst_in_the_literal(turn: Turn) -> None:
    turn.write(turn.server.body(SICK)[:40])
    turn.reset()


def a_tag_that_nobody_sent(turn: Turn) -> None:
    turn.send(b"zz9 OK done")


def an_end_that_is_neither_ok_nor_no(turn: Turn) -> None:
    turn.write(turn.server.body(SICK))
    turn.send(b"%t MAYBE done")


@pytest.mark.parametrize(
    "fault",
    [
        literal_too_short,
        literal_too_long,
        literal_of_a_terabyte,
        literal_of_a_terabyte_elsewhere,
        nil_of_a_message_that_is_there,
        ok_without_an_answer,
        refusal,
        body_of_another_message,
        body_of_another_message_named_behind_it,
        body_without_any_uid,
        the_same_body_twice,
        two_bodies_in_one_response,
        unbalanced_parentheses,
        a_deep_nest_of_parentheses,
        a_garbage_line,
        something_more_than_was_asked_for,
        goodbye,
        fin_in_the_literal,
        rst_in_the_literal,
        a_tag_that_nobody_sent,
        an_end_that_is_neither_ok_nor_no,
    ],
)
def test_a_message_that_cannot_be_had_fails_alone(
    server: ImapScript, spool: Spool, fault: Callable[[Turn], None]
) -> None:
    server.replies[BODY_OF_SICK] = fault

    arrivals = fetched(server, spool, timeout=1.0)

    assert uids(arrivals, RawMessage) == HEALTHY
    assert uids(arrivals, Failed) == [SICK]
    assert server.count(BODY_OF_SICK) >= 2


# --- silence


def silence_in_the_literal(turn: Turn) -> None:
    turn.write(turn.server.body(SICK)[:40])
    turn.hang()


def silence_before_the_end(turn: Turn) -> None:
    turn.write(turn.server.body(SICK))
    turn.hang()


def one_byte_at_a_time(turn: Turn) -> None:
    turn.drip(b"* 3 FETCH (UID 3 BODY[] {1000}\r\n" + b"x" * 1000, seconds=0.05)


def one_byte_of_a_line_at_a_time(turn: Turn) -> None:
    turn.drip(b"* OK " + b"x" * 1000, seconds=0.05)


@pytest.mark.parametrize(
    "fault", [silence_in_the_literal, silence_before_the_end, one_byte_at_a_time, one_byte_of_a_line_at_a_time]
)
def test_a_server_that_stalls_is_noticed_within_the_timeout(
    server: ImapScript, spool: Spool, fault: Callable[[Turn], None]
) -> None:
    server.replies[BODY_OF_SICK] = fault

    arrivals = fetched(server, spool, timeout=0.4)

    assert uids(arrivals, RawMessage) == HEALTHY
    assert uids(arrivals, Failed) == [SICK]


# --- faults that pass


def test_a_fault_that_does_not_come_again_costs_nothing(server: ImapScript, spool: Spool) -> None:
    server.replies[BODY_OF_SICK] = lambda turn: goodbye(turn) if turn.count == 1 else turn.default()

    arrivals = fetched(server, spool)

    assert uids(arrivals, RawMessage) == [1, 2, 3, 4, 5, 6]
    assert server.connections == 2


def test_a_suspected_message_is_asked_for_alone(server: ImapScript, spool: Spool) -> None:
    server.replies[BODY_OF_SICK] = lambda turn: goodbye(turn) if turn.count == 1 else turn.default()

    fetched(server, spool)

    again = max(at for at, command in enumerate(server.commands) if command == BODY_OF_SICK)
    assert server.commands[again + 1] == "UID FETCH 4 (UID BODY.PEEK[])"


def test_what_a_server_may_say_at_any_time_is_tolerated(server: ImapScript, spool: Spool) -> None:
    def chatty(turn: Turn) -> None:
        turn.send(b"* 7 EXISTS\r\n* 1 RECENT\r\n* 9 EXPUNGE\r\n* OK still here {5}\r\n* FLAGS (\\Seen)")
        turn.send(b"* 1 FETCH (FLAGS (\\Answered))\r\n* 2 FETCH (UID 2 FLAGS (\\Seen) MODSEQ (12))")
        turn.default()

    server.replies[BODY_OF_SICK] = chatty

    assert uids(fetched(server, spool), RawMessage) == [1, 2, 3, 4, 5, 6]
    assert server.connections == 1


def test_answers_in_any_order_are_taken(server: ImapScript, spool: Spool) -> None:
    held: list[Turn] = []

    def late(turn: Turn) -> None:
        held.append(turn)

    def both(turn: Turn) -> None:
        turn.write(turn.server.body(4) + turn.server.body(SICK))
        turn.send(b"%t OK done\r\n" + held.pop().tag + b" OK done")

    server.replies[BODY_OF_SICK] = late
    server.replies["UID FETCH 4 (UID BODY.PEEK[])"] = both

    assert uids(fetched(server, spool), RawMessage) == [1, 2, 3, 4, 5, 6]
    assert server.connections == 1


def test_a_uid_behind_its_body_is_as_good(server: ImapScript, spool: Spool) -> None:
    def behind(turn: Turn) -> None:
        turn.write(b"* 3 FETCH (BODY[] {%d}\r\n%s UID 3)\r\n" % (len(mail(SICK)), mail(SICK)))
        turn.send(b"%t OK done")

    server.replies["UID FETCH 1 (UID BODY.PEEK[])"] = Turn.default
    server.replies[BODY_OF_SICK] = behind
    del server.messages[1], server.messages[2]

    assert uids(fetched(server, spool), RawMessage) == [3, 4, 5, 6]
    assert server.connections == 1


def test_a_body_as_a_quoted_string_is_as_good(server: ImapScript, spool: Spool) -> None:
    server.messages[SICK] = b'Subject: a "quoted" \\ one'
    server.replies[BODY_OF_SICK] = lambda turn: turn.send(
        b'* 3 FETCH (UID 3 BODY[] "Subject: a \\"quoted\\" \\\\ one")\r\n%t OK done'
    )

    assert uids(fetched(server, spool), RawMessage) == [1, 2, 3, 4, 5, 6]


def test_an_empty_message_is_a_message(server: ImapScript, spool: Spool) -> None:
    server.messages[SICK] = b""

    assert uids(fetched(server, spool), RawMessage) == [1, 2, 3, 4, 5, 6]


def test_a_wrong_size_is_passed_on_and_does_not_matter(server: ImapScript, spool: Spool) -> None:
    server.sizes = {1: 0, 2: 2**40, SICK: 1}

    arrivals = fetched(server, spool)

    assert uids(arrivals, RawMessage) == [1, 2, 3, 4, 5, 6]
    assert [a.server_size_bytes for a in arrivals if isinstance(a, RawMessage)][:3] == [0, 2**40, 1]


# --- gone in between


def test_nil_for_a_message_that_is_gone_means_it_vanished(server: ImapScript, spool: Spool) -> None:
    server.replies[BODY_OF_SICK] = lambda turn: turn.send(b"* 3 FETCH (UID 3 BODY[] NIL)\r\n%t OK done")
    server.replies[f"UID FETCH {SICK} (UID)"] = lambda turn: turn.send(b"%t OK done")

    arrivals = fetched(server, spool)

    assert uids(arrivals, Vanished) == [SICK]
    assert uids(arrivals, RawMessage) == HEALTHY
    assert server.connections == 1


def test_a_message_without_metadata_has_vanished(server: ImapScript, spool: Spool) -> None:
    server.replies["UID FETCH 1:6 (UID FLAGS"] = lambda turn: turn.write(
        b"".join(server.metadata(uid) + b"\r\n" for uid in HEALTHY) + turn.tag + b" OK done\r\n"
    )

    arrivals = fetched(server, spool)

    assert uids(arrivals, Vanished) == [SICK]
    assert uids(arrivals, RawMessage) == HEALTHY


# --- metadata


def test_metadata_that_break_the_connection_are_narrowed_down(server: ImapScript, spool: Spool) -> None:
    def choke(turn: Turn) -> None:
        asked = UIDSet.parse(turn.command.split()[2])
        turn.send(b"garbage") if SICK in asked else turn.default()

    server.replies["UID FETCH"] = lambda turn: choke(turn) if " FLAGS " in turn.command else turn.default()

    arrivals = fetched(server, spool)

    assert uids(arrivals, Failed) == [SICK]
    assert uids(arrivals, RawMessage) == HEALTHY


# --- the end of it


def test_a_server_that_breaks_everything_ends_the_fetch(server: ImapScript, spool: Spool) -> None:
    server.messages = {uid: mail(1) for uid in range(1, 101)}
    server.replies["UID FETCH"] = lambda turn: turn.default() if " FLAGS " in turn.command else goodbye(turn)

    with pytest.raises(Unavailable, match="too many broken connections"):
        fetched(server, spool)

    assert server.connections < 60


def test_a_connection_that_cannot_be_made_again_ends_the_fetch(server: ImapScript, spool: Spool) -> None:
    server.replies[BODY_OF_SICK] = goodbye
    server.replies["EXAMINE"] = lambda turn: turn.default() if turn.count == 1 else turn.send(b"%t NO [INUSE] later")

    with pytest.raises(Unavailable, match=r"INUSE"):
        fetched(server, spool)


def test_another_uidvalidity_after_a_reconnect_ends_the_fetch(server: ImapScript, spool: Spool) -> None:
    def renumbered(turn: Turn) -> None:
        server.uidvalidity = 8
        goodbye(turn)

    server.replies[BODY_OF_SICK] = renumbered

    with pytest.raises(Unavailable, match="UIDVALIDITY changed from 7 to 8"):
        fetched(server, spool)


@pytest.mark.parametrize("answer", [b"NO [INUSE] locked", b"NO [LIMIT] too much", b"BAD Request is throttled."])
def test_a_message_that_is_always_put_off_holds_up_none_of_its_neighbours(
    server: ImapScript, spool: Spool, answer: bytes
) -> None:
    server.replies[BODY_OF_SICK] = lambda turn: turn.send(b"%t " + answer)

    arrivals = fetched(server, spool)

    assert uids(arrivals, RawMessage) == HEALTHY
    (failed,) = [arrival for arrival in arrivals if isinstance(arrival, Failed)]
    assert (failed.place.uid, failed.put_off) == (SICK, True)
    assert server.connections == 1


def test_a_server_that_puts_every_message_off_ends_the_fetch_and_each_it_was_asked_for_counts(
    server: ImapScript, spool: Spool
) -> None:
    server.replies["UID FETCH"] = lambda turn: (
        turn.send(b"%t NO [OVERQUOTA] Account exceeded command or bandwidth limits.")
        if "PEEK" in turn.command
        else turn.default()
    )

    said = r"put off by 127.0.0.1 \[OVERQUOTA\]: too much traffic"
    with (
        ImapAccount("work", server.account()) as account,
        lane_of(spool) as (lane, arrivals),
        pytest.raises(PutOff, match=said) as raised,
    ):
        arrivals.extend(account.open("INBOX").fetch(UIDSet.of(server.messages), lane, epoch=1))

    assert raised.value.throttle == Throttle("traffic")
    assert [(each.place.uid, each.put_off) for each in arrivals if isinstance(each, Failed)] == [
        (uid, True) for uid in (1, 2, 3)
    ]


def test_a_fetch_of_one_message_that_is_put_off_ends_so(server: ImapScript, spool: Spool) -> None:
    server.messages = {SICK: mail(SICK)}
    server.replies[BODY_OF_SICK] = lambda turn: turn.send(b"%t NO [THROTTLED] slow down")

    with pytest.raises(PutOff, match="THROTTLED"):
        fetched(server, spool)


def test_a_server_that_sends_us_away_in_the_middle_puts_us_off(server: ImapScript, spool: Spool) -> None:
    server.replies[BODY_OF_SICK] = lambda turn: (turn.send(b"* BYE Too many simultaneous connections."), turn.close())

    with pytest.raises(PutOff, match="too many connections"):
        fetched(server, spool)

    assert server.connections == 1


def test_a_flood_of_untagged_lines_ends(server: ImapScript, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestd.sources.wire.MAX_ANSWER", 1 << 20)

    def flood(turn: Turn) -> None:
        while not server.over.is_set():
            turn.write(b"* 7 EXISTS\r\n" * 1000)

    server.replies[BODY_OF_SICK] = flood

    arrivals = fetched(server, spool)

    assert uids(arrivals, Failed) == [SICK]
    assert uids(arrivals, RawMessage) == HEALTHY


def test_a_reader_who_leaves_takes_the_connection_with_him(server: ImapScript, spool: Spool) -> None:
    with ImapAccount("work", server.account()) as account, lane_of(spool) as (lane, arrivals):
        fetch = account.open("INBOX").fetch(UIDSet.span(1, 6), lane, epoch=1)
        arrivals.append(next(fetch))

        del fetch

        assert account.mailboxes(["INBOX"]) == ["INBOX"]
        assert server.connections == 2


@pytest.mark.parametrize("where", [BODY_OF_SICK, "UID FETCH 1:6", "EXAMINE", "AUTHENTICATE"])
def test_a_fetch_can_be_ended_from_another_thread_while_it_waits(server: ImapScript, spool: Spool, where: str) -> None:
    waiting = Event()

    def silent(turn: Turn) -> None:
        waiting.set()
        turn.hang()

    with ImapAccount("work", server.account(timeout=60)) as account:
        mailbox = account.open("INBOX")
        server.replies[BODY_OF_SICK] = goodbye
        server.replies[where] = silent
        with ThreadPoolExecutor() as pool, lane_of(spool) as (lane, arrivals):
            fetch = pool.submit(lambda: arrivals.extend(mailbox.fetch(UIDSet.span(1, 6), lane, epoch=1)))
            assert waiting.wait(10)

            mailbox.abort()

            with pytest.raises(Unavailable):
                fetch.result(timeout=10)
        with pytest.raises(Unavailable):
            mailbox.search("ALL")


def test_a_message_larger_than_the_spool_fails_alone(server: ImapScript, tmp_path: Path) -> None:
    with Spool(tmp_path, disk_bytes=100) as spool:
        arrivals = fetched(server, spool)

    big = [uid for uid, message in server.messages.items() if len(message) > 100]
    assert big
    assert uids(arrivals, Failed) == big
    assert uids(arrivals, RawMessage) == [uid for uid in server.messages if uid not in big]


def test_a_large_message_goes_to_a_file_and_back(server: ImapScript, spool: Spool) -> None:
    server.messages[SICK] = b"x" * (3 << 20) + b"\r\n"

    assert uids(fetched(server, spool), RawMessage) == [1, 2, 3, 4, 5, 6]


def test_a_narrow_budget_is_enough(server: ImapScript, tmp_path: Path) -> None:
    def release_each(lane: Lane, arrivals: Iterator[Arrival]) -> list[int]:
        seen = []
        for arrival in arrivals:
            seen.append(arrival.place.uid)
            lane.release([arrival])
        return seen

    with (
        Spool(tmp_path, memory_bytes=1) as spool,
        ImapAccount("work", server.account()) as account,
        spool.lane() as lane,
    ):
        assert release_each(lane, account.open("INBOX").fetch(UIDSet.span(1, 6), lane, epoch=1)) == [1, 2, 3, 4, 5, 6]
