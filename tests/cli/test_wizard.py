"""What `ingestd init` makes of what was found."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingestd.cli import app
from ingestd.sources.offer import Offer


def found(monkeypatch: pytest.MonkeyPatch, *offers: Offer) -> None:
    monkeypatch.setattr("ingestd.cli.wizard.discover", lambda address: iter(offers))


def test_a_password_does_not_go_where_only_dns_says_without_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("sesame")
    found(monkeypatch, Offer("imap.example.com", 993, "implicit", "ann@example.org", "DNS says so", told=True))
    words = ["--address", "ann@example.org", "--password-file", str(secret)]

    code = app.main(["init", "--config", str(tmp_path / "ingestd.toml"), *words])

    said = capsys.readouterr().err
    assert code == 2
    assert "imap.example.com is no host of example.org, and DNS can lie" in said
    assert "--imap-host imap.example.com --imap-port 993 --tls implicit" in said


def test_a_domain_of_which_nothing_is_found_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found(monkeypatch)

    code = app.main(["init", "--config", str(tmp_path / "ingestd.toml"), "--address", "ann@example.org"])

    assert code == 2
    assert "no mail server is found for example.org; name it: --imap-host HOST" in capsys.readouterr().err
