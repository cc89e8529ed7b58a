"""A sample mailbox: the mail that an office of a dozen people gets in a quarter, made from a seed.

For the demo, the tests and the bench. The same arguments give the same bytes on every machine and every Python, so
nothing here goes through the stdlib's message generator, whose folding changes between releases. All domains are
reserved for examples (RFC 2606) and all hosts have documentation addresses (RFC 5737): this mail can reach nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from heapq import heappop, heappush
from html import escape
from random import Random

from . import writing
from .cast import (
    ACCOUNTS,
    DAEMON,
    DESK,
    FEEDBACK,
    FILES,
    FLAGS,
    HOST,
    LANGUAGES,
    LISTS,
    LOST,
    PEOPLE,
    SHOPS,
    STAFF,
    TYPES,
    Person,
)

START = datetime(2026, 1, 5, tzinfo=UTC)
DAYS = 90
ICAL = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Sample:
    """One message, as a server would hand it over."""

    content: bytes = field(repr=False)
    internal_date: datetime  # aware, UTC
    flags: tuple[str, ...]


def messages(count: int, seed: int = 1) -> Iterator[Sample]:
    """Yield *count* messages in the order of their arrival, spread over the working hours of `DAYS` days.

    Among them: threads with answers hours later, lists, newsletters, bounces, invitations, files that several people
    send, forwarded messages, forgeries, seven charsets, and copies that are equal byte for byte.
    """
    office = _Office(Random(seed))
    for n in range(count):
        day, part = divmod(n * DAYS / count, 1)
        yield office.sample(START + timedelta(days=day, hours=5, seconds=int(part * 14 * 3600)))


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    content_type: str
    content: bytes


@dataclass(slots=True)
class _Thread:
    subject: str
    people: list[Person]  # whose turn it is comes first
    ids: list[str] = field(default_factory=list)
    said: str = ""  # in the last message
    list_name: str = ""


@dataclass(frozen=True, slots=True)
class _Letter:
    """What a message says, before it is dated and sent. *part* starts with its Content-Type."""

    sender: Person
    subject: str
    part: bytes
    to: tuple[Person, ...] = (DESK,)
    headers: tuple[str, ...] = ()
    id: str = ""
    verdict: str = "pass"  # of the receiving server, about SPF, DKIM and DMARC
    bounced: bool = False  # sent with the empty return path


class _Office:
    """Who has written what so far, and who will answer when."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.deck: list[Card] = []
        self.due: list[tuple[datetime, int, _Thread]] = []  # threads that will be answered, the next one first
        self.sent = 0
        self.recent: deque[bytes] = deque(maxlen=20)
        self.files = [self._file(name, size_bytes) for name, size_bytes in FILES.items()]
        self.plans = self._file("plans, all floors.pdf", 800_000)  # more than the spool holds in memory
        self.logo = self._file("logo.png", 2_500)

    def sample(self, when: datetime) -> Sample:
        if not self.deck:
            self.deck = [card for card, copies in DECK.items() for _ in range(copies)]
            self.random.shuffle(self.deck)
        content = self.deck.pop()(self, when)
        self.recent.append(content)
        return Sample(content, when, self.random.choices(tuple(FLAGS), tuple(FLAGS.values()))[0])

    # --- one method a card: people

    def conversation(self, when: datetime) -> bytes:
        people = self.random.sample(PEOPLE, self.random.randint(2, 4))
        thread = _Thread(self.random.choice(LANGUAGES[people[0].language].subjects), people)
        return self._say(thread, when, self._text(people[0]))

    def attachments(self, when: datetime) -> bytes:
        people = self.random.sample(PEOPLE, self.random.randint(2, 4))
        files = self.random.sample(self.files, self.random.choice((1, 1, 2, 3)))
        if self.random.random() < 0.3:
            files.append(self._file(f"scan {self.sent}.pdf", self.random.randint(4_000, 60_000)))
        return self._say(_Thread(files[0].name.partition(".")[0], people), when, self._text(people[0]), files)

    def large_attachment(self, when: datetime) -> bytes:
        people = self.random.sample(PEOPLE, 2)
        return self._say(_Thread("The plans", people), when, self._text(people[0]), [self.plans])

    def list_post(self, when: datetime) -> bytes:
        name = self.random.choice(LISTS)
        thread = _Thread(f"[{name}] News of {when:%Y-%m-%d}", self.random.sample(PEOPLE, 4), list_name=name)
        return self._say(thread, when, self._text(thread.people[0]))

    def reply(self, when: datetime) -> bytes:
        if not self.due or self.due[0][0] > when:
            return self.conversation(when)
        _, _, thread = heappop(self.due)
        before = thread.people.pop(0)
        thread.people.append(before)
        quoted = "\n".join(f"> {line}" for line in thread.said.splitlines()[:8])
        return self._say(thread, when, f"{self._text(thread.people[0])}\n{before.name} wrote:\n{quoted}\n")

    def forward(self, when: datetime) -> bytes:
        sender, author = self.random.choice(STAFF), self.random.choice(PEOPLE)
        subject = self.random.choice(LANGUAGES[author.language].subjects)
        part = self._multipart("mixed", self._body(author), self._attached(self.random.choice(self.files)))
        inner = self._post(_Letter(author, subject, part, (sender,)), when - timedelta(hours=3))
        forwarded = writing.part("message/rfc822", inner, "Content-Disposition: attachment; filename=forwarded.eml")
        whole = self._multipart("mixed", self._body(sender), forwarded)
        return self._post(_Letter(sender, f"Fwd: {subject}", whole), when)

    def invitation(self, when: datetime) -> bytes:
        sender = self.random.choice(PEOPLE)
        start = when.replace(minute=0, second=0) + timedelta(days=2)
        event = "\r\n".join((
            "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//example.org//calendar//EN", "METHOD:REQUEST", "BEGIN:VEVENT",
            f"UID:{self._id(sender)}", f"DTSTAMP:{when:{ICAL}}", f"DTSTART:{start:{ICAL}}",
            f"DTEND:{start + timedelta(hours=1):{ICAL}}", f"ORGANIZER;CN={sender.name}:mailto:{sender.address}",
            f"ATTENDEE:mailto:{DESK.address}", "SUMMARY:Planning", "END:VEVENT", "END:VCALENDAR", "",
        ))  # fmt: skip
        calendar = writing.part("text/calendar; charset=utf-8; method=REQUEST", event.encode(), encoding="8bit")
        whole = self._multipart("alternative", self._body(sender), calendar)
        return self._post(_Letter(sender, "Invitation: Planning", whole), when)

    def forgery(self, when: datetime) -> bytes:
        sender = self.random.choice((ACCOUNTS, ACCOUNTS, PEOPLE[4]))
        text = writing.leaf("plain", "Please pay the open invoice today.\n", LANGUAGES["en"])
        return self._post(_Letter(sender, "Payment overdue", text, verdict="fail"), when)

    def copy(self, when: datetime) -> bytes:
        return self.random.choice(self.recent) if self.recent else self.conversation(when)

    # --- and machines

    def newsletter(self, when: datetime) -> bytes:
        sender = self.random.choice(SHOPS)
        offers = [f"Offer {n}: {self.random.randint(5, 60)} % off" for n in range(self.random.randint(20, 90))]
        rows = "\n".join(
            f'<tr><td style="padding:{n % 9}px"><a href="https://{sender.domain}/{n}">{offer}</a></td></tr>'
            for n, offer in enumerate(offers)
        )
        page = f'<html><body><img src="cid:logo@{sender.domain}"><table>\n{rows}\n</table></body></html>\n'
        logo = writing.part(
            "image/png; name=logo.png",
            self.logo.content,
            "Content-Disposition: inline; filename=logo.png",
            f"Content-ID: <logo@{sender.domain}>",
            encoding="base64",
        )
        utf8 = LANGUAGES["en-GB"]
        part = self._multipart(
            "alternative",
            writing.leaf("plain", "\n".join(offers) + "\n", utf8),
            self._multipart("related", writing.leaf("html", page, utf8), logo),
        )
        leave = f"https://{sender.domain}/leave?t={self.random.getrandbits(64):016x}"
        headers = (
            f"List-Unsubscribe: <{leave}>",
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
            "Precedence: bulk",
        )
        return self._post(_Letter(sender, f"{len(offers)} offers for you", part, headers=headers), when)

    def auto_reply(self, when: datetime) -> bytes:
        sender = self.random.choice(PEOPLE)
        headers = (
            f"In-Reply-To: <{self._id(DESK)}>",
            "Auto-Submitted: auto-replied",
            "X-Auto-Response-Suppress: All",
            "Precedence: auto_reply",
        )
        text = writing.leaf("plain", "I am out of the office until Monday.\n", LANGUAGES["en"])
        return self._post(_Letter(sender, "Automatic reply: Minutes", text, headers=headers, bounced=True), when)

    def bounce(self, when: datetime) -> bytes:
        address = self.random.choice(LOST)
        status, diagnostic = self.random.choice((
            ("5.1.1", "550 5.1.1 User unknown"),
            ("5.2.2", "552 5.2.2 Mailbox full"),
            ("5.7.1", "554 5.7.1 Refused by policy"),
        ))  # fmt: skip
        fields = (
            f"Reporting-MTA: dns; {HOST}\r\n\r\nFinal-Recipient: rfc822; {address}\r\nAction: failed\r\n"
            f"Status: {status}\r\nDiagnostic-Code: smtp; {diagnostic}\r\n"
        )
        returned = f"From: {DESK.address}\r\nTo: {address}\r\nSubject: Figures\r\nMessage-ID: <{self._id(DESK)}>\r\n"
        text = f"This is the mail system at {HOST}.\n\nYour message to {address} could not be delivered.\n"
        part = self._report("delivery-status", text, fields, writing.part("text/rfc822-headers", returned.encode()))
        return self._notice(_Letter(DAEMON, "Undelivered Mail Returned to Sender", part), when)

    def read_receipt(self, when: datetime) -> bytes:
        sender = self.random.choice(PEOPLE)
        fields = (
            f"Final-Recipient: rfc822; {sender.address}\r\nOriginal-Message-ID: <{self._id(DESK)}>\r\n"
            "Disposition: manual-action/MDN-sent-manually; displayed\r\n"
        )
        part = self._report("disposition-notification", "Your message was displayed.\n", fields)
        return self._notice(_Letter(sender, "Read: Figures", part), when)

    def complaint(self, when: datetime) -> bytes:
        fields = (
            "Feedback-Type: abuse\r\nUser-Agent: example/1.0\r\nVersion: 1\r\n"
            f"Original-Mail-From: <{DESK.address}>\r\nSource-IP: 192.0.2.25\r\n"
        )
        part = self._report("feedback-report", "A reader marked this message as spam.\n", fields)
        return self._notice(_Letter(FEEDBACK, "Abuse report", part), when)

    # --- how a message is put together

    def _say(self, thread: _Thread, when: datetime, text: str, files: Sequence[_File] = ()) -> bytes:
        """Let the first person of *thread* say *text*; somebody may answer within two days."""
        sender, *others = thread.people
        part = self._body(sender, text)
        if files:
            part = self._multipart("mixed", part, *(self._attached(file) for file in files))
        headers = writing.list_headers(thread.list_name) if thread.list_name else ()
        if thread.ids:
            references = "\r\n ".join(f"<{id_}>" for id_ in (thread.ids[0], *thread.ids[1:][-10:]))
            headers += (f"In-Reply-To: <{thread.ids[-1]}>", f"References: {references}")
        subject = f"Re: {thread.subject}" if thread.ids else thread.subject
        to = (writing.list_address(thread.list_name),) if thread.list_name else (*others, DESK)
        letter = _Letter(sender, subject, part, to, headers, self._id(sender))
        thread.ids.append(letter.id)
        thread.said = text
        if self.random.random() < 0.7:
            due = when + timedelta(minutes=self.random.randint(45, 48 * 60))
            heappush(self.due, (due, self.sent, thread))
        return self._post(letter, when)

    def _notice(self, letter: _Letter, when: datetime) -> bytes:
        headers = ("Auto-Submitted: auto-generated",)
        return self._post(replace(letter, headers=headers, bounced=True), when)

    def _post(self, letter: _Letter, when: datetime) -> bytes:
        """Date and address *letter*, and add what the servers on its way write above it."""
        sender = letter.sender
        sent = when - timedelta(seconds=self.random.randint(2, 90))
        local = sent.astimezone(timezone(timedelta(minutes=sender.offset_minutes)))
        failed = letter.verdict == "fail"
        relay = "host.example.net" if failed else f"mail.{sender.domain}"
        lines = (
            f"Return-Path: <{'' if letter.bounced else sender.address}>",
            f"Delivered-To: {DESK.address}",
            f"Received: from {relay} ({relay} [192.0.2.{self.random.randint(1, 254)}])\r\n\tby {HOST} with ESMTPS"
            f" id {self.random.getrandbits(48):012X}\r\n\tfor <{DESK.address}>; {format_datetime(when)}",
            f"Received: from [198.51.100.{self.random.randint(1, 254)}] by {relay} with ESMTPSA;\r\n"
            f"\t{format_datetime(local)}",
            f"Authentication-Results: {HOST};\r\n\tspf={letter.verdict} smtp.mailfrom={sender.domain};\r\n\tdkim="
            f"{'none' if failed else f'pass header.d={sender.domain}'};\r\n"
            f"\tdmarc={letter.verdict} header.from={sender.domain}",
            f"From: {writing.mailbox(sender)}",
            "To: " + ",\r\n ".join(map(writing.mailbox, letter.to)),
            f"Subject: {writing.words(letter.subject, LANGUAGES[sender.language].charset)}",
            f"Date: {format_datetime(local)}",
            f"Message-ID: <{letter.id or self._id(sender)}>",
            *letter.headers,
            "MIME-Version: 1.0",
            "",
        )
        return "\r\n".join(lines).encode("ascii") + letter.part

    def _id(self, sender: Person) -> str:
        self.sent += 1
        return f"{self.sent}.{self.random.getrandbits(48):012x}@{sender.domain}"

    def _text(self, person: Person) -> str:
        sentences = LANGUAGES[person.language].sentences
        return "\n".join(self.random.sample(sentences, self.random.randint(2, len(sentences)))) + "\n"

    def _body(self, person: Person, text: str = "") -> bytes:
        text = text or self._text(person)
        language = LANGUAGES[person.language]
        plain = writing.leaf("plain", text, language)
        if self.random.random() < 0.5:
            return plain
        paragraphs = "\n".join(f"<p>{escape(line)}</p>" for line in text.splitlines())
        return self._multipart(
            "alternative", plain, writing.leaf("html", f"<html><body>{paragraphs}</body></html>\n", language)
        )

    def _multipart(self, subtype: str, *parts: bytes) -> bytes:
        boundary = f"=_{self.random.getrandbits(64):016x}"
        head = f'Content-Type: multipart/{subtype};\r\n boundary="{boundary}"\r\n\r\n'
        opened = b"".join(b"--%s\r\n%s\r\n" % (boundary.encode(), part) for part in parts)
        return head.encode() + opened + f"--{boundary}--\r\n".encode()

    def _report(self, kind: str, text: str, fields: str, *rest: bytes) -> bytes:
        plain = writing.leaf("plain", text, LANGUAGES["en"])
        return self._multipart(
            f"report; report-type={kind}", plain, writing.part(f"message/{kind}", fields.encode()), *rest
        )

    def _attached(self, file: _File) -> bytes:
        name = self.random.choice((writing.rfc2231, writing.rfc2047))("filename", file.name)
        return writing.part(
            file.content_type, file.content, f"Content-Disposition: attachment;\r\n {name}", encoding="base64"
        )

    def _file(self, name: str, size_bytes: int) -> _File:
        content_type, magic = TYPES[name.rpartition(".")[2]]
        return _File(name, content_type, magic + self.random.randbytes(size_bytes - len(magic)))


Card = Callable[[_Office, datetime], bytes]

# What a hundred messages are. Every hundred is shuffled anew, so each kind is certain to appear.
DECK: dict[Card, int] = {
    _Office.conversation: 20,
    _Office.reply: 26,
    _Office.attachments: 11,
    _Office.large_attachment: 1,
    _Office.list_post: 9,
    _Office.newsletter: 8,
    _Office.bounce: 5,
    _Office.auto_reply: 4,
    _Office.invitation: 4,
    _Office.forward: 4,
    _Office.forgery: 3,
    _Office.read_receipt: 2,
    _Office.copy: 2,
    _Office.complaint: 1,
}
