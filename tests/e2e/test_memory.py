"""All processes together stay within `memory_limit`, whatever the mail is and whatever its servers say."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

from pymongo.database import Database

from ingestd.budget import MIB, Budget
from ingestd.demo.mailbox import Sample
from tests.e2e.conftest import SECONDS, Site
from tests.fakes import mail
from tests.footprint import need_pss, sampled
from tests.imap_script import ImapScript, Turn
from tests.mime.test_hostile import HOSTILE, MIXED, file
from tests.waiting import until

Document = dict[str, Any]

LIMIT = 508  # MiB; with less, the configuration is refused
DAEMON = f'workers = 2\nspool_memory = "8MiB"\nmemory_limit = "{LIMIT}MiB"'
SHARE = Budget.of(LIMIT * MIB, workers=2, spool=8 * MIB, accounts=1).worker
LINE = b"A line of a text that is as long as others are, and says as little.\r\n"
BOMBS = (
    "a hundred thousand parts",
    "ten thousand levels",
    "compressed rich text",
    "rich bodies in one winmail.dat after another",
    "files in a winmail.dat",
    "properties in a winmail.dat",
    "10 MB of encoded words",
)


def hostile() -> Iterator[bytes]:
    """As much as there can be of everything that a message can have, among hundreds of others."""
    yield file(b"base64", base64.encodebytes(os.urandom(44_000_000))) + b"--b--\n"
    yield b"Subject: text\r\n\r\n" + LINE * 870_000
    yield b"".join(b"X-%d: %s" % (number, LINE) for number in range(390_000)) + b"\r\nhi"
    people = b", ".join(b"Someone <a%d@example.org>" % number for number in range(1700))
    yield b"".join(b"%s: %s\r\n" % (name, people) for name in (b"From", b"To", b"Cc", b"Bcc", b"Reply-To")) + b"\r\nhi"
    yield from (HOSTILE[name]() for name in BOMBS)
    # Small ones that together take more than a worker has.
    parts = MIXED + b"Content-Type: a/b\n\nx\n--b\n" * 1990
    yield from (b"Message-ID: <%d@x>\n" % number + parts for number in range(30))
    yield from map(mail, range(150))


@need_pss
def test_no_mail_makes_all_processes_take_more_than_they_may(site: Site, database: Database[Document]) -> None:
    count = site.deliver(Sample(content, datetime.now(UTC), ()) for content in hostile())
    site.write(daemon=DAEMON)

    process = site.start("once", "--json")
    peak = sampled(process, SECONDS)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 0, err
    assert peak.pss < LIMIT * MIB
    assert 0.9 * SHARE < peak.data <= SHARE  # it was asked for more
    assert database.placements.count_documents({"state": "stored"}) == count > 180
    assert {each["parse"]["status"] for each in database.messages.find({}, {"parse.status": 1})} == {"ok", "partial"}


def endless(turn: Turn, database: Database[Document]) -> None:
    """Find every other of millions of messages, once the others have theirs."""
    until(lambda: database.messages.count_documents({}))
    turn.send(b"* SEARCH " + b" ".join(b"%d" % uid for uid in range(1, 4_000_000, 2)))
    turn.send(b"%t OK done")


def enormous(turn: Turn) -> None:
    """Open a mailbox of millions of messages."""
    turn.send(b"* 2000000 EXISTS\r\n* OK [UIDVALIDITY 7]\r\n* OK [UIDNEXT 4000000]\r\n%t OK done")


@need_pss
def test_a_server_that_says_more_than_fits_fails_alone(site: Site, database: Database[Document]) -> None:
    site.deliver([Sample(mail(1), datetime.now(UTC), ())])
    with ImapScript({1: mail(2)}) as server:
        server.replies |= {"UID SEARCH": partial(endless, database=database), "EXAMINE": enormous}
        site.write(daemon=DAEMON)
        others = site.config.read_text().partition("[[account]]")
        table = f'[[account]]\nname = "a"\n[account.imap]\nhost = "127.0.0.1"\nport = {server.port}\ntls = "none"\n'
        login = 'user = "u"\npassword = { file = "secret" }\n'
        site.config.write_text(others[0] + table + login + others[1] + others[2])

        process = site.start("once", "--json")
        peak = sampled(process, SECONDS)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 1
    assert err == (
        "ingestd: account a: what its server says does not fit into memory; raise daemon.memory_limit if you trust it\n"
    )
    assert peak.pss < LIMIT * MIB
    assert [each["account"] for each in database.messages.find()] == ["work"]
