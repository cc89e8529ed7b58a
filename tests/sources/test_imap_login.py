"""Getting into a server, or being told plainly why not."""

from __future__ import annotations

import socket
import ssl
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ingestd.demo.certificates import Certificate, make_certificates
from ingestd.demo.dovecot import Dovecot
from ingestd.errors import IngestError, PutOff, Refused, Unavailable, Unreachable
from ingestd.sources.imap import ImapAccount, Server
from ingestd.sources.wire import tls_context

from ..imap_script import ImapScript, Turn


@pytest.fixture
def server() -> Iterator[ImapScript]:
    with ImapScript() as script:
        yield script


def why_not(server: Server) -> IngestError:
    with pytest.raises(IngestError) as caught, ImapAccount("work", server):
        pass
    return caught.value


# --- passwords


def test_dovecot_lets_in_whoever_knows_the_password(dovecot: Dovecot, mail_user: str) -> None:
    server = Server("localhost", dovecot.imaps_port, "implicit", mail_user, lambda: "secret", dovecot.ca_file)

    with ImapAccount("work", server) as account:
        assert "IMAP4REV1" in account.capabilities
        assert list(account.capabilities) == sorted(account.capabilities)


def test_starttls_is_done_before_the_login(dovecot: Dovecot, mail_user: str) -> None:
    server = Server("localhost", dovecot.imap_port, "starttls", mail_user, lambda: "secret", dovecot.ca_file)

    with ImapAccount("work", server) as account:
        assert account.mailboxes(["INBOX"]) == ["INBOX"]


def test_a_wrong_password_is_refused_without_the_servers_words(dovecot: Dovecot, mail_user: str) -> None:
    server = Server("localhost", dovecot.imaps_port, "implicit", mail_user, lambda: "wrong", dovecot.ca_file)

    error = why_not(server)

    assert type(error) is Refused
    assert str(error) == ("account work: login refused by localhost [AUTHENTICATIONFAILED]; check the password")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"%t NO [AUTHENTICATIONFAILED] me@example.org unknown", Refused),
        (b"%t NO LOGIN failed for me@example.org", Refused),
        (b"%t BAD me@example.org", Refused),
        (b"%t NO [UNAVAILABLE] me@example.org", Unreachable),
        (b"%t NO [INUSE] me@example.org", PutOff),
        (b"%t NO [LIMIT] me@example.org", PutOff),
        (b"%t NO [OVERQUOTA] me@example.org", PutOff),
        (b"%t NO [THROTTLED] me@example.org", PutOff),
        (b"%t NO [ALERT] Too many simultaneous connections for me@example.org", PutOff),
        (b"* BYE Too many connections of me@example.org", PutOff),
        (b"* BYE me@example.org", Unavailable),
        (b"garbage of me@example.org", Unavailable),
    ],
)
def test_a_login_answer_is_sorted_and_not_repeated(server: ImapScript, answer: bytes, kind: type[IngestError]) -> None:
    server.replies["LOGIN"] = lambda turn: turn.send(answer)
    server.capabilities = "IMAP4rev1"

    error = why_not(server.account())

    assert type(error) is kind
    assert "me@" not in "".join(traceback.format_exception(error))
    assert "secret" not in "".join(traceback.format_exception(error))


def test_no_password_is_sent_where_login_is_disabled(server: ImapScript) -> None:
    server.capabilities = "IMAP4rev1 LOGINDISABLED STARTTLS"

    error = why_not(server.account())

    assert type(error) is Refused
    assert server.count("LOGIN") == server.count("AUTHENTICATE") == 0


def test_names_and_passwords_with_special_characters_arrive(server: ImapScript) -> None:
    server.capabilities = "IMAP4rev1"

    with ImapAccount("work", replace(server.account(), user='a "b" \\c', password=lambda: 'p"w\\')):
        pass

    assert 'LOGIN "a \\"b\\" \\\\c" "p\\"w\\\\"' in server.commands


@pytest.mark.parametrize("password", ["pässword", "two\r\nlines"])
def test_a_password_that_login_cannot_carry_is_not_sent(server: ImapScript, password: str) -> None:
    server.capabilities = "IMAP4rev1"

    error = why_not(replace(server.account(), password=lambda: password))

    assert type(error) is Refused
    assert server.count("LOGIN") == 0


def test_the_password_is_read_anew_at_each_login(server: ImapScript) -> None:
    asked = iter(["first", "second"])
    settings = replace(server.account(), password=lambda: next(asked))

    for _ in range(2):
        with ImapAccount("work", settings):
            pass

    assert next(asked, None) is None


def test_authenticated_but_not_connected_means_later(server: ImapScript) -> None:
    server.replies["EXAMINE"] = lambda turn: turn.send(b"%t NO User is authenticated but not connected.")

    with ImapAccount("work", server.account()) as account, pytest.raises(Unavailable):
        account.open("INBOX")


# --- no server, or another one


def test_a_port_where_nobody_listens_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    error = why_not(Server("127.0.0.1", port, "none", "user", lambda: "secret"))

    assert type(error) is Unreachable
    assert "Connection refused" in str(error)


def test_an_unknown_name_says_where_to_look() -> None:
    error = why_not(Server("nowhere.invalid", 993, "implicit", "user", lambda: "secret"))

    assert type(error) is Unreachable
    assert str(error) == "account work: cannot resolve nowhere.invalid; check account.imap.host"


def test_a_server_that_greets_by_naming_a_limit_puts_us_off() -> None:
    with ImapScript(greeting=b"* BYE Too many connections from 192.0.2.1") as server:
        error = why_not(server.account())

    assert isinstance(error, PutOff)
    assert str(error).endswith("is no IMAP server: too many connections")


@pytest.mark.parametrize("greeting", [b"* BYE go away", b"220 mail.example.org ESMTP", b"* NO go away", b""])
def test_a_server_that_does_not_greet_is_unavailable(greeting: bytes) -> None:
    with ImapScript(greeting=greeting) as server:
        assert type(why_not(server.account(timeout=0.3))) is Unreachable


def test_a_black_hole_is_noticed_within_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = why_not(Server("127.0.0.1", silent.getsockname()[1], "implicit", "u", lambda: "p", timeout=0.3))

    assert type(error) is Unreachable


def test_a_server_that_lets_anyone_in_is_not_believed() -> None:
    with ImapScript(greeting=b"* PREAUTH come in") as server:
        assert type(why_not(server.account())) is Refused


def test_a_server_that_stalls_at_the_login_is_unavailable(server: ImapScript) -> None:
    server.replies["AUTHENTICATE"] = Turn.hang

    assert type(why_not(server.account(timeout=0.3))) is Unreachable


# --- certificates


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[Callable[[Certificate], tuple[Server, ImapScript]]]:
    """A server with a certificate of some kind, and how to reach it by an authority that signed that."""
    running: list[ImapScript] = []

    def start(kind: Certificate) -> tuple[Server, ImapScript]:
        make_certificates(tmp_path, kind)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
        running.append(ImapScript(context=context).__enter__())
        account = replace(running[-1].account(), host="localhost", tls="implicit", ca_file=tmp_path / "ca.pem")
        return account, running[-1]

    yield start
    for server in running:
        server.__exit__()


def test_a_certificate_that_verifies_is_accepted(encrypted: Callable[[Certificate], tuple[Server, ImapScript]]) -> None:
    account, server = encrypted("good")

    with ImapAccount("work", account):
        pass

    assert server.count("AUTHENTICATE") == 1


@pytest.mark.parametrize(("kind", "reason"), [("expired", "has expired"), ("other-host", "is for another host")])
def test_a_bad_certificate_is_refused_before_anything_is_said(
    encrypted: Callable[[Certificate], tuple[Server, ImapScript]], kind: Certificate, reason: str
) -> None:
    account, server = encrypted(kind)

    error = why_not(account)

    assert type(error) is Refused
    assert f"the certificate of localhost {reason}" in str(error)
    assert server.commands == []


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_an_unknown_authority_is_refused_and_the_mend_named(dovecot: Dovecot, tls: str) -> None:
    port = dovecot.imaps_port if tls == "implicit" else dovecot.imap_port

    error = why_not(Server("localhost", port, tls, "user", lambda: "secret"))  # type: ignore[arg-type]

    assert type(error) is Refused
    assert "unknown authority" in str(error)
    assert "account.imap.ca_file" in str(error)


def test_a_server_without_starttls_gets_no_login(server: ImapScript) -> None:
    error = why_not(replace(server.account(), tls="starttls"))

    assert type(error) is Refused
    assert "does not offer STARTTLS" in str(error)
    assert server.count("AUTHENTICATE") == server.count("LOGIN") == 0


@pytest.mark.parametrize(
    "answer", [b"%t NO not today", b"%t BAD what?", b"%t OK go on\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN"]
)
def test_starttls_that_goes_wrong_gets_no_login(server: ImapScript, answer: bytes) -> None:
    server.capabilities = "IMAP4rev1 AUTH=PLAIN STARTTLS"
    server.replies["STARTTLS"] = lambda turn: turn.send(answer)

    error = why_not(replace(server.account(timeout=0.5), tls="starttls"))

    assert isinstance(error, Unavailable | Refused)
    assert server.count("AUTHENTICATE") == server.count("LOGIN") == 0


def test_tls_to_a_port_without_it_is_refused(server: ImapScript) -> None:
    error = why_not(replace(server.account(), tls="implicit"))

    assert type(error) is Refused
    assert "does not speak TLS" in str(error)


def test_an_authority_file_that_cannot_be_read_is_refused(server: ImapScript, tmp_path: Path) -> None:
    for broken in (tmp_path / "missing.pem", tmp_path):
        error = why_not(replace(server.account(), tls="implicit", ca_file=broken))

        assert type(error) is Refused
        assert "check account.imap.ca_file" in str(error)


def test_connections_share_what_they_verify_by_until_it_changes(dovecot: Dovecot, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(dovecot.ca_file.read_bytes())
    first, system = tls_context(file), tls_context(None)

    assert tls_context(file) is first is not system
    assert tls_context(None) is system
    file.unlink()
    file.write_bytes(dovecot.ca_file.read_bytes() + b"\n")
    assert tls_context(file) is not first
