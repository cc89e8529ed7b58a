"""Delivery reports (RFC 3464) and read receipts (RFC 8098), as servers write them and as they should not."""

from __future__ import annotations

import pytest

from ingestd.message import Address, DeliveryReport, DeliveryStatus, Disposition, Message
from ingestd.mime.reports import RECIPIENTS, STATUS_BYTES, VALUE
from tests.mime.letters import multipart, part, read

ANN = Address("", "ann@b.c", "b.c")
NOBODY = DeliveryStatus(None, None, None, None)


def report(status: str, kind: str = "delivery-status") -> Message:
    parts = (part("sorry"), part(status, f"message/{kind}"))
    return read(multipart("report", *parts, more=f"; report-type={kind}"))


def told(status: str) -> DeliveryReport:
    found = report(status).dsn
    assert found is not None
    return found


def first(status: str) -> DeliveryStatus:
    return told(status).recipients[0]


def test_a_bounce_tells_of_every_recipient() -> None:
    status = (
        "Reporting-MTA: dns; MX.b.c\nArrival-Date: Mon, 29 Jul 1996 02:12:50 -0700\n\n"
        "Original-Recipient: rfc822;list@b.c\nFinal-Recipient: rfc822; Ann@b.c\n"
        "Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550\n no such user\n\n"
        "Final-Recipient: rfc822; second@b.c\nAction: delayed\n"
    )

    assert told(status) == DeliveryReport(
        "mx.b.c",
        (
            DeliveryStatus("failed", "5.1.1", ANN, "smtp; 550 no such user"),
            DeliveryStatus("delayed", None, Address("", "second@b.c", "b.c"), None),
        ),
    )


def test_a_bounce_without_a_status_part_says_nothing_of_anyone() -> None:
    message = read(multipart("report", part("sorry"), more="; report-type=delivery-status"))

    assert (message.kind, message.dsn) == ("bounce", None)


@pytest.mark.parametrize("status", ["", "Reporting-MTA: dns; mx.b.c", "no field at all", ":", "\n\n\n"])
def test_what_is_said_of_the_message_as_a_whole_is_no_recipient(status: str) -> None:
    assert told(status).recipients == ()


@pytest.mark.parametrize(
    "field",
    [
        "Final-Recipient: rfc822; ann@b.c",
        "FINAL-RECIPIENT:RFC822;<ANN@B.C>",
        "Final-Recipient: ann@b.c",
        "Final-Recipient: rfc822; Ann Lee <ann@b.c>",
        "Final-Recipient: rfc822;\n\tann@b.c (Ann (or so) Lee)",
        "Original-Recipient: rfc822; ann@b.c",
        "Original-Recipient: rfc822; list@b.c\nFinal-Recipient: rfc822; ann@b.c",
        "Final-Recipient: rfc822;\nOriginal-Recipient: rfc822; ann@b.c",
        "Final-Recipient: rfc822; ann@b.c\nAction: failed\nFinal-Recipient: rfc822; other@b.c",
    ],
)
def test_a_recipient_is_the_final_one_however_it_is_written(field: str) -> None:
    assert first(field).recipient == ANN


@pytest.mark.parametrize(
    ("field", "address"),
    [
        ("Final-Recipient: utf-8; Grün@Büro.example", Address("", "grün@xn--bro-hoa.example", "xn--bro-hoa.example")),
        ("Final-Recipient: utf-8; gr\\x{FC}n@b.c", Address("", "grün@b.c", "b.c")),
        ("Final-Recipient: utf-8; a\\x{D800}\\x{00}b@b.c", Address("", "a\ufffd b@b.c", "b.c")),
        ("Final-Recipient: x400; /C=DE/A=x/S=lee/", Address("", "/c=de/a=x/s=lee/", "")),
        ("Final-Recipient: rfc822; " + "x" * 10_000, Address("", "x" * (VALUE - len("rfc822; ")), "")),
        ("Final-Recipient: rfc822;\nAction: failed", None),
    ],
)
def test_a_recipient_may_have_any_kind_of_address(field: str, address: Address | None) -> None:
    assert first(field).recipient == address


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("Action: Failed (gave up)", DeliveryStatus("failed", None, None, None)),
        ("Status: 5.1.1 (bad (very) destination)", DeliveryStatus(None, "5.1.1", None, None)),
        ("Status: 4.4.7", DeliveryStatus(None, "4.4.7", None, None)),
        ("Action:", NOBODY),
        ("Action: failed\nAction: delivered", DeliveryStatus("failed", None, None, None)),
    ],
)
def test_comments_are_no_part_of_what_became_of_a_message(field: str, expected: DeliveryStatus) -> None:
    assert first(field) == expected


@pytest.mark.parametrize("between", ["\n\n", "\n \t\n", "\n\n\n\n", "\n"])
def test_recipients_are_told_apart_with_and_without_a_blank_line(between: str) -> None:
    names = ["Final-Recipient: rfc822; ann@b.c\nAction: failed", "Final-Recipient: rfc822; ben@b.c\nAction: delayed"]

    found = told(between.join(["Reporting-MTA: dns; x.y", *names])).recipients

    assert [(each.recipient and each.recipient.address, each.action) for each in found] == [
        ("ann@b.c", "failed"),
        ("ben@b.c", "delayed"),
    ]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r", b"\r\r\n"])
def test_any_end_of_line_will_do(end: bytes) -> None:
    lines = [
        b"Content-Type: message/delivery-status",
        b"",
        b"Reporting-MTA: dns; x.y",
        b"",
        b"Final-Recipient: rfc822; ann@b.c",
        b"Action: failed",
    ]
    head = [b"Content-Type: multipart/report; report-type=delivery-status; boundary=b", b"", b"--b"]

    message = read(end.join([*head, *lines, b"--b--", b""]))

    assert message.dsn == DeliveryReport("x.y", (DeliveryStatus("failed", None, ANN, None),))


def test_as_many_recipients_are_told_of_as_there_is_room_for() -> None:
    many = "\n\n".join(f"Final-Recipient: rfc822; {number}@b.c" for number in range(RECIPIENTS + 1))

    message = report(many)

    assert message.dsn
    assert len(message.dsn.recipients) == RECIPIENTS
    assert message.parse.limits == ("dsn",)


def test_a_report_that_is_too_long_is_cut_and_says_so() -> None:
    message = report("Action: failed\nX: " + "x" * STATUS_BYTES)

    assert message.dsn == DeliveryReport(None, (DeliveryStatus("failed", None, None, None),))
    assert message.parse.limits == ("dsn",)


RECEIPT = (
    "Reporting-UA: desk; program 1.0\nOriginal-Recipient: rfc822; list@b.c\nFinal-Recipient: rfc822; Ann@b.c\n"
    "Original-Message-ID: <1@x.y>\nDisposition: manual-action/MDN-sent-manually; Displayed/error\n"
)


def test_a_read_receipt_tells_who_did_what_with_which_message() -> None:
    message = report(RECEIPT, "disposition-notification")

    assert message.kind == "receipt"
    assert message.mdn == Disposition("displayed", ANN, "1@x.y")
    assert message.dsn is None


def test_a_signed_report_is_one_too() -> None:
    parts = (part("read"), part(RECEIPT, "message/disposition-notification"))
    inner = multipart("report", *parts, boundary="in", more="; report-type=disposition-notification")

    message = read(multipart("signed", inner, part("MII", "application/pkcs7-signature")))

    assert message.kind == "receipt"
    assert message.mdn == Disposition("displayed", ANN, "1@x.y")


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("", Disposition(None, None, None)),
        ("Disposition: automatic-action/MDN-sent-automatically;", Disposition(None, None, None)),
        ("Disposition: deleted", Disposition("deleted", None, None)),
        ("Disposition: ;processed\nOriginal-Message-ID: 1@x.y", Disposition("processed", None, "1@x.y")),
    ],
)
def test_a_read_receipt_may_say_little(field: str, expected: Disposition) -> None:
    assert report(field, "disposition-notification").mdn == expected
