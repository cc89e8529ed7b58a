"""The hard messages that come with the project, and those of Python's own test suite."""

from __future__ import annotations

import email
import importlib.util
from collections.abc import Iterator
from email.message import Message as StdlibMessage
from hashlib import sha256
from pathlib import Path

import pytest

from ingestd.message import Address, Attachment, DeliveryReport, DeliveryStatus, Message
from ingestd.mime.parse import parse
from ingestd.mime.transfer import decoded
from ingestd.raw import InMemory, OnDisk
from tests.mime.rebuild import check

MAIL = Path(__file__).parents[2] / "ingestd" / "demo" / "mail"


def stdlib_mail() -> list[Path]:
    found = importlib.util.find_spec("test.test_email")
    places = list(found.submodule_search_locations or ()) if found else []
    return sorted(path for place in places for path in Path(place, "data").glob("*.txt"))


EVERY = sorted(MAIL.glob("*.eml")) + stdlib_mail()


def hard(number: int) -> tuple[InMemory, Message]:
    raw = InMemory(next(MAIL.glob(f"{number:02}_*.eml")).read_bytes())
    return raw, parse(raw)


def content(raw: InMemory, attachment: Attachment) -> bytes:
    return b"".join(decoded(raw, attachment.span))


def test_python_brings_mail_to_test_with() -> None:
    if not stdlib_mail():
        pytest.skip("this Python is installed without its test suite")

    assert len(stdlib_mail()) > 40


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_a_hard_message_is_understood_the_same_in_memory_and_on_disk_and_rebuilt_exactly(path: Path) -> None:
    raw = InMemory(path.read_bytes())

    message = parse(raw)

    assert message.parse.status in ("ok", "partial")
    check(raw, message)
    with OnDisk(path, raw.size_bytes).open() as opened:
        assert parse(opened) == message


def stdlib_files(mail: StdlibMessage) -> Iterator[bytes]:
    """The content of every leaf that cannot be body text, by the standard library."""
    if mail.get_content_maintype() == "multipart" and mail.is_multipart():
        for part in mail.get_payload():
            assert isinstance(part, StdlibMessage)
            yield from stdlib_files(part)
    elif mail.get_content_maintype() not in ("text", "message", "multipart") or mail.get_filename():
        content = mail.get_payload(decode=True)
        if isinstance(content, bytes):
            yield content


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_no_attachment_that_the_standard_library_finds_is_lost_or_changed(path: Path) -> None:
    raw = InMemory(path.read_bytes())
    expected = {sha256(content).hexdigest() for content in stdlib_files(email.message_from_bytes(raw.data))}

    message = parse(raw)

    every = [a for holder in (message, *message.embedded) for a in holder.attachments]
    assert expected <= {attachment.sha256 for attachment in every}


def test_an_inner_boundary_may_be_the_beginning_of_the_outer_one() -> None:
    _, message = hard(3)

    assert [(part.part, part.content_type) for part in message.parts] == [
        ("", "multipart/mixed"),
        ("1", "multipart/mixed"),
        ("1.1", "multipart/mixed"),
        ("1.1.1", "text/plain"),
        ("2", "multipart/mixed"),
        ("2.1", "multipart/mixed"),
        ("2.1.1", "text/plain"),
    ]
    assert message.subject == "this'll probably break a lot of mime parsers"
    assert message.text.count("You are here") == 3


def test_a_header_of_more_than_64_kib_is_cut_and_the_rest_of_the_message_is_read() -> None:
    _, message = hard(4)

    assert message.subject == "Message Subject"
    assert message.text.strip() == "Message Body"
    assert "header_line" in message.parse.limits
    assert message.to == (Address("test", "test@test.com", "test.com"),)


def test_a_chain_of_messages_without_end_is_followed_as_far_as_the_limits_go() -> None:
    _, message = hard(5)

    assert message.subject == "Wow"
    assert [(a.filename, a.in_raw) for a in message.attachments] == [("thanks.eml", True)]
    assert message.parse.limits


def test_japanese_text_in_seven_bits_is_decoded() -> None:
    assert hard(6)[1].text.strip() == "すみません。"
    assert hard(6)[1].subject == "まみむめも"
    assert hard(8)[1].text.strip() == "現況"


def test_raw_bytes_in_headers_are_read_in_the_charset_they_were_meant_in() -> None:
    assert hard(9)[1].subject == "Die Hasen und die Frösche"
    assert hard(9)[1].to == (Address("Jürgen Schmürgen", "jschmuergen@example.com", "example.com"),)
    assert hard(10)[1].to == (Address("Heinz Müller", "mueller@example.com", "example.com"),)
    assert hard(11)[1].subject == "Formação FrenetikPolis: Mega Campanha Final Verão | Cursos de Setembro"


def test_uuencoded_attachments_are_decoded() -> None:
    raw, message = hard(12)

    balls = [content(raw, attachment) for attachment in message.attachments]

    assert [attachment.filename for attachment in message.attachments] == ["greenball.png", "blueball.png"]
    assert all(
        ball.startswith(b"\x89PNG\r\n\x1a\n") and ball.rstrip(b"\0").endswith(b"IEND\xaeB`\x82") for ball in balls
    )


def test_binhex_is_kept_as_it_is_under_a_readable_name() -> None:
    raw, message = hard(13)

    ball, hares = message.attachments

    assert hares.filename == "HasenundFrösche.txt"
    assert b"(This file must be converted with BinHex 4.0)" in content(raw, ball)


def test_the_body_structure_puzzle_of_rfc_8621_is_solved() -> None:
    raw, message = hard(14)

    assert message.text.split() == ["A", "B", "D", "K"]
    assert message.html == "<html>E</html>"
    assert [(a.part, content(raw, a)) for a in message.attachments] == [
        ("2.1.1.2", b"C"),
        ("2.1.2.2", b"F"),
        ("2.2", b"G"),
        ("2.3", b"H"),
        ("2.4", b"Subject: J\n\nJ"),
    ]
    assert [part.part for part in message.parts if part.part.startswith("2.4")] == ["2.4", "2.4.1"]


def test_every_external_body_is_listed() -> None:
    _, message = hard(15)

    assert [a.content_type for a in message.attachments] == ["message/external-body"] * 3
    assert message.attachments[0].filename == "BodyFormats.ps"


def test_an_attachment_without_a_name_gets_one_from_its_part_number() -> None:
    _, message = hard(16)

    assert [(a.filename, a.filename_safe) for a in message.attachments] == [(None, "part-2.bin")]


def test_two_equal_attachments_are_two_attachments_and_one_blob() -> None:
    _, message = hard(18)

    first, second = message.attachments

    assert first.sha256 == second.sha256
    assert (first.part, second.part) == ("2", "3")
    assert [blob.sha256 for blob in message.blobs] == [first.sha256]
    assert message.text == "two attach"
    assert message.text_source == "html"


def test_winmail_dat_is_an_attachment_and_nearly_the_whole_message() -> None:
    raw, message = hard(20)

    winmail, *within = message.attachments

    assert (winmail.filename, winmail.derived_from) == ("winmail.dat", None)
    assert [(a.part, a.filename, a.content_type, a.derived_from) for a in within] == [
        ("2~1", "body.rtf", "application/rtf", "2"),
        ("2~2", "kitten-playing-with-a-christmas-tree.jpg", "application/octet-stream", "2"),
        ("2~3", "Untitled Attachment", "application/ms-tnef", "2"),
        ("2~3~1", "body.txt", "text/plain", "2~3"),
        ("2~3~2", "body.rtf", "application/rtf", "2~3"),
        ("2~4", "Untitled Attachment", "application/ms-tnef", "2"),
        ("2~4~1", "body.txt", "text/plain", "2~4"),
        ("2~4~2", "body.rtf", "application/rtf", "2~4"),
        ("2~4~3", "kitten-playing-with-a-christmas-tree.jpg", "application/octet-stream", "2~4"),
    ]
    assert content(raw, within[1]).startswith(b"\xff\xd8\xff")
    assert content(raw, within[1]).endswith(b"\xff\xd9")
    assert within[1].sha256 == within[8].sha256
    assert content(raw, winmail).startswith(b"\x78\x9f\x3e\x22")
    assert sum(segment.end - segment.start for segment in message.segments if segment.sha256 is None) < 5000


def test_a_delivery_report_says_who_did_not_get_what() -> None:
    _, message = hard(21)

    assert message.kind == "bounce"
    recipient = Address("", "newsletter-request@imusic.com", "imusic.com")
    assert message.dsn == DeliveryReport(
        "mm1", (DeliveryStatus("failed", None, recipient, "X-LOCAL; 500 (err.nosuchuser)"),)
    )


def test_a_line_break_hidden_in_an_encoded_word_injects_nothing() -> None:
    _, message = hard(22)

    assert message.from_ == Address("James Hillyerd", "jamehi03@jamehi03lx.noa.com", "jamehi03lx.noa.com")
    for header in message.headers:
        assert header.value.isprintable() or not header.value.isascii()
        assert not {"\r", "\n"} & set(header.value)


def test_a_header_name_that_no_one_meant_is_kept_and_no_transfer_encoding_is_guessed() -> None:
    _, message = hard(23)

    assert "Suvladi.Pimenovject" in [header.name for header in message.headers]
    assert message.subject is None
    assert message.text.startswith("middagh")


def test_a_boundary_that_is_announced_wrongly_is_found_in_the_body() -> None:
    _, message = hard(24)

    assert "boundary_guessed" in message.parse.defects
    assert message.text.startswith("Problemas para visualizar")
    assert message.html is not None


def test_no_text_leaks_out_of_forwarded_messages() -> None:
    _, message = hard(25)

    assert message.text.startswith("Welcome to Ryan Finnie's MIME torture test.")
    assert "Hello there" not in message.text
    assert message.html is None
    assert [a.content_type for a in message.attachments] == ["message/rfc822"] * 10
    assert [e.part for e in message.embedded] == ["2", "3", "3.2", "4", "5", "6", "7", "8", "9", "10", "11"]


def test_a_forwarded_message_tells_its_own_attachments() -> None:
    raw, message = hard(25)

    inner = next(e for e in message.embedded if e.part == "3.2")

    assert [a.filename for a in inner.attachments] == ["foo.gz"]
    assert content(raw, inner.attachments[0]).startswith(b"\x1f\x8b")
    assert raw.read(inner.offset, inner.offset + inner.size_bytes).count(b"foo.gz") > 0
