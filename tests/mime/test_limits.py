"""Too much of anything: the message is kept, the limit is noted, and the rest is read."""

from __future__ import annotations

import pytest

from ingestd.message import Message
from ingestd.mime.parse import parse
from ingestd.mime.scan import scan
from ingestd.raw import InMemory
from tests.mime.letters import attached, multipart, part, read
from tests.mime.rebuild import check


def limited(data: bytes) -> Message:
    raw = InMemory(data)
    message = parse(raw)
    check(raw, message)
    return message


def test_a_header_block_has_a_limit() -> None:
    message = limited(b"Subject: x\r\n" + b"X-A: y\r\n Z\r\n" * 60_000 + b"\r\nbody")

    assert message.parse.limits == ("header_block", "headers")
    assert message.subject == "x"
    assert message.text == "body"


def test_a_header_line_has_a_limit_and_those_after_it_are_read() -> None:
    message = limited(b"X-A: " + b"y" * 2_000_000 + b"\r\nSubject: x\r\n\r\nbody")

    assert message.parse.limits == ("header_line",)
    assert message.subject == "x"
    assert message.text == "body"


def test_a_folded_header_has_the_same_limit_as_one_on_one_line() -> None:
    message = limited(b"X-A: y\r\n" + b" zzzzzzzz\r\n" * 10_000 + b"Subject: x\r\n\r\nbody")

    assert message.parse.limits == ("header_line",)
    assert message.subject == "x"
    assert len(message.headers[0].value) <= 64 * 1024


def test_the_number_of_headers_has_a_limit() -> None:
    message = limited(b"A: b\r\n" * 1500 + b"\r\nbody")

    assert message.parse.limits == ("headers",)
    assert len(message.headers) == 1000
    assert message.text == "body"


def test_the_headers_of_all_parts_together_have_a_limit() -> None:
    parts = [part("x", "a/b", "Content-Disposition: attachment; filename=" + "y" * 10_000) for _ in range(150)]

    message = read(multipart("mixed", *parts))
    tree = scan(InMemory(multipart("mixed", *parts).encode()))

    assert message.parse.limits == ("header_block",)
    assert len(message.attachments) == 150
    assert sum(len(part.block.fields[1][1]) for part in tree.root.parts) < 1_200_000


def test_the_number_of_hops_has_a_limit() -> None:
    message = limited(b"Received: by a; Wed, 1 May 2019 10:20:30 +0300\r\n" * 150 + b"\r\n")

    assert message.parse.limits == ("received",)
    assert len(message.received) == 100


def test_the_number_of_addresses_has_a_limit() -> None:
    to = ", ".join(f"a{count}@b.c" for count in range(900))
    cc = ", ".join(f"b{count}@b.c" for count in range(900))

    message = limited(f"To: {to}\r\nCc: {cc}\r\n\r\n".encode())

    assert message.parse.limits == ("addresses",)
    assert len(message.to) + len(message.cc) == 1000
    assert len(message.to) == 900


def test_the_number_of_references_has_a_limit_and_the_first_names_the_thread() -> None:
    references = " ".join(f"<{count}@a.b>" for count in range(500))

    message = limited(f"References: {references}\r\n\r\n".encode())

    assert message.parse.limits == ("references",)
    assert (message.references[0], message.references[1], message.references[-1]) == ("0@a.b", "301@a.b", "499@a.b")
    assert message.thread_id == "0@a.b"


def nested(levels: int) -> bytes:
    opened = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (level, level) for level in range(levels)
    )
    return opened + b"Content-Type: text/plain\n\ndeep\n"


def test_the_depth_of_multiparts_has_a_limit() -> None:
    within, beyond = limited(nested(50)), limited(nested(10_000))

    assert within.parse.limits == ()
    assert within.text == "deep\n"
    assert beyond.parse.limits == ("depth",)
    assert len(beyond.parts) == 51
    assert [a.content_type for a in beyond.attachments] == ["multipart/mixed"]


def test_the_number_of_parts_has_a_limit() -> None:
    message = limited(b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\nContent-Type: a/b\n\nx\n" * 100_000)

    assert message.parse.limits == ("parts",)
    assert len(message.parts) == 2000
    assert len(message.attachments) == 1999


def test_the_length_of_a_boundary_has_a_limit() -> None:
    just, over = "b" * 200, "b" * 201

    assert read(multipart("mixed", part("x"), boundary=just)).parse.limits == ()
    assert read(multipart("mixed", part("x"), boundary=over)).parse.limits == ("boundary",)


def test_the_number_of_parameters_has_a_limit() -> None:
    parameters = "".join(f";\n n*{count}=x" for count in range(600))

    assert read(f"Content-Type: text/plain{parameters}\n\nhi\n").parse.limits == ("parameters",)


def test_messages_within_messages_have_a_limit() -> None:
    chain = b"".join(b"Subject: %d\nContent-Type: message/rfc822\n\n" % level for level in range(100_000))

    message = limited(chain + b"end")

    assert message.parse.limits == ("embedded",)
    assert [embedded.subject for embedded in message.embedded] == ["1", "2", "3", "4"]
    assert [a.in_raw for a in message.embedded[-1].attachments] == [True]


def test_the_number_of_defects_has_a_limit_and_each_is_short() -> None:
    parts = [part("é", f"text/plain; charset=x-{'y' * 300}{count}") for count in range(60)]
    parts += [part("é", f"text/plain; charset=x-{count}") for count in range(60)]

    message = read(multipart("mixed", *parts))

    assert len(message.parse.defects) == 50
    assert all(len(defect) < 100 for defect in message.parse.defects)
    assert list(message.parse.defects) == sorted(set(message.parse.defects))


@pytest.mark.parametrize("parts", [1, 2])
def test_a_message_in_order_has_no_limits_and_no_defects(parts: int) -> None:
    message = read(multipart("mixed", *[attached(b"x")] * parts))

    assert (message.parse.status, message.parse.defects, message.parse.limits) == ("ok", (), ())
