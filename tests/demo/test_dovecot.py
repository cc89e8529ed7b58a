"""The private mail server: it starts where it can, says why where it cannot, and never outlives whoever started it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from imaplib import IMAP4, IMAP4_SSL
from pathlib import Path
from poplib import POP3
from smtplib import LMTP
from ssl import create_default_context

import pytest

from ingestd.demo.dovecot import Dovecot
from ingestd.demo.mailbox import Sample
from ingestd.errors import Refused
from tests.dovecot import private_dovecot
from tests.waiting import until

DEADLINE = 20.0
START = """
import sys
from pathlib import Path
from ingestd.demo.dovecot import Dovecot
with Dovecot(Path(sys.argv[1]), "secret") as server:
    print(server.imap_port, flush=True)
    sys.stdin.read()
"""


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_it_speaks_every_protocol_and_keeps_what_it_takes(dovecot: Dovecot, mail_user: str) -> None:
    with LMTP("127.0.0.1", dovecot.lmtp_port) as lmtp:
        lmtp.sendmail("ann@example.org", mail_user, b"Subject: hello\r\n\r\nText\r\n")
    with IMAP4_SSL("localhost", dovecot.imaps_port, ssl_context=create_default_context(cafile=dovecot.ca_file)) as imap:
        imap.login(mail_user, dovecot.password)
        exists = imap.select("INBOX", readonly=True)[1]
    pop3 = POP3("127.0.0.1", dovecot.pop3_port)
    pop3.user(mail_user)
    pop3.pass_(dovecot.password)

    assert exists == [b"1"]
    assert pop3.stat()[0] == 1
    pop3.quit()


def test_delivered_mail_has_its_order_its_date_and_its_flags(dovecot: Dovecot, mail_user: str) -> None:
    date = datetime(2026, 3, 1, tzinfo=UTC)
    sent = [Sample(b"Subject: %d\r\n\r\n" % n, date + timedelta(days=-n), ("\\Seen",) * (n == 2)) for n in range(3)]

    assert dovecot.deliver(mail_user, "INBOX", sent) == 3

    imap = IMAP4("127.0.0.1", dovecot.imap_port)
    imap.login(mail_user, dovecot.password)
    imap.select("INBOX", readonly=True)
    _, subjects = imap.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    _, dates = imap.fetch("1:*", "(INTERNALDATE)")
    _, seen = imap.search(None, "SEEN")
    imap.logout()
    assert [part[1] for part in subjects if isinstance(part, tuple)] == [one.content for one in sent]
    assert [b"01-Mar-2026" in dates[0], b"28-Feb-2026" in dates[1], b"27-Feb-2026" in dates[2]] == [True] * 3
    assert seen == [b"3"]


def test_it_comes_back_on_the_same_ports_with_the_same_mail() -> None:
    with private_dovecot() as server:
        server.deliver("ann", "INBOX", [Sample(b"Subject: x\r\n\r\n", datetime(2026, 3, 1, tzinfo=UTC), ())])
        port = server.imap_port

        server.stop()
        assert not listens(port)
        server.start()

        imap = IMAP4("127.0.0.1", port)
        imap.login("ann", server.password)
        assert imap.select("INBOX")[1] == [b"1"]
        imap.logout()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_the_process_that_started_it(end: signal.Signals) -> None:
    with private_dovecot() as other:  # a directory that its unprivileged user can reach
        directory = other.directory / "second"
        starter = subprocess.Popen(
            [sys.executable, "-c", START, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert starter.stdout
        assert starter.stdin
        with starter.stdout, starter.stdin:
            port = int(starter.stdout.readline())
            assert listens(port)

            starter.send_signal(end)
            starter.wait(DEADLINE)

        until(lambda: not listens(port), DEADLINE)
        assert listens(other.imap_port)


@pytest.mark.skipif(os.getuid() != 0, reason="only as root it becomes another user")
def test_a_directory_that_its_user_cannot_enter_is_refused() -> None:
    with (
        tempfile.TemporaryDirectory() as closed,
        pytest.raises(Refused, match="choose a directory below /tmp"),
        Dovecot(Path(closed) / "mail", "secret"),
    ):
        pass


def test_a_path_too_long_for_its_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="too long"), Dovecot(tmp_path / ("x" * 80), "secret"):
        pass


@pytest.mark.parametrize("password", ["", "two words", "%u", "a\nb"])
def test_a_password_that_the_configuration_would_misread_is_refused(tmp_path: Path, password: str) -> None:
    with pytest.raises(ValueError, match="password"):
        Dovecot(tmp_path, password)
