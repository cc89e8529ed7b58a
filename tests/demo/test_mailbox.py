"""The sample mailbox: the same bytes every time, and in them what real mailboxes hold."""

import re
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message
from hashlib import sha256
from typing import get_args

import pytest

from ingestd.demo.cast import HOST
from ingestd.demo.mailbox import messages
from ingestd.message import Kind
from ingestd.mime.parse import parse
from ingestd.raw import InMemory

SAMPLES = tuple(messages(300))


@pytest.fixture(scope="module")
def mail() -> list[Message]:
    return [message_from_bytes(sample.content) for sample in SAMPLES]


def test_the_same_seed_gives_the_same_bytes_on_every_machine() -> None:
    digest = sha256(b"".join(sample.content for sample in messages(100, seed=7))).hexdigest()

    assert digest == "1b7859a21131e52df5457292071b504c42d13601f55ef9c3507fd31586ad0492"


def test_another_seed_gives_other_mail() -> None:
    ours = {sample.content for sample in messages(50, seed=1)}
    theirs = {sample.content for sample in messages(50, seed=2)}

    assert not ours & theirs


def test_as_many_messages_come_as_asked_for_in_the_order_of_their_dates() -> None:
    dates = [sample.internal_date for sample in messages(37)]

    assert len(dates) == 37
    assert dates == sorted(dates)
    assert all(date.tzinfo is UTC for date in dates)


def test_three_hundred_messages_come_to_a_few_megabytes() -> None:
    sizes = [len(sample.content) for sample in SAMPLES]

    assert 2e6 < sum(sizes) < 8e6
    assert max(sizes) > 1 << 20, "none is large enough for a spool file"


def test_lines_end_and_fit_as_mail_wants_them() -> None:
    lines = [line for sample in SAMPLES for line in sample.content.split(b"\r\n")]

    assert max(map(len, lines)) <= 998
    assert not any(b"\n" in line or b"\r" in line for line in lines)


def test_this_mail_can_reach_nobody() -> None:
    content = b"".join(sample.content for sample in SAMPLES)

    domains = {domain.decode() for domain in re.findall(rb"\w@([\w-]+(?:\.[\w-]+)+)", content)}

    assert {".".join(domain.split(".")[-2:]) for domain in domains} == {"example.com", "example.net", "example.org"}


def test_answers_come_hours_after_what_they_answer(mail: list[Message]) -> None:
    sent = {message["Message-ID"]: datetime.strptime(message["Date"], "%a, %d %b %Y %H:%M:%S %z") for message in mail}
    answered = {message["Message-ID"]: message["In-Reply-To"] for message in mail if message["In-Reply-To"] in sent}

    waits = [sent[answer] - sent[question] for answer, question in answered.items()]

    assert len(waits) > 50
    assert min(waits) > timedelta(minutes=40)
    assert all(message["References"].split()[-1] == message["In-Reply-To"] for message in mail if message["References"])


def test_every_kind_of_mail_is_there(mail: list[Message]) -> None:
    reports = {message.get_param("report-type") for message in mail}
    types = {part.get_content_type() for message in mail for part in message.walk()}
    seen = {(message["Precedence"], message["Auto-Submitted"], "List-Id" in message) for message in mail}

    assert reports >= {"delivery-status", "disposition-notification", "feedback-report"}
    assert types >= {"text/html", "text/calendar", "message/rfc822", "multipart/related", "application/pdf"}
    assert seen >= {("list", None, True), ("bulk", None, False), ("auto_reply", "auto-replied", False)}


def test_the_parser_takes_it_all_for_what_it_is_meant_to_be() -> None:
    understood = [parse(InMemory(sample.content)) for sample in SAMPLES]

    assert {message.kind for message in understood} == set(get_args(Kind))
    assert {message.parse.status for message in understood} == {"ok"}


def test_bounces_come_from_several_domains(mail: list[Message]) -> None:
    bounces = [message for message in mail if message.get_param("report-type") == "delivery-status"]

    recipients = [part["Final-Recipient"] for bounce in bounces for part in bounce.walk() if "Final-Recipient" in part]
    domains = {recipient.partition("@")[2] for recipient in recipients}

    assert len(domains) >= 3


def test_some_mail_claims_our_domain_and_fails_dmarc(mail: list[Message]) -> None:
    results = Counter(
        (message["From"].endswith("@example.org>"), "dmarc=fail" in message["Authentication-Results"])
        for message in mail
    )

    assert results[True, True] >= 2
    assert results[False, True] >= 1
    assert results[True, False] > results[True, True]
    assert all(message["Authentication-Results"].startswith(f"{HOST};") for message in mail)


def test_texts_are_what_their_charset_says(mail: list[Message]) -> None:
    parts = [(part.get_content_charset(), part) for message in mail for part in message.walk()]

    decoded: defaultdict[str, str] = defaultdict(str)
    for charset, part in parts:
        if charset:
            decoded[charset] += _content(part).decode(charset)

    assert len(decoded) == 7
    assert "請求書" not in decoded["us-ascii"]
    assert "資料を添付いたします。" in decoded["iso-2022-jp"]
    assert "合同已经更新" in decoded["gb18030"]
    assert "Здравствуйте" in decoded["koi8-r"]
    assert "1.250 €" in decoded["windows-1252"]
    assert "😀" in decoded["utf-8"]


def test_files_are_sent_by_several_people(mail: list[Message]) -> None:
    senders = defaultdict(set)
    for message in mail:
        for part in message.walk():
            if part.get_content_disposition() == "attachment" and not part.is_multipart():
                senders[sha256(_content(part)).digest()].add(message["From"])

    assert sum(len(people) > 1 for people in senders.values()) >= 5
    assert any(len(people) == 1 for people in senders.values())


def test_filenames_are_written_in_both_ways() -> None:
    content = b"".join(sample.content for sample in SAMPLES)

    assert b"filename*0*=utf-8''" in content
    assert b'filename="=?utf-8?b?' in content


def test_some_messages_come_twice() -> None:
    copies = Counter(sample.content for sample in SAMPLES)

    assert 1 < sum(copies.values()) - len(copies) < 15


def test_some_mail_is_unread() -> None:
    flags = Counter("\\Seen" in sample.flags for sample in SAMPLES)

    assert flags[False] > 60
    assert flags[True] > 60


def _content(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content
