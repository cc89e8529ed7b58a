"""Alerts as an operator meets them: the mail that arrives."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import SECONDS, Site
from tests.smtp_server import PASSWORD, USER, SmtpServer
from tests.token_server import TokenServer
from tests.waiting import until

TABLE = """
[alerts]
host = "localhost"
port = {port}
tls = "{tls}"
ca_file = "{ca}"
user = "{user}"
from = "ingestd@example.org"
to = ["ops@example.org"]
"""
BY_PASSWORD = 'password = { file = "smtp-secret" }\n'
BY_TOKEN = '[alerts.oauth]\ntoken_url = "{token}"\ndevice_url = "{device}"\nclient_id = "ingestd"\nscope = "mail"\n'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SmtpServer]:
    with SmtpServer(tmp_path / "smtp", "starttls") as running:
        yield running


def configure(site: Site, server: SmtpServer, login: str, daemon: str = "") -> None:
    site.write(daemon=f"workers = 0\n{daemon}")
    table = TABLE.format(port=server.port, tls=server.tls, ca=server.ca_file, user=USER)
    site.config.write_text(site.config.read_text() + table + login)
    for name, secret in (("smtp-secret", PASSWORD), ("wrong", "not this one")):
        (site.directory / name).touch(mode=0o600)
        (site.directory / name).write_text(secret)


def test_a_trial_arrives(site: Site, server: SmtpServer) -> None:
    configure(site, server, BY_PASSWORD)

    done = site.run("alert", "--test")

    assert done.returncode == 0, done.stderr
    assert done.stdout == "localhost took a mail to 1 address; see if it arrives\n"
    assert server.messages[0]["Subject"] == "ingestd: a test of its alerts"


def test_a_trial_arrives_by_a_login_that_a_person_made_once(site: Site, tmp_path: Path) -> None:
    with TokenServer() as issuer, SmtpServer(tmp_path / "smtp", knows=issuer.users.__contains__) as server:
        issuer.approved = USER
        login = BY_TOKEN.format(token=issuer.url("/token"), device=issuer.url("/device"))
        (site.directory / "key").touch(mode=0o600)
        (site.directory / "key").write_text(site.run("auth", "key").stdout)
        configure(site, server, login, 'token_key = { file = "key" }')

        before = site.run("alert", "--test")
        logged_in = site.run("auth", "login", "alerts")
        done = site.run("alert", "--test")

    assert "ingestd auth login alerts" in before.stderr
    assert "alerts: logged in; try: ingestd alert --test" in logged_in.stdout
    assert done.returncode == 0, done.stderr
    assert server.logins == ["OAUTHBEARER"]


def test_a_wrong_password_is_told_while_the_daemon_runs_and_when_it_is_mended(site: Site, server: SmtpServer) -> None:
    configure(site, server, BY_PASSWORD)
    good = site.config.read_text()
    site.config.write_text(good.replace('{ file = "secret" }', '{ file = "wrong" }'))
    daemon = site.start("run")
    try:
        until(lambda: len(server.messages) == 1)
        shown = json.loads(site.run("alert", "--json").stdout)["alerts"]
        site.config.write_text(good)
        os.kill(daemon.pid, signal.SIGHUP)
        until(lambda: not json.loads(site.run("alert", "--json").stdout)["alerts"])
    finally:
        os.kill(daemon.pid, signal.SIGTERM)
        _, log = daemon.communicate(timeout=SECONDS)

    assert daemon.returncode == 0
    assert [notice["id"] for notice in shown] == ["refused/work"]
    (message,) = server.messages
    assert message["Subject"] == "ingestd: work is refused"
    assert "login refused by localhost" in message.get_content()
    assert site.user not in message.get_content()
    assert "alerts sent" in log
    assert PASSWORD not in log
