"""Bad input and bad servers: one clear line each, the right exit code, nothing marked, the other accounts done."""

from __future__ import annotations

import itertools
import json
import subprocess

import psutil
import pytest

from ingestd.demo.mailbox import messages
from tests.dovecot import private_dovecot
from tests.e2e.conftest import Site
from tests.waiting import until

OTHER = """
[[account]]
name = "other"
[account.imap]
host = "localhost"
port = {port}
ca_file = "{ca}"
user = "{user}"
password = {{ file = "secret" }}
"""


@pytest.fixture
def two(site: Site) -> Site:
    """A site whose first account is about to be spoiled, with a second one that is in order."""
    site.deliver(itertools.islice((m for m in messages(60) if "\\Seen" not in m.flags), 5))
    return site


def spoil(site: Site, imap: str = "", account: str = "") -> None:
    site.write(account=account, imap=imap)
    other = OTHER.format(port=site.server.imaps_port, ca=site.server.ca_file, user=site.user)
    site.config.write_text(site.config.read_text() + other)


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that says what is wrong."""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("ingestd: ")]
    return line


def assert_the_other_account_is_done(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 1, done.stderr
    accounts = {account["account"]: account for account in json.loads(done.stdout)["accounts"]}
    assert accounts["other"]["mailboxes"][0]["stored"] == 5
    assert accounts["work"]["mailboxes"] == []


def test_a_wrong_password(two: Site) -> None:
    spoil(two, f'port = {two.server.imaps_port}\nca_file = "{two.server.ca_file}"')
    wrong = two.directory / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text("not-the-password")
    text = two.config.read_text().replace('file = "secret"', 'file = "wrong"', 1)
    two.config.write_text(text)

    done = two.run("once", "--json")

    assert_the_other_account_is_done(done)
    assert "login refused by localhost" in complaint(done)
    assert complaint(done).endswith(f"check the password in file {wrong}")
    assert "not-the-password" not in done.stderr + done.stdout


def test_a_host_that_does_not_exist(two: Site) -> None:
    spoil(two)
    two.config.write_text(two.config.read_text().replace('host = "localhost"', 'host = "imap.invalid"', 1))

    done = two.run("once", "--json")

    assert_the_other_account_is_done(done)
    assert "imap.invalid" in complaint(done)


def test_a_port_where_nobody_listens(two: Site) -> None:
    spoil(two, "port = 9")

    done = two.run("once", "--json")

    assert_the_other_account_is_done(done)
    assert "localhost" in complaint(done)


def test_an_expired_certificate(two: Site) -> None:
    with private_dovecot("expired") as expired:
        spoil(two, f'port = {expired.imaps_port}\nca_file = "{expired.ca_file}"')

        done = two.run("once", "--json")

    assert_the_other_account_is_done(done)
    assert "expired" in complaint(done)


def test_a_certificate_that_nobody_vouches_for(two: Site) -> None:
    spoil(two, f"port = {two.server.imaps_port}")

    done = two.run("once", "--json")

    assert_the_other_account_is_done(done)
    assert "ca_file" in complaint(done)


def test_another_server_under_the_same_account_name(two: Site) -> None:
    two.write()
    two.once()
    before = two.state()
    text = two.config.read_text().replace('host = "localhost"', 'host = "127.0.0.1"')
    two.config.write_text(text)

    refused = two.run("once", "--json")
    unchanged = two.state()
    rebound = two.run("account", "rebind", "work")
    again = two.once()

    assert refused.returncode == 1
    assert "ingestd account rebind work" in complaint(refused)
    assert unchanged == before
    assert rebound.returncode == 0
    assert (again["selected"], again["stored"], again["copies"]) == (5, 0, 5)


def test_a_store_that_does_not_answer(two: Site) -> None:
    two.write(store='uri = "mongodb://127.0.0.1:9/mail?serverSelectionTimeoutMS=500"')

    done = two.run("once")

    assert done.returncode == 3
    assert "store mongodb://127.0.0.1:9/mail: no answer" in complaint(done)


def test_an_unknown_key(cold_site: Site) -> None:
    cold_site.write(account='evry = "5m"')

    done = cold_site.run("once")

    assert done.returncode == 2
    assert complaint(done).endswith('[[account]] evry: unknown key; did you mean "every"? (account "work")')
    assert not (cold_site.directory / "store").exists()


def test_an_unknown_account(two: Site) -> None:
    done = two.run("once", "wrk")

    assert done.returncode == 2
    assert 'did you mean "work"?' in complaint(done)


def test_check_says_what_it_found_and_changes_nothing(two: Site) -> None:
    two.deliver(m for m in itertools.islice(messages(40), 40) if "\\Seen" in m.flags)

    done = two.run("check")
    state = two.state()

    assert done.returncode == 0
    assert "IMAP4REV1" in done.stdout
    assert "5 selected" in done.stdout
    assert 'select = "all"' in done.stdout
    assert "memory: 1.0 GiB at most; " in done.stdout
    assert state["places"] == set()


def test_check_finds_an_action_that_the_server_cannot_do(two: Site) -> None:
    two.write(account='after_store = "move:Nowhere"')

    done = two.run("check")

    assert done.returncode == 1
    assert "Nowhere" in complaint(done)


def test_moving_into_a_mailbox_that_is_taken_in_is_refused(two: Site) -> None:
    client = two.client()
    client.create_folder("Archive/Done")
    client.logout()
    two.write(account='mailboxes = ["INBOX", "Archive/*"]\nafter_store = "move:Archive/Done"')

    done = two.run("once", "--json")

    assert done.returncode == 1
    assert "again and again" in complaint(done)


def test_ctrl_c_finishes_what_is_being_stored(two: Site) -> None:
    two.deliver(messages(400))
    two.select = "all"
    two.write()
    process = two.start("once")
    until(lambda: len(psutil.Process(process.pid).children(recursive=True)) >= 2)

    process.send_signal(2)
    process.communicate(timeout=60)

    state = two.state()
    assert process.returncode == 130
    assert len(state["places"]) == len(state["sealed"])
    assert two.once()["remaining"] == 0
