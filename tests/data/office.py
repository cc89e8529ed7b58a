"""A small account whose every answer can be counted by hand, stored the way all mail is stored.

Ann and Ben are ours (example.org); Bea and Joe write from outside. Everything lies in March 2026.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from hashlib import sha256
from typing import Any

from pymongo.database import Database

from ingestd.message import Place, RawMessage
from ingestd.mime.parse import parse
from ingestd.raw import InMemory
from ingestd.store import messages

Document = dict[str, Any]

ANN, BEN, BEA, JOE = "ann@example.org", "ben@example.org", "bea@example.com", "joe@example.net"
PLANS = b"%PDF-1.7\n" + bytes(range(256)) * 12
PHOTO = b"\x89PNG\r\n\x1a\n" + bytes(5_000)
SERVER = "mx.example.org"  # whose Authentication-Results we believe


@dataclass(frozen=True, slots=True)
class Letter:
    """One message of the office, as short as it can be said."""

    id: str
    sender: str
    to: str
    day: int
    hour: int
    minute: int = 0
    zone: int = 0  # hours east of UTC
    subject: str = "Hello"
    answers: str = ""
    headers: tuple[str, ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()
    report: str = ""  # the fields of a delivery status

    @property
    def content(self) -> bytes:
        sent = datetime(2026, 3, self.day, self.hour, self.minute, tzinfo=timezone(timedelta(hours=self.zone)))
        lines = [f"From: <{self.sender}>", f"To: {self.to}", f"Subject: {self.subject}"]
        lines += [f"Date: {format_datetime(sent)}", f"Message-ID: <{self.id}>", *self.headers, "MIME-Version: 1.0"]
        if self.answers:
            lines += [f"In-Reply-To: <{self.answers}>", f"References: <{self.answers}>"]
        return "\r\n".join([*lines, *self._body()]).encode()

    def _body(self) -> Iterator[str]:
        text = ("Content-Type: text/plain; charset=utf-8", "", f"Words of {self.id}.")
        if not self.files and not self.report:
            yield from (*text, "")
            return
        yield f"Content-Type: multipart/{'report; report-type=delivery-status' if self.report else 'mixed'}; boundary=b"
        yield from ("", "--b", *text)
        if self.report:
            yield from ("--b", "Content-Type: message/delivery-status", "", "Reporting-MTA: dns; mx.example.org", "")
            yield self.report
        for name, content in self.files:
            yield from ("--b", "Content-Type: application/octet-stream", "Content-Transfer-Encoding: base64")
            yield f'Content-Disposition: attachment; filename="{name}"'
            yield from ("", base64.encodebytes(content).decode().replace("\n", "\r\n").rstrip())
        yield from ("--b--", "")


def checked(dmarc: str, server: str = SERVER) -> str:
    return f"Authentication-Results: {server}; spf={dmarc} smtp.mailfrom=example.org; dkim=none; dmarc={dmarc}"


def bounce(address: str, status: str, day: int, hour: int, also: str = "") -> Letter:
    report = f"Final-Recipient: rfc822; {address}\r\nAction: failed\r\nStatus: {status}\r\nDiagnostic-Code: smtp; no"
    report += also and f"\r\n\r\nFinal-Recipient: rfc822; {also}"
    return Letter(f"{status}.{address}", f"mailer-daemon@{SERVER}", ANN, day, hour, report=report)


LETTERS = (
    # Bea asks, Ann answers 210 minutes later by the clocks of both, and sends her the plans next day.
    Letter("q1@example.com", BEA, ANN, day=2, hour=9, zone=1, subject="Offer"),
    Letter(
        "a1@example.org", ANN, BEA, day=2, hour=12, minute=30, zone=1, subject="Re: Offer", answers="q1@example.com"
    ),
    Letter("p1@example.org", ANN, f"{BEA}, {JOE}", day=3, hour=12, zone=1, files=(("plans.pdf", PLANS),)),
    # Joe asks twice; Ann answers after 90 minutes and after 60, Ben after 600.
    Letter("q2@example.net", JOE, ANN, day=4, hour=4, zone=-5, subject="Lunch"),
    Letter("a2@example.org", ANN, JOE, day=4, hour=10, minute=30, subject="Re: Lunch", answers="q2@example.net"),
    Letter("q3@example.net", JOE, f"{ANN}, {BEN}", day=5, hour=8, subject="Dinner"),
    Letter("a3@example.org", ANN, JOE, day=5, hour=9, subject="Re: Dinner", answers="q3@example.net"),
    Letter("b3@example.org", BEN, JOE, day=5, hour=18, subject="Re: Dinner", answers="q3@example.net"),
    # Nobody answers these; Joe's second one is too fresh to count.
    Letter(
        "q4@example.com",
        BEA,
        BEN,
        day=10,
        hour=9,
        subject="Anyone?",
        files=(("our plans.pdf", PLANS), ("photo.png", PHOTO)),
    ),
    Letter("q5@example.net", JOE, ANN, day=25, hour=9, subject="Fresh"),
    # Machines.
    bounce("ada@example.com", "5.1.1", day=6, hour=1),
    bounce("eve@example.com", "4.2.2", day=6, hour=2),
    bounce(
        "mia@shop.example.net",
        "5.7.1",
        day=7,
        hour=3,
        also="max@shop.example.net\r\nStatus: 4.4.1\r\n\r\n"
        "Final-Recipient: rfc822; leo@example.com\r\nAction: Delivered",
    ),
    Letter("n1@shop.example.net", "news@shop.example.net", ANN, day=8, hour=6, headers=("Precedence: bulk",)),
    # Ours by their address: one is forged, one is fine, and one is only said to be forged by a server we do not know.
    Letter("f1@example.org", "accounts@example.org", ANN, day=9, hour=0, headers=(checked("fail"),)),
    Letter("f2@example.org", "accounts@example.org", ANN, day=9, hour=1, headers=(checked("pass"),)),
    Letter("f3@example.org", "accounts@example.org", ANN, day=9, hour=2, headers=(checked("fail", "mx.example.net"),)),
)
VARIANT = Letter("q1@example.com", BEA, ANN, day=2, hour=9, zone=1, subject="Offer", headers=("X-UIDL: 7",))


def fill(database: Database[Document]) -> None:
    """Store the office, and what else shares the database with it."""
    inbox = [_placed(letter, uid, flags=("\\Seen",) if uid <= 10 else ()) for uid, letter in enumerate(LETTERS, 1)]
    archive = [_placed(letter, uid, mailbox="Archive") for uid, letter in enumerate(LETTERS[:3], 1)]
    archive += [_placed(LETTERS[0], 1, mailbox="Archive", epoch=2)]
    other = [_placed(LETTERS[5], 1, account="home")]
    variant = _placed(VARIANT, 99, flags=("\\Seen",))

    _store(database, [*inbox, variant])
    _store(database, archive)
    _store(database, other)

    database.messages.update_one({"_id": variant.id}, {"$set": {"same_as": inbox[0].id}})


def _store(database: Database[Document], batch: list[RawMessage]) -> None:
    messages.write(database, batch, parse, messages.Terms(authserv_ids=[SERVER]), step=lambda name: None)


def _placed(
    letter: Letter,
    uid: int,
    *,
    account: str = "work",
    mailbox: str = "INBOX",
    epoch: int = 1,
    flags: tuple[str, ...] = (),
) -> RawMessage:
    place = Place(account, mailbox, epoch, uidvalidity=9, uid=uid)
    content = letter.content
    internal_date = datetime(2026, 3, letter.day, 20, tzinfo=UTC)
    return RawMessage(place, InMemory(content), sha256(content).hexdigest(), internal_date, flags)
