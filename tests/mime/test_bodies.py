"""What is body, what is attachment, and what the text then is."""

from __future__ import annotations

import pytest

from ingestd.message import Message
from tests.mime.letters import attached, multipart, part, read

HTML = part("<p>rich</p>", "text/html")
PLAIN = part("plain")
IMAGE = attached(b"GIF89a", "image/gif", "Content-ID: <pic@x>")


def kinds(message: Message) -> list[str]:
    return [a.content_type for a in message.attachments]


def test_an_alternative_gives_its_plain_and_its_html_version() -> None:
    message = read(multipart("alternative", PLAIN, HTML))

    assert (message.text, message.html, message.text_source) == ("plain", "<p>rich</p>", "plain")
    assert message.attachments == ()


def test_of_several_plain_versions_the_last_is_the_best_and_the_others_are_kept() -> None:
    message = read(multipart("alternative", part("short"), part("long"), HTML))

    assert message.text == "long"
    assert kinds(message) == ["text/plain"]


def test_a_footer_beside_the_html_version_does_not_replace_the_plain_one() -> None:
    rich = multipart("mixed", HTML, attached(b"%PDF", "application/pdf"), part("footer"), boundary="inner")

    message = read(multipart("alternative", part("the text"), rich))

    assert message.text == "the text"
    assert message.html == "<p>rich</p>"
    assert kinds(message) == ["application/pdf", "text/plain"]


def test_without_a_plain_version_the_text_comes_from_the_html() -> None:
    message = read("Content-Type: text/html\n\n<p>one</p><p>two &amp; three</p>\n")

    assert (message.text, message.text_source) == ("one\n\ntwo & three", "html")


def test_a_plain_version_that_is_empty_does_not_hide_the_html() -> None:
    message = read(multipart("alternative", part(" \n"), HTML))

    assert (message.text, message.text_source) == ("rich", "html")


def test_text_parts_in_a_row_are_one_text() -> None:
    message = read(multipart("mixed", part("one"), IMAGE, part("two")))

    assert message.text == "one\ntwo"
    assert kinds(message) == ["image/gif"]


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Disposition: attachment"],
        ["Content-Disposition: attachment; filename=a.txt"],
        ["Content-Disposition: inline; filename=a.txt"],
    ],
)
def test_a_text_that_is_sent_as_a_file_is_an_attachment(headers: list[str]) -> None:
    message = read(multipart("mixed", PLAIN, part("notes", "text/plain", *headers)))

    assert message.text == "plain"
    assert [(a.content_type, a.size_bytes) for a in message.attachments] == [("text/plain", 5)]


def test_a_named_text_that_is_the_whole_message_is_its_text() -> None:
    assert read("Content-Type: text/plain; name=a.txt\n\nhello\n").text == "hello\n"


@pytest.mark.parametrize(
    "kind",
    [
        "message/partial; id=1; number=1",
        "message/external-body; access-type=ftp",
        "message/delivery-status",
        "application/pkcs7-mime",
        "application/octet-stream",
        "text/calendar",
        "text/enriched",
        "x-unheard/of",
    ],
)
def test_no_other_part_is_lost(kind: str) -> None:
    message = read(multipart("mixed", PLAIN, part("content", kind)))

    assert kinds(message) == [kind.partition(";")[0]]
    assert message.text == "plain"


def test_an_image_that_the_html_shows_is_inline() -> None:
    html = part('<img src="cid:pic@x"><p>rich</p>', "text/html")

    message = read(multipart("related", html, IMAGE, attached(b"GIF", "image/gif", "Content-Disposition: attachment")))

    assert [a.inline for a in message.attachments] == [True, False]
    assert message.attachments[0].content_id == "pic@x"


def test_an_attached_image_that_the_html_shows_is_inline_too() -> None:
    html = part('<img src="cid:pic%40x">', "text/html")
    image = attached(b"GIF", "image/gif", "Content-ID: <pic@x>", "Content-Disposition: attachment")

    assert [a.inline for a in read(multipart("mixed", html, image)).attachments] == [True]


def test_the_root_of_a_related_is_the_one_that_it_names() -> None:
    root = part("<p>root</p>", "text/html", "Content-ID: <root>")

    message = read(multipart("related", IMAGE, root, more='; start="<root>"'))

    assert message.html == "<p>root</p>"
    assert kinds(message) == ["image/gif"]


def test_a_forwarded_message_keeps_its_text_and_its_attachments_to_itself() -> None:
    inner = multipart("mixed", part("inner text"), attached(b"inner file"), boundary="inner")

    message = read(multipart("mixed", PLAIN, part("Subject: fwd\n" + inner, "message/rfc822")))

    assert message.text == "plain"
    assert kinds(message) == ["message/rfc822"]
    assert message.attachments[0].in_raw
    assert [(e.part, e.subject, len(e.attachments)) for e in message.embedded] == [("2", "fwd", 1)]
    assert message.embedded[0].attachments[0].part == "2.2"


def test_line_ends_are_the_same_in_every_text() -> None:
    assert read(b"Subject: x\n\none\r\ntwo\rthree\nfour").text == "one\ntwo\nthree\nfour"


@pytest.mark.parametrize(
    ("header", "body", "text"),
    [
        ("text/plain; charset=utf-8", "über".encode(), "über"),
        ("text/plain; charset=iso-8859-1", "“über”".encode("cp1252"), "“über”"),
        ("text/plain; charset=gb2312", "镕".encode("gb18030"), "镕"),
        ("text/plain; charset=shift_jis", "①".encode("cp932"), "①"),
        ("text/plain; charset=utf-7", b"+APw-", "ü"),
        ("text/plain; charset=windows-1251", "да".encode("cp1251"), "да"),
        ("text/plain; charset=utf-16", "hi".encode("utf-16"), "hi"),
        ("text/plain", b"\xef\xbb\xbfbom", "bom"),
        ("text/plain", "über".encode("cp1252"), "über"),
        ("text/plain; charset=us-ascii", "über".encode(), "über"),
        ("text/plain; charset=utf-8", "über".encode("cp1252") * 9, "über" * 9),
        ("text/plain; charset=x-no-such", "über".encode(), "über"),
        ("text/plain; charset=idna", b"xn--mller-kva", "xn--mller-kva"),
        ("text/plain; charset=unicode_escape", b"\\u0041", "\\u0041"),
        ('text/plain; charset="utf-8\x00"', "über".encode(), "über"),
        ("text/plain; charset=utf-8", b"a\x00b\x07c", "a\ufffdb\ufffdc"),
        ("text/plain; charset=utf-8", b"e\xcc\x81", "é"),
        ("text/plain; charset=utf-16", b"\x00\xd8", "\ufffd"),
    ],
)
def test_text_is_decoded_by_the_charset_it_claims_or_seems_to_have(header: str, body: bytes, text: str) -> None:
    assert read(f"Content-Type: {header}\n\n".encode() + body).text == text


def test_a_charset_that_did_not_fit_is_a_defect() -> None:
    assert read(b"Content-Type: text/plain; charset=x-no-such\n\nhi").parse.defects == ("charset: x-no-such",)
    assert read(b"Content-Type: text/plain; charset=utf-8\n\n\xff\xfe\xfd").parse.defects == ("charset: utf-8",)


def test_a_snippet_is_the_start_of_the_text_on_one_line() -> None:
    message = read("Subject: x\n\n" + "one  two\n\n three " * 50)

    assert message.snippet.startswith("one two three one two")
    assert 190 < len(message.snippet) <= 200


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<div>one</div><div>two</div>", "one\n\ntwo"),
        ("one<br>two<BR/>three", "one\ntwo\nthree"),
        ("<style>p { color: red }</style><script>alert('x')</script>seen", "seen"),
        ("<!-- hidden -->seen<!-- not closed", "seen"),
        ("<title>x</title><p>a&nbsp;&lt;b&gt; &eacute;</p>", "a <b> é"),
        ("  many \n\n blanks\t here ", "many blanks here"),
        ("<table><tr><td>a</td><td>b</td></tr></table>", "a b"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("<p", "<p"),
    ],
)
def test_html_is_readable_as_text(html: str, text: str) -> None:
    assert read("Content-Type: text/html\n\n" + html).text == text
