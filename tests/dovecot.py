"""A private Dovecot for the tests: one server for the session, a fresh user for each test."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from ingestd.demo.certificates import Certificate
from ingestd.demo.dovecot import Dovecot
from tests.waiting import until

PASSWORD = "secret"


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    """A mail server on loopback, alive for the whole session; any user can log in with its `password`."""
    with private_dovecot() as server:
        yield server


@pytest.fixture
def mail_user(dovecot: Dovecot) -> Iterator[str]:
    """The name of a user of `dovecot` whom no other test knows; the mail goes with the test."""
    name = f"u{uuid4().hex[:12]}"
    yield name
    shutil.rmtree(dovecot.maildir(name).parent, ignore_errors=True)


@contextmanager
def private_dovecot(certificate: Certificate = "good", more: str = "") -> Iterator[Dovecot]:
    """Run another server, for a test that has to stop it, to present a bad certificate, or to configure it (*more*)."""
    if reason := Dovecot.missing():
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    # pytest's own temporary directories are closed to the unprivileged user that Dovecot becomes under root.
    directory = Path(tempfile.mkdtemp(prefix="ingestd-"))
    try:
        with Dovecot(directory, PASSWORD, certificate=certificate, more=more) as server:
            yield server
    finally:
        shutil.rmtree(directory)


def renumber(dovecot: Dovecot, user: str) -> None:
    """Make Dovecot forget its UIDs. It takes the new UIDVALIDITY from the clock, so the clock has to have moved."""
    maildir = dovecot.maildir(user)
    (known,) = maildir.glob("dovecot-uidlist")
    second = int(known.stat().st_mtime)
    until(lambda: int(time.time()) != second)
    for path in maildir.glob("dovecot*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
