"""IMAP away, POP3 instead, IMAP back: on a real server, with a daemon, as an operator meets it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from pymongo.database import Database

from ingestd.demo.dovecot import Dovecot
from tests.e2e.conftest import Site, kill
from tests.faults.proxy import Proxy
from tests.prometheus import fetched, free_port
from tests.waiting import until

Document = dict[str, Any]

AT_ONCE = 'fallback_attempts = 1\nfallback_after = "0s"'


@dataclass(frozen=True)
class Note:
    """A letter of today."""

    number: int
    body: bytes = b"hello\r\n"
    flags: tuple[str, ...] = ()

    @property
    def internal_date(self) -> datetime:
        return datetime.now(UTC)

    @property
    def content(self) -> bytes:
        date = format_datetime(self.internal_date).encode()
        head = b"From: ann@example.org\r\nSubject: note %d\r\nDate: %s\r\nMessage-ID: <%d@example.org>\r\n\r\n"
        return head % (self.number, date, self.number) + self.body


def notes(first: int, last: int) -> list[Note]:
    """Some letters, one with a NUL and one whose last line has no end: POP3 gives other bytes of these than IMAP."""
    usual = [Note(number) for number in range(first, last + 1)]
    return [*usual, Note(100 * last + 1, b"a \x00 b\r\n"), Note(100 * last + 2, b"no end")]


@pytest.fixture
def imap(dovecot: Dovecot) -> Iterator[Proxy]:
    """The way to the IMAP server; POP3 has another one."""
    with Proxy(("127.0.0.1", dovecot.imap_port)) as proxy:
        yield proxy


def configure(site: Site, imap: str, account: str = "", pop3: str = AT_ONCE, workers: int = 2, more: str = "") -> None:
    server = site.server
    other = f'[account.pop3]\nhost = "localhost"\nport = {server.pop3s_port}\nca_file = "{server.ca_file}"\n{pop3}'
    site.write(account=account, daemon=f"workers = {workers}\n{more}", imap=f"{imap}\n{other}")


@pytest.fixture
def metrics_port() -> int:
    return free_port()


@pytest.fixture
def both(site: Site, imap: Proxy, metrics_port: int) -> Site:
    """A site with both ways."""
    site.deliver(notes(1, 3))
    site.select = "all"
    more = f"metrics_port = {metrics_port}"
    configure(site, f'port = {imap.port}\ntls = "none"', 'every = "1s"\nidle = false', more=more)
    return site


@pytest.fixture
def running(both: Site) -> Iterator[subprocess.Popen[str]]:
    process = both.start("run")
    yield process
    if process.poll() is None:
        kill(process)


def places(database: Database[Document], via: str) -> int:
    return database.placements.count_documents({"via": via, "state": "stored"})


def letters(database: Database[Document]) -> list[str]:
    """The message ids of what counts."""
    return sorted(each["message_id"] for each in database.messages.find({"same_as": None}, {"message_id": 1}))


def status(site: Site) -> Document:
    found: Document = json.loads(site.run("status", "--json").stdout)["accounts"][0]
    return found


def test_imap_away_pop3_instead_imap_back_and_every_letter_counts_once(
    both: Site, imap: Proxy, running: subprocess.Popen[str], database: Database[Document], metrics_port: int
) -> None:
    until(lambda: places(database, "imap") == 5)

    with imap.down():
        both.deliver(notes(11, 13))
        until(lambda: places(database, "pop3") == 10)  # the day before is looked at too
        during, told, shown = status(both), both.run("status").stdout, letters(database)
    until(lambda: places(database, "imap") == 10)
    both.deliver(notes(21, 23))
    until(lambda: places(database, "imap") == 15)
    until(lambda: "ingestd_switches_total/work/imap" in fetched(metrics_port))
    counted = fetched(metrics_port)

    running.terminate()
    _, log = running.communicate(timeout=30)
    after = status(both)
    expected = sorted(f"{note.number}@example.org" for note in (*notes(1, 3), *notes(11, 13)))
    assert shown == expected
    assert letters(database) == sorted([*expected, *(f"{note.number}@example.org" for note in notes(21, 23))])
    assert database.messages.count_documents({"same_as": {"$ne": None}}) == 4  # two oddities, twice
    assert during["fallback"]["open"]
    assert "read over POP3 now; IMAP has failed" in told
    assert [switch["to"] for switch in after["fallback"]["history"]] == ["pop3", "imap"]
    assert (after["messages"], after["fallback"]["open"]) == (15, False)
    assert [counted[f"ingestd_switches_total/work/{to}"] for to in ("pop3", "imap")] == [1, 1]
    assert [line.count(event) for line in [log] for event in ("fell back to POP3", "back to IMAP")] == [1, 1]
    verified = both.run("verify", "--chain", "--deep")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert verified.stdout.splitlines()[-1] == "COMPLETE"


def test_one_pass_says_that_it_was_pop3_and_two_probes_that_it_is_imap_again(
    both: Site, imap: Proxy, database: Database[Document]
) -> None:
    assert both.run("once").returncode == 0
    with imap.down():
        both.deliver([Note(4)])
        away = both.run("once")
    probed, closed = both.run("once"), both.run("once")

    assert (away.returncode, probed.returncode, closed.returncode) == (1, 1, 0)
    assert "cannot connect: Connection refused; the INBOX was read over POP3 instead" in away.stderr
    assert "IMAP answers again" in probed.stderr
    assert places(database, "imap") == 6
    assert letters(database) == sorted(f"{note.number}@example.org" for note in (*notes(1, 3), Note(4)))


def test_when_both_are_away_both_are_named(both: Site, imap: Proxy) -> None:
    assert both.run("once").returncode == 0
    with imap.down(), Proxy(("127.0.0.1", both.server.pop3_port)) as pop3:
        way = f'port = {imap.port}\ntls = "none"'
        configure(both, way, pop3=AT_ONCE)
        text = both.config.read_text().replace(f"port = {both.server.pop3s_port}", f"port = {pop3.port}")
        both.config.write_text(text)
        with pop3.down():
            done = both.run("once")

    assert done.returncode == 1
    assert [line.count("cannot connect") for line in done.stderr.splitlines() if line.startswith("ingestd:")] == [1, 1]
    assert "read over POP3 instead" not in done.stderr


def test_a_wrong_certificate_never_leads_to_pop3(both: Site, database: Database[Document]) -> None:
    assert both.run("once").returncode == 0
    configure(both, f"port = {both.server.imaps_port}")  # whose authority nobody told us
    both.deliver([Note(4)])

    done = [both.run("once") for _ in range(3)]

    assert [each.returncode for each in done] == [1, 1, 1]
    assert all("is signed by an unknown authority" in each.stderr for each in done)
    assert places(database, "pop3") == 0
    assert status(both)["fallback"] is None


def test_a_wrong_password_never_leads_to_pop3(both: Site, database: Database[Document]) -> None:
    assert both.run("once").returncode == 0
    (both.directory / "secret").write_text("wrong\n")

    done = both.run("once")

    assert "login refused" in done.stderr
    assert places(database, "pop3") == 0


def test_pop3_waits_until_imap_has_failed_often_enough_and_long_enough(
    both: Site, imap: Proxy, database: Database[Document]
) -> None:
    configure(both, f'port = {imap.port}\ntls = "none"', pop3='fallback_after = "1h"\nfallback_attempts = 1')
    assert both.run("once").returncode == 0

    with imap.down():
        done = [both.run("once") for _ in range(2)]
        database.accounts.update_one({"_id": "work"}, {"$set": {"fallback.since": datetime(2026, 1, 1, tzinfo=UTC)}})
        both.run("once")

    assert all("cannot connect" in each.stderr for each in done)
    assert status(both)["fallback"]["open"]
    assert places(database, "pop3") == 5


def test_check_tries_pop3_too(both: Site) -> None:
    fine = both.run("check")
    configure(
        both,
        f'port = {both.server.imaps_port}\nca_file = "{both.server.ca_file}"',
        pop3='user = "nobody"\ntls = "none"',
    )
    wrong = both.run("check")

    assert fine.returncode == 0, fine.stderr
    assert wrong.returncode == 1


def test_mail_of_an_outage_that_ended_in_a_kill_is_sealed_once(
    both: Site, imap: Proxy, database: Database[Document]
) -> None:
    assert both.run("once").returncode == 0
    with imap.down():
        both.deliver([Note(4)])
        killed = both.run("once", INGESTD_FAIL_AT="sealed")

    both.run("once")
    last = both.run("once")

    assert (killed.returncode, last.returncode) == (-9, 0)
    named = [place["_id"] for seal in database.seals.find({"kind": "stored"}) for place in seal["places"]]
    stored = [place["_id"] for place in database.placements.find({"state": "stored"})]
    assert sorted(named) == sorted(stored)
