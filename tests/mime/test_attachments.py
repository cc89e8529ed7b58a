"""What an attachment is called, and what it is."""

from __future__ import annotations

import pytest

from ingestd.message import Attachment
from ingestd.mime.attachments import kind, safe_name
from tests.mime.letters import multipart, part, read


def named(*headers: str, content_type: str = "application/octet-stream") -> Attachment:
    (attachment,) = read(multipart("mixed", part("x", content_type, *headers))).attachments
    return attachment


@pytest.mark.parametrize(
    ("header", "filename"),
    [
        ("attachment; filename=plain.txt", "plain.txt"),
        ('attachment; filename="two words.txt"', "two words.txt"),
        ('attachment; filename="a \\"quote\\".txt"', 'a "quote".txt'),
        ('attachment; filename="semi;colon.txt"; size=3', "semi;colon.txt"),
        ("attachment; filename*=utf-8''%C3%BCber.txt", "über.txt"),
        ("attachment; filename=fallback.txt; filename*=utf-8'de'%C3%BCber.txt", "über.txt"),
        ("attachment; filename*0=a; filename*1=b; filename*2=.txt", "ab.txt"),
        ("attachment; filename*1=b.txt; filename*0=a", "ab.txt"),
        ("attachment;\n filename*0*=utf-8''%C3;\n filename*1*=%BC;\n filename*2=.txt", "ü.txt"),
        ('attachment; filename="=?utf-8?q?=C3=BCber=2Etxt?="', "über.txt"),
        ('attachment; filename="roh übel.txt"', "roh übel.txt"),
        ('attachment; FileName="case.txt"', "case.txt"),
        ('attachment; filename="unclosed.txt', "unclosed.txt"),
        ("attachment; filename=comment.txt (as they say)", "comment.txt"),
        ("attachment; filename=", None),
        ("attachment; filename*=utf-8''%00%0D%0Aa.txt", "a.txt"),
    ],
)
def test_a_filename_is_decoded_whatever_its_form(header: str, filename: str | None) -> None:
    assert named(f"Content-Disposition: {header}").filename == filename


def test_the_disposition_names_a_file_before_the_type_does() -> None:
    attachment = named("Content-Disposition: attachment; filename=a.gz", content_type="a/b; name=b.gz")

    assert attachment.filename == "a.gz"
    assert named(content_type="a/b; name=b.gz").filename == "b.gz"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\report.pdf", "report.pdf"),
        ('a<b>:"|?*c.txt', "a_b_c.txt"),
        ("..", ""),
        (" . ", ""),
        ("/", ""),
        (".hidden", "hidden"),
        ("trailing. ", "trailing"),
        ("con.txt", "_con.txt"),
        ("COM1", "_COM1"),
        ("a\u202egpj.exe", "a_gpj.exe"),
        ("über.txt", "über.txt"),
        ("", ""),
    ],
)
def test_a_safe_name_is_one_for_every_file_system(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_a_safe_name_is_short_and_keeps_its_extension() -> None:
    assert len(safe_name("ü" * 500 + ".pdf").encode()) <= 200
    assert safe_name("ü" * 500 + ".pdf").endswith("ü.pdf")
    assert len(safe_name("x" * 500).encode()) <= 200
    assert len(safe_name("x." + "ü" * 500).encode()) <= 200


@pytest.mark.parametrize(
    ("content_type", "safe", "extension"),
    [
        ("image/jpeg", "part-1.jpg", "jpg"),
        ("text/csv", "part-1.csv", "csv"),
        ("application/pdf", "part-1.pdf", "pdf"),
        ("text/x-unknown", "part-1.txt", "txt"),
        ("message/rfc822", "part-1.eml", "eml"),
        ("application/pkcs7-mime; smime-type=enveloped-data", "part-1.p7m", "p7m"),
        ("application/x-pkcs7-signature", "part-1.p7s", "p7s"),
        ("application/pgp-encrypted", "part-1.asc", "asc"),
        ("application/pgp-keys", "part-1.asc", "asc"),
        ("application/x-unknown", "part-1.bin", "bin"),
    ],
)
def test_an_attachment_without_a_name_is_called_after_its_part(content_type: str, safe: str, extension: str) -> None:
    attachment = named(content_type=content_type)

    assert (attachment.filename, attachment.filename_safe, attachment.extension) == (None, safe, extension)


@pytest.mark.parametrize(
    ("content_type", "extension", "expected"),
    [
        ("image/png", "png", "image"),
        ("application/octet-stream", "xlsx", "sheet"),
        ("application/octet-stream", "pdf", "document"),
        ("application/vnd.ms-powerpoint", "", "slides"),
        ("application/zip", "zip", "archive"),
        ("text/calendar", "ics", "calendar"),
        ("text/plain", "log", "text"),
        ("message/rfc822", "eml", "message"),
        ("video/x-foo", "", "video"),
        ("application/mac-binhex40", "png", "archive"),
        ("application/octet-stream", "hqx", "archive"),
        ("application/octet-stream", "", "other"),
    ],
)
def test_an_attachment_is_what_a_person_would_call_it(content_type: str, extension: str, expected: str) -> None:
    assert kind(content_type, extension) == expected


def test_an_unknown_transfer_encoding_is_a_defect_and_the_content_is_kept_as_it_is() -> None:
    message = read(multipart("mixed", part("as it is", "a/b", "Content-Transfer-Encoding: x-foo")))

    assert message.parse.defects == ("transfer_encoding",)
    assert message.attachments[0].size_bytes == 8
    assert read("Content-Transfer-Encoding: 7vladibit\n\nhello").parse.defects == ("transfer_encoding",)
