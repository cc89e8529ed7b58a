"""Single header values, one at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mailparser.dates import parse_mail_date
from mailparser.utils import parse_received

from ingestd.message import Address
from ingestd.mime.headers import addresses, first_id, hop, ids, moment
from ingestd.mime.plain import plain_clauses, plain_date, usual_clauses
from ingestd.mime.words import header_text


def found(value: str) -> list[tuple[str, str]]:
    return [(address.name, address.address) for address in addresses(value.encode()).found]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Ann <ANN@Example.ORG>", [("Ann", "ann@example.org")]),
        ("ann@example.org (Ann Doe)", [("Ann Doe", "ann@example.org")]),
        ('a@b.c, "Doe, Ann" <ann@example.org>', [("", "a@b.c"), ("Doe, Ann", "ann@example.org")]),
        ("friends: a@b.c, d@e.f;", [("", "a@b.c"), ("", "d@e.f")]),
        ("undisclosed-recipients:;", []),
        ("<>", []),
        ("=?utf-8?q?Doe=2C_Ann?= <ann@example.org>", [("Doe, Ann", "ann@example.org")]),
        ('"=?utf-8?b?w5xiZXI=?=" <a@b.c>', [("Über", "a@b.c")]),
        ("=?utf-8?b?a?= <a@b.c>", [("", "a@b.c")]),
        ("root", [("", "root")]),
        ("Cron Daemon <root>", [("Cron Daemon", "root")]),
        ("'Foo' <mailto:a@b.c>", [("'Foo'", "a@b.c")]),
        ("Foo <a@b.c", [("Foo", "a@b.c")]),
        ("a..b@docomo.example", [("", "a..b@docomo.example")]),
        ("A <a@b.c> <c@d.e>", []),  # which of the two is meant, nobody knows
    ],
)
def test_addresses_are_found_whatever_their_form(value: str, expected: list[tuple[str, str]]) -> None:
    assert found(value) == expected


def test_a_domain_is_written_in_ascii() -> None:
    (address,) = addresses("Ü <ü@Müller.example>".encode()).found

    assert address == Address("Ü", "ü@xn--mller-kva.example", "xn--mller-kva.example")


def test_lower_case_is_in_nfc_too() -> None:
    """There is no capital H with a line below in one piece, but there is such a small letter."""
    (address,) = addresses("H\u0331@example.org".encode()).found

    assert address.address == "\u1e96@example.org"


def test_an_address_without_a_domain_says_so() -> None:
    assert addresses(b"root").found == (Address("", "root", ""),)


def test_what_cannot_be_read_as_an_address_is_reported() -> None:
    assert not addresses(b"A <a@b.c> <c@d.e>, x@y.z").complete
    assert addresses(b"x@y.z, A <a@b.c>").complete


@pytest.mark.parametrize("value", [b"(" * 60_000, b"<" * 60_000, b'"' * 60_000, b"a:" * 30_000, b"\\" * 60_000])
def test_endless_nesting_in_an_address_ends(value: bytes) -> None:
    assert addresses(value).found == ()


def test_a_word_cannot_smuggle_an_address_into_the_list() -> None:
    (address,) = addresses(b"=?utf-8?q?x=40evil=2Eexample=3E=2C?= <a@b.c>").found

    assert address == Address("x@evil.example>,", "a@b.c", "b.c")


@pytest.mark.parametrize(
    ("value", "utc", "offset"),
    [
        ("Wed, 1 May 2019 12:20:29 +0500", datetime(2019, 5, 1, 7, 20, 29, tzinfo=UTC), 300),
        ("1 May 2019 12:20 -0330", datetime(2019, 5, 1, 15, 50, tzinfo=UTC), -210),
        ("Wed, 1 May 2019 12:20:29 -0000", datetime(2019, 5, 1, 12, 20, 29, tzinfo=UTC), None),
        ("Wed, 1 May 2019 12:20:29", datetime(2019, 5, 1, 12, 20, 29, tzinfo=UTC), None),
        ("Wed, 1 May 2019 12:20:29 GMT", datetime(2019, 5, 1, 12, 20, 29, tzinfo=UTC), 0),
        ("Wed, 1 May 2019 12:20:29 EST", datetime(2019, 5, 1, 17, 20, 29, tzinfo=UTC), -300),
        ("Wed, 1 May 2019 12:20:29 +0545 (a (nested) comment)", datetime(2019, 5, 1, 6, 35, 29, tzinfo=UTC), 345),
        ("Wed, 1 May 2019 12:20:29+0200", datetime(2019, 5, 1, 10, 20, 29, tzinfo=UTC), 120),
        ("Fri, 23 Aug 2002 2:32:53 -0400", datetime(2002, 8, 23, 6, 32, 53, tzinfo=UTC), -240),
        ("Sat, 31 Dec 2016 23:59:60 +0000", datetime(2017, 1, 1, tzinfo=UTC), 0),
        ("1 Jan 99 00:00:00 +0000", datetime(1999, 1, 1, tzinfo=UTC), 0),
    ],
)
def test_a_date_is_a_moment_and_where_it_was_written(value: str, utc: datetime, offset: int | None) -> None:
    read = moment(value.encode())

    assert read is not None
    assert (read.utc, read.offset_minutes) == (utc, offset)


@pytest.mark.parametrize("value", ["Whenever", "32 May 2019 12:00:00 +0000", "1 Jan 99999 00:00:00 +0000", "", "\x00"])
def test_what_is_no_date_is_none(value: str) -> None:
    assert moment(value.encode()) is None


TRACES = [
    "from a.example (a.example [10.0.0.1]) by b.example (Postfix) with ESMTPS id 4AB for <x@y.z>; "
    "Wed, 1 May 2019 10:20:30 +0300 (MSK)",
    "by b.example with HTTP; Wed, 1 May 2019 10:20:30 +0300",
    "from [10.0.0.1] (helo=a) by b with esmtp (Exim 4.9) (envelope-from <a@b.c>) id 1x-y; 1 May 2019 10:20:30 +0000",
    "from localhost by b (TLS1.3 with cipher AES (256/256 bits)) with LMTP id 5; 1 May 2019 10:20:30 +0000",
    "from a by b with cipher X id 7 for <a@b.c> from <c@d.e>; 1 May 2019 10:20:30 +0000",
    "(qmail 24134 invoked from network); 8 Mar 2017 01:21:00 -0000",
    "from 139.88.66.159 by ; Mon, 20 Mar 2017 03:11:54 +0400",
    'from "a; b" by c; 1 May 2019 10:20:30 +0000',
    "from a by b; for <c@d.e>; 1 May 2019 10:20:30 +0000",
    "FROM a\tBY b; 1 May 2019 10:20:30 +0000",
]


@pytest.mark.parametrize("value", TRACES)
def test_a_plain_received_header_reads_as_mail_parser_reads_it(value: str) -> None:
    plain = plain_clauses(value)

    if plain is not None:
        expected = parse_received(value)
        assert {key: plain.get(key, "") for key in KEYS} == {key: expected.get(key, "") for key in KEYS}


KEYS = ("from", "by", "with", "id", "date")
WORDS = ["from", "by", "with", "id", "for", "via", "a.example", "(b c)", "[1.2.3.4]", "<x@y.z>", ";", "cipher", "x"]
WORDS += ["(with x; y)", "1 May 2019 10:20:30 +0000", "BY", "identity", "(", ">", '"', "\\", ")from"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=14), st.sampled_from([" ", "  ", "\t"]))
def test_no_received_header_reads_differently_when_read_the_plain_way(words: list[str], blank: str) -> None:
    value = blank.join(words)
    plain = plain_clauses(value)

    if plain is not None:
        expected = parse_received(value)
        assert {key: plain.get(key, "") for key in KEYS} == {key: expected.get(key, "") for key in KEYS}


HOSTS = st.sampled_from(["mx.example.org", "a.b", "by.example", "localhost", "from", "[192.0.2.1]"])
COMMENTS = st.sampled_from(
    ["", " (x [192.0.2.1])", " (Postfix)", " (with  two)", " (a\tb)", " (by x)", " (a (b))", " (\xa0)"]
)
ONE_WORD = st.sampled_from(["ESMTPS", "4B00", "cipher", "id", "FOR", "x-y", "esmtp"])
TARGETS = st.sampled_from(["", " for <a@b.c>", " for a@b.c", " for <a@b.c> (added by x@y.z)", " for <a b>"])
DATES = st.sampled_from(["Mon, 5 Jan 2026 00:07:00 +0000", "5 Jan 2026 00:07:00 +0000 (UTC)", "", "x; y", "1 by me"])


@settings(max_examples=500, deadline=None)
@given(
    HOSTS, COMMENTS, HOSTS, COMMENTS, ONE_WORD, ONE_WORD, COMMENTS, TARGETS, DATES, st.sampled_from(["; ", ";", " ; "])
)
def test_no_received_header_reads_differently_when_read_as_usual(
    sender: str, saying: str, by: str, being: str, how: str, name: str, more: str, target: str, date: str, end: str
) -> None:
    value = f"from {sender}{saying} by {by}{being} with {how} id {name}{more}{target}{end}{date}"

    usual = usual_clauses(value)

    if usual is not None:
        expected = parse_received(value)
        assert {key: usual.get(key, "") for key in KEYS} == {key: expected.get(key, "") for key in KEYS}


def test_the_usual_received_header_is_read_as_usual() -> None:
    value = (
        "from mx1.example.org (mx1.example.org [192.0.2.1]) by mail.example.net (Postfix) with ESMTPS id 4B00000017"
        " (version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384) for <desk@example.net>; Mon, 5 Jan 2026 02:41:00 +0000 (UTC)"
    )

    assert usual_clauses(value) == plain_clauses(value)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(-2_208_988_800, 4_102_444_799),
    st.integers(-1439, 1439),
    st.sampled_from(["", "Mon, ", "Thu,  "]),
    st.sampled_from(["", " (CET)", " (a (b))"]),
)
def test_no_date_reads_differently_when_read_the_plain_way(seconds: int, offset: int, day: str, comment: str) -> None:
    local = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}{abs(offset) % 60:02}"
    value = f"{day}{local.day} {local:%b} {local.year} {local:%H:%M:%S} {zone}{comment}"

    plain = plain_date(value)

    assert plain is None if "(a" in value else plain == parse_mail_date(value).value


def test_a_hop_tells_where_from_to_and_when() -> None:
    read = hop(TRACES[0].encode())

    assert (read.from_, read.by, read.protocol, read.id) == (
        "a.example (a.example [10.0.0.1])",
        "b.example (Postfix)",
        "ESMTPS",
        "4AB",
    )
    assert read.date == datetime(2019, 5, 1, 7, 20, 30, tzinfo=UTC)


def test_a_hop_that_cannot_be_read_may_still_have_a_date() -> None:
    read = hop(b"((( ; Wed, 1 May 2019 10:20:30 +0300")

    assert (read.from_, read.by, read.date) == (None, None, datetime(2019, 5, 1, 7, 20, 30, tzinfo=UTC))


def test_message_ids_lose_their_brackets() -> None:
    assert first_id(b" <1@a.b> (comment)") == "1@a.b"
    assert first_id(b"bare@a.b") == "bare@a.b"
    assert first_id(b"odd id@a.b") == "odd id@a.b"
    assert first_id(b"your letter of today") is None
    assert first_id(b" ") is None
    assert ids(b"<1@a.b>\r\n\t<2@a.b> <1@a.b>") == ("1@a.b", "2@a.b")
    assert ids(b"your letter") == ()
    assert ids(b"1@a.b 2@a.b") == ("1@a.b", "2@a.b")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"plain", "plain"),
        (b" folded\r\n\there ", "folded\there".replace("\t", " ")),
        (b"=?utf-8?q?caf=C3=A9?=", "café"),
        (b"=?utf-8?B?w4TDlg==?= =?utf-8?B?w5w=?= end", "ÄÖÜ end"),
        (b"=?utf-8?q?=C3?= =?UTF-8?q?=A4?=", "ä"),  # one character in two words
        (b"=?iso-8859-1?q?a?= =?utf-8?q?b?=", "ab"),
        (b"=?utf-8*de?q?a_b?=", "a b"),
        (b"=?utf-8?q?what??=", "what?"),
        (b"=?iso-2022-jp?b?GyRCJF4kXxsoQg==?=", "まみ"),
        (b"=?x-no-such?q?a=E9?=", "aé"),
        (b"=?utf-8?q?a=0D=0ABcc:_b?=", "a Bcc: b"),
        (b"a\x00b\x07", "a b"),
        ("roh übel".encode(), "roh übel"),
        (b"roh \xfcbel", "roh übel"),
        (b"e\xcc\x81", "é"),
        (b"=?utf-8?q?unfinished", "=?utf-8?q?unfinished"),
        (b"=?utf-7?q?+2AA-?=", "\ufffd"),  # half of a surrogate pair
    ],
)
def test_header_text_is_decoded_joined_and_clean(value: bytes, text: str) -> None:
    assert header_text(value) == text
