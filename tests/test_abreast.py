"""Several mailboxes at a time: each is served once, and only the first connection can be to blame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from threading import Barrier, Event, Lock, Thread
from threading import enumerate as enumerate_threads

import pytest

from ingestd import abreast
from ingestd.abreast import WORTH, Abreast
from ingestd.errors import IngestError, LeaseLost, PutOff, Refused, StoreUnavailable, Unavailable
from ingestd.sources.imap import ImapAccount
from tests.fakes import Learning
from tests.imap_script import ImapScript, Turn
from tests.waiting import DEADLINE, until

CONNECTIONS = 3
MAILBOXES = [f"box {number}" for number in range(1, 4 * WORTH + 1)]


@pytest.fixture
def server() -> Iterator[ImapScript]:
    with ImapScript() as script:
        yield script


class Round:
    """A round over mailboxes of *server*, which notes what is served over which connection."""

    def __init__(self, server: ImapScript) -> None:
        self.meter, self.lock = Learning(), Lock()
        self.imap = ImapAccount("work", replace(server.account(), meter=self.meter), CONNECTIONS)
        self.served: list[tuple[ImapAccount, str]] = []

    def serve(self, imap: ImapAccount, mailbox: str) -> None:
        with self.lock:
            self.served.append((imap, mailbox))

    @property
    def mailboxes(self) -> list[str]:
        return sorted(mailbox for _, mailbox in self.served)

    @property
    def over(self) -> set[ImapAccount]:
        return {imap for imap, _ in self.served}


def test_each_mailbox_is_served_once_over_one_of_the_connections(server: ImapScript) -> None:
    round_, together = Round(server), Barrier(CONNECTIONS)

    def serve(imap: ImapAccount, mailbox: str) -> None:
        if imap not in round_.over:
            together.wait(DEADLINE)
        round_.serve(imap, mailbox)

    with round_.imap:
        Abreast(MAILBOXES, serve).run(round_.imap)

    assert round_.mailboxes == sorted(MAILBOXES)
    assert len(round_.over) == server.connections == CONNECTIONS


def test_few_mailboxes_are_served_over_the_connection_that_is_there(server: ImapScript) -> None:
    round_ = Round(server)

    with round_.imap:
        Abreast(MAILBOXES[: WORTH - 1], round_.serve).run(round_.imap)

    assert round_.mailboxes == sorted(MAILBOXES[: WORTH - 1])
    assert server.connections == 1


def test_meanwhile_no_fetch_makes_use_of_the_other_connections(server: ImapScript) -> None:
    round_ = Round(server)
    beside = []

    with round_.imap:
        Abreast(MAILBOXES[:1], lambda imap, _: beside.append(imap.beside)).run(round_.imap)

    assert beside == [()]
    assert len(round_.imap.beside) == CONNECTIONS - 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"%t NO [LIMIT] Too many connections", PutOff),
        (b"%t NO [AUTHENTICATIONFAILED] no", Refused),
        (b"* BYE not now", Unavailable),
    ],
)
def test_what_a_connection_that_is_refused_does_not_serve_is_served_over_the_first(
    server: ImapScript, answer: bytes, error: type[IngestError]
) -> None:
    server.capabilities = "IMAP4rev1"
    server.replies["LOGIN"] = lambda turn: turn.default() if turn.count == 1 else turn.send(answer)
    round_ = Round(server)

    def serve(imap: ImapAccount, mailbox: str) -> None:
        until(lambda: len(round_.meter.failures) == CONNECTIONS - 1)
        round_.serve(imap, mailbox)

    with round_.imap:
        Abreast(MAILBOXES, serve).run(round_.imap)

    assert round_.mailboxes == sorted(MAILBOXES)
    assert round_.over == {round_.imap}
    assert {type(failure) for failure in round_.meter.failures} == {error}


def test_what_was_under_way_over_a_connection_that_breaks_is_left(server: ImapScript) -> None:
    round_, broken, breaks = Round(server), Event(), Lock()

    def serve(imap: ImapAccount, mailbox: str) -> None:
        if imap is round_.imap:
            assert broken.wait(DEADLINE)
        elif breaks.acquire(blocking=False):
            broken.set()
            raise Unavailable("it broke")
        round_.serve(imap, mailbox)

    with round_.imap:
        Abreast(MAILBOXES, serve).run(round_.imap)

    assert len(round_.mailboxes) == len(set(round_.mailboxes)) == len(MAILBOXES) - 1
    assert [str(failure) for failure in round_.meter.failures] == ["it broke"]


@pytest.mark.parametrize(
    "error", [StoreUnavailable("away"), LeaseLost("another's"), MemoryError(), ZeroDivisionError()]
)
def test_what_is_no_fault_of_a_connection_ends_the_round_over_all_of_them(
    server: ImapScript, error: BaseException
) -> None:
    round_, failed = Round(server), Event()

    def serve(imap: ImapAccount, mailbox: str) -> None:
        if imap is round_.imap:
            assert failed.wait(DEADLINE)
            until(lambda: not others())
            round_.serve(imap, mailbox)
            return
        failed.set()
        raise error

    with round_.imap, pytest.raises(type(error)):
        Abreast(MAILBOXES, serve).run(round_.imap)

    assert len(round_.served) <= 1
    assert round_.meter.failures == []


def test_what_goes_wrong_with_the_first_connection_ends_the_others_which_work_again_later(server: ImapScript) -> None:
    round_, together = Round(server), Barrier(CONNECTIONS)
    server.replies["NOOP"] = Turn.hang

    def serve(imap: ImapAccount, mailbox: str) -> None:
        together.wait(DEADLINE)
        if imap is round_.imap:
            until(lambda: server.count("NOOP") == CONNECTIONS - 1)
            raise Unavailable("away")
        imap.ask("a look", b"NOOP")

    with round_.imap:
        with pytest.raises(Unavailable, match="away"):
            Abreast(MAILBOXES, serve).run(round_.imap)
        left = others()
        again = [imap.ask("another look", b"CAPABILITY").status for imap in (round_.imap, *round_.imap.beside)]

    assert left == []
    assert again == ["OK"] * CONNECTIONS
    assert round_.meter.failures == []


def test_while_the_first_connection_waits_for_the_others_its_server_hears_of_it(
    server: ImapScript, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abreast, "STILL_THERE", 0.01)
    round_, together = Round(server), Barrier(CONNECTIONS)

    def serve(imap: ImapAccount, mailbox: str) -> None:
        if imap not in round_.over:
            together.wait(DEADLINE)
        round_.serve(imap, mailbox)
        if imap is not round_.imap:
            until(lambda: server.count("NOOP") > 2)

    with round_.imap:
        Abreast(MAILBOXES, serve).run(round_.imap)

    assert round_.mailboxes == sorted(MAILBOXES)


def test_what_is_no_fault_of_a_connection_is_raised_rather_than_what_is(server: ImapScript) -> None:
    round_, together = Round(server), Barrier(CONNECTIONS)

    def serve(imap: ImapAccount, mailbox: str) -> None:
        together.wait(DEADLINE)
        raise Unavailable("away") if imap is round_.imap else LeaseLost("another's")

    with round_.imap, pytest.raises(LeaseLost, match="another's"):
        Abreast(MAILBOXES, serve).run(round_.imap)


def others() -> list[Thread]:
    """The threads of connections beside the first."""
    return [thread for thread in enumerate_threads() if thread.name == "mailboxes"]
