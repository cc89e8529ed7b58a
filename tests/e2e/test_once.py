"""`ingestd once` against real servers, as an operator sees it."""

from __future__ import annotations

import itertools
import json
import re
from hashlib import sha256
from threading import Barrier

import pytest

from ingestd.archive import rebuild
from ingestd.config import load
from ingestd.daemon import reading
from ingestd.demo.mailbox import Sample, messages
from tests.e2e.conftest import Site, on_the_wire
from tests.fakes import NOON
from tests.imap_script import ImapScript

COUNT = 2000


def test_two_thousand_messages_are_stored_each_once_and_come_back_byte_for_byte(site: Site) -> None:
    letters = list(messages(COUNT))
    site.deliver(letters)
    site.select = "all"
    site.write()
    site.server.transcribe(site.user)

    first = site.once()
    transcript_of_first = site.server.transcript(site.user)
    second = site.once()
    transcript_of_second = site.server.transcript(site.user)[len(transcript_of_first) :]

    assert first["stored"] + first["copies"] == first["selected"] == COUNT
    assert (second["known_before"], second["selected"]) == (COUNT, 0)
    with reading(load(site.config)) as database:
        assert database.placements.count_documents({"state": "stored"}) == COUNT
        found = {
            sha256(b"".join(rebuild.original(database, message))).hexdigest()
            for message in database.messages.find({}, {"sha256": 1})
        }
    assert found == {on_the_wire(letter) for letter in letters}
    sent = set(re.findall(rb"(?m)^\S+ \S+ (UID [A-Z]+|[A-Z]+)", transcript_of_first))
    assert sent == {b"LIST", b"EXAMINE", b"UID SEARCH", b"UID FETCH", b"LOGOUT"}
    assert transcript_of_first.count(b"BODY.PEEK[]") == COUNT
    assert b"BODY[" not in transcript_of_first
    assert b"BODY" not in transcript_of_second
    unread = sum("\\Seen" not in letter.flags for letter in letters)
    client = site.client()
    client.select_folder("INBOX", readonly=True)
    assert len(client.search("UNSEEN")) == unread
    client.logout()


def test_accounts_are_visited_several_at_a_time_and_told_in_order(site: Site) -> None:
    everybody = Barrier(4, timeout=20)
    with ImapScript({1: b"Subject: one\r\n\r\nhello\r\n"}) as server:
        server.replies["EXAMINE"] = lambda turn: (everybody.wait(), turn.default())[1]
        names = ["a", "b", "c", "d"]
        site.write(imap=f'port = {server.port}\ntls = "none"')
        store, _, table = site.config.read_text().partition("[[account]]")
        site.config.write_text(store + "".join("[[account]]" + table.replace('"work"', f'"{name}"') for name in names))

        done = site.run("once", "--json")

    assert done.returncode == 0, done.stderr
    accounts = json.loads(done.stdout)["accounts"]
    assert [(each["account"], each["mailboxes"][0]["on_server"]) for each in accounts] == [(name, 1) for name in names]


def test_text_that_no_mail_program_shows_is_shown(site: Site) -> None:
    hiding = b'Content-Type: multipart/mixed; boundary="b"\r\n\r\na\r\nsecret\r\n--b\r\n\r\nhello\r\n--b--\r\nand more'
    site.deliver([Sample(hiding, NOON, ())])
    site.once()

    shown = site.run("show", sha256(hiding).hexdigest()).stdout.splitlines()

    assert [line.split(maxsplit=1) for line in shown if line.startswith(("text", "preamble", "epilogue"))] == [
        ["text", "hello"],
        ["preamble", "a secret"],
        ["epilogue", "and more"],
    ]


def test_directions_follow_our_domains_by_migrate(site: Site) -> None:
    site.deliver(messages(60))
    site.once()
    site.write(store=site.store + '\nown_domains = ["example.org"]')

    said = [site.run("migrate", *words).stdout for words in (("--dry-run",), (), ("--dry-run",))]

    assert said == ["missing: mail\n", "built: mail\n", "missing: nothing\n"]
    with reading(load(site.config)) as database:
        found = {message["direction"] for message in database.mail.find({}, {"direction": 1})}
    assert found >= {"inbound", "outbound"}


def test_mail_read_before_the_first_pass_is_left_out_said_and_taken_with_all(site: Site) -> None:
    letters = list(messages(60))
    unread = sum("\\Seen" not in letter.flags for letter in letters)
    site.deliver(letters)

    said = site.run("once")
    site.select = "all"
    site.write()
    taken = site.once()

    assert said.returncode == 0
    assert f"{60 - unread} already read" in said.stdout
    assert 'select = "all"' in said.stdout
    assert (taken["known_before"], taken["selected"]) == (unread, 60 - unread)


def test_a_message_that_a_person_opens_between_two_passes_is_stored_all_the_same(site: Site) -> None:
    site.deliver(itertools.islice(messages(20), 5))
    site.once()
    client = site.client()
    client.append("INBOX", b"Subject: opened at once\r\n\r\nhello\r\n", flags=[rb"\Seen"])
    client.logout()

    summary = site.once()

    assert (summary["selected"], summary["stored"]) == (1, 1)


def test_a_dry_run_says_what_would_be_taken_and_takes_nothing(site: Site) -> None:
    letters = list(messages(30))
    site.deliver(letters)

    dry = site.run("once", "--dry-run", "--json")
    state = site.state()

    (account,) = json.loads(dry.stdout)["accounts"]
    assert account["mailboxes"][0]["selected"] == sum("\\Seen" not in letter.flags for letter in letters)
    assert (state["places"], state["messages"]) == (set(), [])


def test_a_limit_takes_so_many_and_the_next_pass_the_rest(site: Site) -> None:
    site.deliver(messages(30))
    site.select = "all"
    site.write()

    first, second = site.once("--limit", "10"), site.once()

    assert (first["stored"] + first["copies"], first["remaining"]) == (10, 20)
    assert second["stored"] + second["copies"] == 20


@pytest.mark.parametrize("action", ["seen", "flag:$Archived", "move:Done"])
def test_the_server_is_told_what_was_asked_for_once_it_is_stored(site: Site, action: str) -> None:
    letters = [letter for letter in messages(60) if "\\Seen" not in letter.flags][:10]
    site.deliver(letters)
    client = site.client()
    client.create_folder("Done")
    site.write(account=f'after_store = "{action}"')

    summary = site.once()

    client.select_folder("Done" if action == "move:Done" else "INBOX", readonly=True)
    found = {"seen": "SEEN", "flag:$Archived": "KEYWORD $Archived", "move:Done": "ALL"}[action]
    assert len(client.search(found)) == summary["selected"] == 10
    client.logout()


def test_several_mailboxes_are_served_by_pattern(site: Site) -> None:
    client = site.client()
    for name in ("Archive", "Archive/2025", "Entwürfe & Co"):
        client.create_folder(name)
        client.append(name, f"Subject: in {len(name)}\r\n\r\nhello\r\n".encode())
    client.logout()
    site.write(account='mailboxes = ["INBOX", "Archive/*", "Entwürfe & Co"]')

    done = site.run("once", "--json")

    (account,) = json.loads(done.stdout)["accounts"]
    assert {m["mailbox"]: m["stored"] for m in account["mailboxes"]} == {
        "INBOX": 0,
        "Archive/2025": 1,
        "Entwürfe & Co": 1,
    }


def sent(transcript: bytes) -> list[bytes]:
    """The commands of a session, without their tags and arguments."""
    return re.findall(rb"(?m)^\S+ i\d+ (UID [A-Z]+|[A-Z]+)", transcript)


def test_a_pass_over_a_mailbox_in_which_nothing_happened_only_opens_it(site: Site) -> None:
    site.deliver(messages(60))
    site.once()
    site.server.transcribe(site.user)

    summary = site.once()

    assert sent(site.server.transcript(site.user)) == [b"LIST", b"EXAMINE"]
    assert (summary["on_server"], summary["selected"]) == (60, 0)
    assert summary["known_before"] + sum(summary["left_out"].values()) == 60


def test_what_a_person_opens_or_flags_later_is_followed(site: Site) -> None:
    site.deliver(itertools.islice((m for m in messages(60) if "\\Seen" not in m.flags), 5))
    site.once()
    client = site.client()
    client.select_folder("INBOX")
    client.add_flags([2], [rb"\Seen", "$Forwarded"])
    client.logout()

    site.once()

    with reading(load(site.config)) as database:
        flags = {place["uid"]: place["flags"] for place in database.placements.find()}
    assert flags == {1: [], 2: ["$Forwarded", "\\Seen"], 3: [], 4: [], 5: []}


def test_status_says_how_long_a_backlog_will_take(site: Site) -> None:
    site.deliver(Sample(b"Subject: %d\r\n\r\nhello\r\n" % n, NOON, ()) for n in range(550))
    site.once("--limit", "50")

    shown, said = site.run("status").stdout, json.loads(site.run("status", "--json").stdout)

    (mailbox,) = said["accounts"][0]["mailboxes"]
    assert (mailbox["to_do"], mailbox["per_second"] > 0) == (500, True)
    assert re.search(r"  INBOX: 500 to do, .+ at the pace of its last visit \([\d,]+/s\)", shown)
