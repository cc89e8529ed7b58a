"""Signed and encrypted messages (RFC 1847, 3156, 8551): what was signed is kept to the byte, and nothing gets lost."""

from __future__ import annotations

import pytest

from ingestd.mime.parse import parse
from ingestd.mime.scan import scan
from ingestd.mime.transfer import decoded
from ingestd.raw import InMemory
from tests.mime.letters import attached, crlf, in_base64, multipart, part, read
from tests.mime.rebuild import check

SIGNATURE = b"\x30\x82" + bytes(range(256)) * 8
BLOCK = "-----BEGIN PGP MESSAGE-----\n\nhQEMA\n=abcd\n-----END PGP MESSAGE-----"
SIGNED = [
    part("signed", "text/plain; charset=utf-8"),
    part("- trailing blanks \t \n\n\n", "text/plain"),
    part("=C3=BC=20=\n", "text/plain", "Content-Transfer-Encoding: quoted-printable"),
    multipart("mixed", part("words"), attached(SIGNATURE, "image/png"), boundary="inner") + "\n",
    part("Subject: forwarded\n\nwords", "message/rfc822"),
]


@pytest.mark.parametrize("signed", SIGNED)
@pytest.mark.parametrize("protocol", ["application/pkcs7-signature", "application/pgp-signature"])
def test_what_was_signed_is_known_to_the_byte(signed: str, protocol: str) -> None:
    signature = attached(SIGNATURE, f"{protocol}; name=s", "Content-Disposition: attachment; filename=s")
    raw = InMemory(crlf(multipart("signed", signed, signature, boundary="s", more=f"; protocol={protocol}; micalg=x")))

    message = parse(raw)
    first, second = scan(raw).root.parts

    assert raw.read(first.start, first.end) == crlf(signed)
    assert raw.read(second.start, second.end) == crlf(signature)
    assert (message.attachments[-1].content_type, message.attachments[-1].part) == (protocol, "2")
    assert b"".join(decoded(raw, message.attachments[-1].span)) == SIGNATURE
    check(raw, message)


def test_the_text_of_a_signed_message_is_its_text() -> None:
    message = read(
        multipart("signed", part("words"), attached(SIGNATURE, "application/pkcs7-signature; name=smime.p7s"))
    )

    assert message.text == "words"
    assert [(a.filename, a.extension) for a in message.attachments] == [("smime.p7s", "p7s")]


@pytest.mark.parametrize("kind", ["enveloped-data", "signed-data", "authEnveloped-data"])
def test_an_smime_message_is_one_attachment(kind: str) -> None:
    body = in_base64(SIGNATURE)
    raw = InMemory(
        crlf(
            part(
                body,
                f"application/pkcs7-mime; smime-type={kind}; name=smime.p7m",
                "Content-Transfer-Encoding: base64",
                "Content-Disposition: attachment; filename=smime.p7m",
            )
        )
    )

    message = parse(raw)

    (whole,) = message.attachments
    assert (whole.part, whole.filename, whole.content_type) == ("1", "smime.p7m", "application/pkcs7-mime")
    assert b"".join(decoded(raw, whole.span)) == SIGNATURE
    assert (message.text, message.html) == ("", None)
    check(raw, message)


def test_a_pgp_message_is_its_control_part_and_its_content() -> None:
    control, body = (
        part("Version: 1\n", "application/pgp-encrypted"),
        part(BLOCK, "application/octet-stream; name=encrypted.asc"),
    )
    raw = InMemory(crlf(multipart("encrypted", control, body, more="; protocol=application/pgp-encrypted")))

    message = parse(raw)

    assert [(a.filename_safe, a.content_type) for a in message.attachments] == [
        ("part-1.asc", "application/pgp-encrypted"),
        ("encrypted.asc", "application/octet-stream"),
    ]
    assert [b"".join(decoded(raw, a.span)) for a in message.attachments] == [b"Version: 1\r\n", crlf(BLOCK)]
    assert message.text == ""
    check(raw, message)


def test_a_pgp_message_in_plain_text_is_text() -> None:
    assert read(f"Subject: x\n\n{BLOCK}\n").text == BLOCK + "\n"


def test_the_parts_of_a_digest_are_messages_without_saying_so() -> None:
    message = read(
        multipart(
            "digest",
            "\nSubject: one\nMessage-ID: <1@x>\n\nfirst",
            "Content-Type: message/rfc822\n\nSubject: two\n\nsecond",
            part("a table of contents"),
        )
    )

    assert [(a.part, a.content_type) for a in message.attachments] == [("1", "message/rfc822"), ("2", "message/rfc822")]
    assert [(told.part, told.subject) for told in message.embedded] == [("1", "one"), ("2", "two")]
    assert message.text == "a table of contents"
