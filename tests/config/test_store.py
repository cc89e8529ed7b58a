"""Secrets, and how the store may be reached."""

from __future__ import annotations

from typing import Any

import pytest

from ingestd.config import Secret, Store, load
from tests.config.writing import ACCOUNT, IMAP, STORE, Write, mistake

# --- secrets


@pytest.mark.parametrize("where", ["store", "imap"])
def test_a_password_in_the_file_is_refused_and_not_repeated(write: Write, where: str) -> None:
    plain = 'password = "hunter2"\n'
    text = (
        STORE + plain + ACCOUNT + IMAP
        if where == "store"
        else STORE + ACCOUNT + IMAP.replace('{ env = "X" }', '"hunter2"')
    )

    said = mistake(write(text))

    assert "a secret does not stand in the configuration; write it to a file that only you can read" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("secret", ["{}", '{ env = "X", file = "y" }', "{ command = [] }", '{ command = "pass mail" }'])
def test_a_secret_is_exactly_one_reference(write: Write, secret: str) -> None:
    said = mistake(write(STORE + ACCOUNT + IMAP.replace('{ env = "X" }', secret)))

    assert said.startswith("[account.imap.password] ")


@pytest.mark.parametrize(
    ("secret", "kind", "value"),
    [
        ({"file": "/x"}, "file", "/x"),
        ({"credential": "work"}, "credential", "work"),
        ({"command": ["pass", "mail"]}, "command", ("pass", "mail")),
        ({"env": "X"}, "env", "X"),
    ],
)
def test_a_secret_is_read_as_what_it_refers_to(secret: dict[str, Any], kind: str, value: object) -> None:
    read = Secret.model_validate(secret)

    assert (read.kind, read.value) == (kind, value)


# --- the store


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://localhost/mail",
        "mongodb://127.0.0.1:27017,[::1]:27018/mail?replicaSet=a",
        "mongodb://%2Frun%2Fmongodb.sock/mail",
        "mongodb://me@db.example.org/mail?tls=true",
        "mongodb://db.example.org?ssl=TRUE",
        "mongodb+srv://db.example.org/mail",
        "embedded:var/store",
    ],
)
def test_a_store_that_nobody_can_overhear_is_accepted(uri: str) -> None:
    store = Store(uri=uri)

    assert not store.exposed


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://db.example.org/mail",
        "mongodb://localhost,db.example.org/mail",
        "mongodb://localhost.example.org/mail",
        "mongodb://db.example.org/mail?tls=false",
        "mongodb://db.example.org/mail?tls=true&tlsInsecure=true",
        "mongodb://db.example.org/mail?tls=true&tlsAllowInvalidCertificates=true",
        "mongodb+srv://db.example.org/mail?tls=false",
    ],
)
def test_a_store_that_others_can_overhear_has_to_be_asked_for(write: Write, uri: str) -> None:
    text = f'[store]\nuri = "{uri}"\n'

    said = mistake(write(text + ACCOUNT + IMAP))

    assert said.startswith("[store] uri: not encrypted, or certificates are not checked; add tls=true")
    assert load(write(text + 'tls = "none"\n' + ACCOUNT + IMAP)).store.exposed


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("mongodb://me:hunter2@localhost/mail", "a password does not stand in the URI"),
        ("mongodb://me:hunter2/x@localhost/mail", 'holds an "@" that is not written as %40'),
        ("mongodb://localhost/?tls=true&tlsCertificateKeyFilePassword=hunter2", "a password does not stand in the URI"),
        ("mongodb://", "names no host"),
        ("mongodb:///mail", "names no host"),
        ("postgres://hunter2", "must begin with mongodb://, mongodb+srv:// or embedded:"),
        ("embedded:", "must be a path"),
    ],
)
def test_a_uri_that_cannot_be_used_is_refused_and_not_repeated(write: Write, uri: str, said: str) -> None:
    told = mistake(write(f'[store]\nuri = "{uri}"\n{ACCOUNT}{IMAP}'))

    assert told.startswith("[store] uri: ")
    assert said in told
    assert "hunter2" not in told


def test_a_password_needs_a_user(write: Write) -> None:
    said = mistake(write(STORE + 'password = { env = "X" }\n' + ACCOUNT + IMAP))

    assert said == "[store] password: the URI names no user; write it as mongodb://USER@host/..."


def test_the_embedded_server_takes_no_password(write: Write) -> None:
    said = mistake(write('[store]\nuri = "embedded:x"\npassword = { env = "X" }\n' + ACCOUNT + IMAP))

    assert said == "[store] password: the embedded server keeps one of its own; remove the key"
