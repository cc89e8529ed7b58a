"""The facts of a message, as its headers tell them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ingestd.message import Address, Header
from ingestd.mime.subject import base
from tests.mime.letters import multipart, part, read

MAY = datetime(2019, 5, 1, 7, 20, 30, tzinfo=UTC)
HOP = "Received: from a by b with ESMTP id 1; Wed, 1 May 2019 10:20:30 +0300\n"


def test_a_message_says_who_wrote_to_whom() -> None:
    message = read(
        "From: Ann <Ann@example.org>, Bob <bob@example.org>\nSender: c@d.e\nReply-To: r@s.t\n"
        "To: x@y.z, Y <y@y.z>\nTo: x@y.z, z@y.z\nCc: c@c.c\nBcc: b@b.b\n\n"
    )

    assert message.from_ == Address("Ann", "ann@example.org", "example.org")
    assert [author.name for author in message.authors] == ["Ann", "Bob"]
    assert message.sender == Address("", "c@d.e", "d.e")
    assert [to.address for to in message.to] == ["x@y.z", "y@y.z", "z@y.z"]
    assert [[a.address for a in each] for each in (message.reply_to, message.cc, message.bcc)] == [
        ["r@s.t"],
        ["c@c.c"],
        ["b@b.b"],
    ]


def test_a_single_author_is_not_repeated() -> None:
    assert read("From: Ann <ann@example.org>\n\n").authors == ()


@pytest.mark.parametrize(
    ("headers", "thread"),
    [
        ("Message-ID: <m@x>\nIn-Reply-To: <r@x>\nReferences: <1@x> <2@x>\n", "1@x"),
        ("Message-ID: <m@x>\nIn-Reply-To: <r@x> (yesterday)\n", "r@x"),
        ("Message-ID: <m@x>\n", "m@x"),
        ("Subject: x\n", None),
    ],
)
def test_a_thread_is_named_by_its_first_message(headers: str, thread: str | None) -> None:
    assert read(headers + "\n").thread_id == thread


def test_the_date_is_what_the_sender_says() -> None:
    message = read(HOP + "Date: Wed, 1 May 2019 09:20:30 +0300\n\n")

    assert message.date == message.sent_at == datetime(2019, 5, 1, 6, 20, 30, tzinfo=UTC)
    assert (message.date_source, message.utc_offset_minutes) == ("header", 180)
    assert message.received_at == MAY
    assert message.received[0].protocol == "ESMTP"


@pytest.mark.parametrize("date", ["", "Date: whenever\n", "Date: 1 Jan 0000 00:00:00 +0000\n"])
def test_without_a_date_the_last_hop_knows(date: str) -> None:
    message = read(HOP + date + "\n")

    assert (message.date, message.sent_at, message.date_source, message.utc_offset_minutes) == (
        MAY,
        None,
        "received",
        None,
    )
    assert message.parse.defects == (("date",) if date else ())


def test_without_any_date_there_is_none() -> None:
    assert (read("\n").date, read("\n").date_source) == (None, "none")


def test_headers_are_kept_as_sent_and_readable() -> None:
    message = read("X-One: a\n b\nx-ONE: =?utf-8?q?=C3=BC?=\nX$.y: z\n\n")

    assert message.headers == (Header("X-One", "a b"), Header("x-ONE", "ü"), Header("X$.y", "z"))


def test_the_structure_of_a_message_is_told() -> None:
    message = read(multipart("mixed", part("hi", "TEXT/Plain; charset=UTF-8"), part("x", "a/b; name=n.txt")))

    assert [(p.part, p.content_type, p.charset, p.filename, p.size_bytes) for p in message.parts[1:]] == [
        ("1", "text/plain", "utf-8", None, 2),
        ("2", "a/b", None, "n.txt", 1),
    ]


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("Re: the matter", "the matter"),
        ("RE: Fwd: re: the matter", "the matter"),
        ("Re[2]: the matter", "the matter"),
        ("[list] Re: [list] the matter", "the matter"),
        ("the matter (fwd)", "the matter"),
        ("[Fwd: Re: the matter]", "the matter"),
        ("[only a tag]", "[only a tag]"),
        ("  the \t matter ", "the matter"),
        ("Regarding: the matter", "Regarding: the matter"),
        ("Re:", ""),
    ],
)
def test_a_base_subject_is_what_it_is_about(subject: str, expected: str) -> None:
    assert base(subject) == expected


def report(kind: str, *parts: str) -> str:
    return multipart("report", part("sorry"), *parts, more=f"; report-type={kind}")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("From: a@b.c\n\nhi", "personal"),
        (report("delivery-status"), "bounce"),
        (multipart("report", part("sorry"), part("Action: failed", "message/delivery-status")), "bounce"),
        ("Return-Path: <>\nFrom: MAILER-DAEMON@x.y\n\nsorry", "bounce"),
        ("Return-Path: <>\nFrom: a@b.c\n\nhi", "personal"),
        (report("disposition-notification"), "receipt"),
        (report("feedback-report"), "report"),
        (multipart("mixed", part("x", "application/zip; name=a.org!b.org!1!2.zip")), "report"),
        (multipart("alternative", part("hi"), part("METHOD:REQUEST", "text/calendar; method=REQUEST")), "calendar"),
        (multipart("alternative", part("hi"), part("BEGIN:VCALENDAR", "text/calendar")), "personal"),
        ("Auto-Submitted: auto-replied\n\nhi", "auto_reply"),
        ("Auto-Submitted: no\n\nhi", "personal"),
        ("Precedence: auto_reply\n\nhi", "auto_reply"),
        ("X-Autoreply: yes\n\nhi", "auto_reply"),
        ("List-Id: <l.x.y>\nList-Unsubscribe: <mailto:x>\n\nhi", "list"),
        ("List-Post: <mailto:l@x.y>\n\nhi", "list"),
        ("Precedence: bulk\n\nhi", "bulk"),
        ("List-Unsubscribe: <mailto:x>\n\nhi", "bulk"),
    ],
)
def test_a_message_is_of_one_kind(text: str, kind: str) -> None:
    assert read(text).kind == kind


def test_a_list_is_told_by_its_id() -> None:
    message = read("List-Id: The List <The.List.example.org>\nList-Unsubscribe:\n <mailto:x@y.z>\n\n")

    assert (message.list_id, message.list_unsubscribe) == ("the.list.example.org", "<mailto:x@y.z>")
    assert read("List-Id: bare.example.org\n\n").list_id == "bare.example.org"


def test_an_invitation_tells_what_and_when() -> None:
    event = (
        "BEGIN:VCALENDAR\nMETHOD:REQUEST\nBEGIN:VTIMEZONE\nUID:not-this\nEND:VTIMEZONE\nBEGIN:VEVENT\nUID:abc\n def\n"
        'DTSTART;TZID="Europe: Berlin":20240501T100000\nDTEND:20240501T110000Z\nORGANIZER;CN=A:MAILTO:Ann@example.org\n'
        "SUMMARY:x\nEND:VEVENT\nBEGIN:VEVENT\nUID:second\nEND:VEVENT\nEND:VCALENDAR"
    )

    assert read(multipart("alternative", part("hi"), part(event, "text/calendar; method=REQUEST"))).calendar == (
        ("method", "request"),
        ("uid", "abcdef"),
        ("start", "20240501T100000"),
        ("end", "20240501T110000Z"),
        ("timezone", "Europe: Berlin"),
        ("organizer", "ann@example.org"),
    )


def event(*lines: str) -> dict[str, str]:
    text = "\n".join(["BEGIN:VCALENDAR", "BEGIN:VEVENT", *lines, "END:VEVENT", "END:VCALENDAR"])
    return dict(read(multipart("mixed", part(text, "text/calendar; charset=utf-8"))).calendar or ())


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("DTSTART:20240501T100000Z", {"start": "20240501T100000Z"}),
        ("DTSTART;TZID=Europe/Berlin:20240501T100000", {"start": "20240501T100000", "timezone": "Europe/Berlin"}),
        ("dtstart;x=1;tzid=/a.b/Rome:20240501T100000", {"start": "20240501T100000", "timezone": "/a.b/Rome"}),
        ("DTSTART;VALUE=DATE:20240501", {"start": "20240501"}),
        ("DTEND;TZID=Europe/Berlin:20240501T100000", {"end": "20240501T100000"}),
        ('UID:a\\,b\\;c\\\\d:"e"', {"uid": 'a,b;c\\d:"e"'}),
        ('ORGANIZER;CN="Ann: the; boss";SENT-BY="mailto:b@x.y":mailto:A@x.y', {"organizer": "a@x.y"}),
        ('ORGANIZER;CN="never closed:mailto:a@x.y', {}),
        ("ORGANIZER;CN=Jürgen:\n mailto:\n\ta@x.y", {"organizer": "a@x.y"}),
        ("BEGIN:VALARM\nUID:of-the-alarm\nEND:VALARM\nUID:of-the-event", {"uid": "of-the-event"}),
        ("SUMMARY:a line\x85DTSTART:20200101", {}),
    ],
)
def test_a_content_line_of_a_calendar_is_read_as_its_rfc_says(line: str, told: dict[str, str]) -> None:
    assert event(line) == told


def test_a_content_line_may_be_folded_within_a_character() -> None:
    text = "BEGIN:VEVENT\r\nUID:grün\r\nEND:VEVENT\r\n".encode().replace(b"\xc3\xbc", b"\xc3\r\n \xbc")

    message = read(b"Content-Type: text/calendar; charset=utf-8\r\n\r\n" + text)

    assert message.calendar == (("uid", "grün"),)


def test_authentication_results_are_told_as_they_claim_to_be() -> None:
    message = read(
        "Authentication-Results: MX.example.org 1;\n spf=pass (sender; dkim=fail) smtp.mailfrom=x;\n"
        " dkim=none; arc=pass\nAuthentication-Results: other.example; dmarc=FAIL\n"
        "Authentication-Results: empty.example; none\nAuthentication-Results: spf=fail (x; y) a=b;dkim=pass\n\n"
    )

    assert message.auth_results == (
        ("mx.example.org", "spf", "pass"),
        ("mx.example.org", "dkim", "none"),
        ("mx.example.org", "arc", "pass"),
        ("other.example", "dmarc", "fail"),
        ("", "spf", "fail"),
        ("", "dkim", "pass"),
    )
