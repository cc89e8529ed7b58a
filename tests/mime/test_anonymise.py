"""Messages made anonymous: nothing of what they said is left, and they parse as they did."""

from __future__ import annotations

import base64
import binascii
import quopri
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestd.message import Message
from ingestd.mime.anonymise.likeness import differences
from ingestd.mime.anonymise.mask import Mask
from ingestd.mime.anonymise.message import anonymised
from ingestd.mime.anonymise.names import WEEKDAYS
from ingestd.mime.parse import parse
from ingestd.mime.scan import scan
from ingestd.mime.transfer import decoded
from ingestd.raw import InMemory
from tests.mime.letters import attached, crlf, in_base64, multipart, part, read
from tests.mime.mutations import mutation
from tests.mime.test_hard_mail import MAIL

HARD = sorted(MAIL.glob("*.eml"))
MASK = Mask(b"a key for tests, always the same")
MUTATIONS = 200

# What is lost of a message, and why.
LOST = {"20_rich-text": "the files within a winmail.dat: it becomes noise, in which nothing lies"}

LETTERS = re.compile(rb"[A-Za-z]{6,}")
STRUCTURE = re.compile(
    rb"(?im)^content-(?:type|disposition|transfer-encoding):[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*|^[!-9;-~]+[ \t]*:"
    rb"|=\?[^?\s]+\?[bq]\?|</?[a-z]+[0-9]?\b|charset=[\"']?[\w-]+|^content-|\(This file must be converted with BinHex.*"
)
NAMES = re.compile(rb"(?i)name(?:\*\d*)?\*?=[^;\r\n]*")
NOT_SAID = {b"example", b"ESMTPS"}  # of domains that are nobody's, and of a protocol


def other(data: bytes, mask: Mask = MASK) -> bytes:
    """*data* made anonymous, in the same lines."""
    made = anonymised(data, mask)
    assert [len(line) for line in made.split(b"\n")] == [len(line) for line in data.split(b"\n")]
    assert [line.endswith(b"\r") for line in made.split(b"\n")] == [line.endswith(b"\r") for line in data.split(b"\n")]
    return made


def parsed(data: bytes) -> Message:
    return parse(InMemory(data))


def contents(data: bytes) -> Iterator[bytes]:
    """What can be read in a message: what lies there without base64, and what is in its parts."""
    raw, plain = InMemory(data), bytearray(data)
    for leaf in scan(raw).root.walk():
        if not leaf.parts and not leaf.message:
            span = leaf.span(raw)
            content = b"".join(decoded(raw, span))
            if span.encoding == "base64":
                plain[span.start : span.end] = bytes(span.end - span.start)
            if span.encoding != "identity":
                yield from contents(content) if leaf.content_type == "message/rfc822" else [content]
    yield bytes(plain)


def survivors(before: bytes, after: bytes) -> set[bytes]:
    """Words of six letters and more that stand where they stood, and do not belong to the structure."""
    found: set[bytes] = set()
    for old, new in zip(contents(before), contents(after), strict=True):
        structure = {at for match in STRUCTURE.finditer(old) for at in range(*match.span())}
        structure -= {at for match in NAMES.finditer(old) for at in range(*match.span())}
        pairs = enumerate(zip(old, new, strict=True))
        same = bytes(a if a == b and at not in structure else 0x20 for at, (a, b) in pairs)
        found |= {word for word in LETTERS.findall(same) if word not in NOT_SAID}
    return found


# --- real mail


@pytest.mark.parametrize("path", HARD, ids=lambda path: path.stem)
def test_a_hard_message_stays_as_hard_and_says_nothing(path: Path) -> None:
    data = path.read_bytes()

    made = other(data)

    assert survivors(data, made) == set()
    lost = differences(parsed(data), parsed(made))
    assert bool(lost) == (path.stem in LOST), lost


def test_damaged_mail_stays_as_damaged_but_for_the_odd_one_that_is_told() -> None:
    mail = [data for data in map(mutation, range(MUTATIONS)) if b"tnef" not in data.lower()]

    told = [lost for data in mail if (lost := differences(parsed(data), parsed(other(data))))]

    assert len(told) <= MUTATIONS // 100, told


# --- nothing is left


SECRET = "Kowalczyk"
ADDRESS = f"zofia.{SECRET}@Przedsiebiorstwo.example.net"
SAID = f"Dear {SECRET}, write to {ADDRESS} or see https://{SECRET}.Przedsiebiorstwo.example.net/{SECRET}?{SECRET}=1"


def everywhere() -> dict[str, bytes]:
    """Letters with a secret in every place that a letter has."""
    head = f"From: {SECRET} <{ADDRESS}>\nTo: undisclosed: {ADDRESS} ({SECRET});\nSubject: Re: {SAID}\n"
    trace = (
        f"Received: from {SECRET}.example.net ({SECRET} [10.0.0.1]) by mx.{SECRET}.example.net with ESMTP id {SECRET}\n"
    )
    ids = f"Message-ID: <{SECRET}.1@{SECRET}.example.net>\nReferences: <{SECRET}> {SECRET}@{SECRET} {SECRET}\n"
    word = base64.b64encode(SAID.encode()).decode()
    words = f"Subject: =?utf-8?B?{word}?= =?iso-8859-1?Q?{SECRET}=E9?=\nTo: =?us-ascii?q?{SECRET}?= <{ADDRESS}>\n"
    quoted = quopri.encodestring(f"{SAID} ł {SAID}".encode()).decode()
    html = f'<p title="{SECRET}">{SAID}</p><!-- {SECRET} --><a href="mailto:{ADDRESS}">{SECRET}</a>'
    uu = f"begin 644 {SECRET}.pdf\n#86)C\n`\nend\n"
    named = f'application/pdf; name="{SECRET}.pdf"; x-{SECRET[:3]}="{SECRET}"'
    disposition = f"Content-Disposition: attachment; filename*0*=utf-8''{SECRET}%20; filename*1={SECRET}.pdf"
    described = f"Content-Description: {SAID}\nContent-Location: https://{SECRET}.example.net/{SECRET}"
    encoded = "Content-Transfer-Encoding: base64"
    letters = {
        "header": f"{trace}{head}{ids}Date: 1 May 2019 {SECRET}\nX-Odd: {SAID}\n\n{SAID}\n",
        "words": f"{words}\n{SAID}",
        "folded": f"Subject: {SECRET}\n {SECRET}\n\t{SECRET}\n\n",
        "no header": f"{SAID}\n\n{SAID}",
        "quoted-printable": part(quoted, "text/plain; charset=utf-8", "Content-Transfer-Encoding: quoted-printable"),
        "base64": attached(SAID.encode(), "text/plain; charset=utf-8"),
        "html": part(html, "text/html"),
        "html in base64": attached(html.encode(), "text/html"),
        "a file": attached(SAID.encode() * 50, named, disposition, described),
        "a plain file": part(SAID, named, disposition),
        "uuencode in text": part(f"{SAID}\n{uu}{SAID}"),
        "around parts": multipart("mixed", part(SAID), boundary="b", more=f" ({SECRET})").replace(
            "\n--b\n", f"\n{SAID}\n--b\n", 1
        )
        + SAID,
        "a boundary": multipart("mixed", part(SAID), boundary=f"{SECRET}=_1"),
        "lines like boundaries": multipart("mixed", part(f"-- \n--{SECRET}\n--{SAID}")),
        "a message": multipart("mixed", f"Content-Type: message/rfc822\n\n{head}{ids}\n{SAID}"),
        "a message in base64": multipart(
            "mixed", f"Content-Type: message/rfc822\n{encoded}\n\n" + in_base64(crlf(f"{head}\n{SAID}"))
        ),
        "a report": part(
            f"Final-Recipient: rfc822; {ADDRESS}\nDiagnostic-Code: smtp; {SAID}", "message/delivery-status"
        ),
        "elsewhere": part(SAID, f'message/external-body; access-type="anon-ftp"; site="{SECRET}"; name="{SECRET}"'),
        "an mbox": f"From {ADDRESS} Wed May  1 10:00:00 2019\n{head}\n{SAID}",
    }
    return {name: crlf(text) for name, text in letters.items()}


@pytest.mark.parametrize("name", everywhere())
def test_a_secret_is_found_nowhere(name: str) -> None:
    data = everywhere()[name]

    made = other(data)

    assert differences(parsed(data), parsed(made)) == ()
    for content in contents(made):
        for word in (SECRET, "Przedsiebiorstwo"):
            runs = {word[at : at + 6].lower().encode() for at in range(len(word) - 5)}
            assert not [run for run in runs if run in content.lower()]
    again = str((parsed(made), parsed(made).headers)).lower()
    assert SECRET.lower() not in again
    assert "przedsie" not in again


def in_yenc(content: bytes) -> bytes:
    data = bytes((byte + 42) % 256 for byte in content).replace(b"=", b"=}").replace(b"\r", b"=M").replace(b"\n", b"=J")
    return b"=ybegin line=128 size=%d name=a.txt\r\n%b\r\n=yend size=%d\r\n" % (len(content), data, len(content))


def in_uu(content: bytes) -> bytes:
    lines = [binascii.b2a_uu(content[at : at + 45]) for at in range(0, len(content), 45)]
    return b"begin 644 a.txt\n" + b"".join(lines) + b"`\nend\n"


def in_binhex(content: bytes) -> bytes:
    letters = "!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"
    plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    data = base64.b64encode(content).decode().rstrip("=").translate(str.maketrans(plain, letters))
    lines = [f":{data}:"[at : at + 64] for at in range(0, len(data) + 2, 64)]
    return b"(This file must be converted with BinHex 4.0)\r\n\r\n" + "\r\n".join(lines).encode() + b"\r\n"


@pytest.mark.parametrize("write", [in_yenc, in_uu, in_binhex])
def test_nothing_is_left_of_a_file_within_text(write: Callable[[bytes], bytes]) -> None:
    content = b"The quick brown fox jumps over the lazy dog, and tells nobody. " * 20
    letter = b"Subject: a file\r\n\r\nsee\r\n" + write(content) + b"bye\r\n"

    made = other(letter)

    (old,), (new,) = parsed(letter).attachments, parsed(made).attachments
    assert differences(parsed(letter), parsed(made)) == ()
    old_content = b"".join(decoded(InMemory(letter), old.span))
    new_content = b"".join(decoded(InMemory(made), new.span))
    assert len(old_content) > 1000
    same = sum(a == b for a, b in zip(old_content, new_content, strict=True))
    assert same * 10 < len(old_content)  # by chance, and where a line ends


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("text/html", "<p>&#1064;&#1080;&#1088;&#1086;&#x43A;&#1072;&#1103;</p>"),
        ("text/plain", "𝐊𝐨𝐰𝐚𝐥𝐜𝐳𝐲𝐤 𝓴𝓸𝔀𝓪𝓵𝓬𝔃𝔂𝓴"),
        ("text/plain", "ऋषियों को सताने वाले दुष्ट"),
        ("text/plain", "เป็นมนุษย์สุดประเสริฐ"),
        ("text/plain", "نَصٌّ حَكِيمٌ لَهُ سِرٌّ"),
        ("text/plain", "--Широкая\n-- электрификация\n"),
        ("text/plain", "№ Ⅷ ② ½ 𠀀𠀁"),
    ],
)
def test_letters_of_every_script_are_exchanged_however_they_are_written(kind: str, text: str) -> None:
    letter = crlf(f"Content-Type: {kind}; charset=utf-8\n\n{text}\n")

    old, new = parsed(letter).text, parsed(other(letter)).text

    assert len(old) > 3
    assert not [letter for letter, now in zip(old, new, strict=False) if letter == now and letter.isalpha()]


def test_only_the_names_of_parameters_that_mean_something_stay() -> None:
    made = other(crlf('Content-Type: text/plain; x-kowalczyk="kowalczyk"; format=flowed\n\nx'))

    assert b"kowalczyk" not in made
    assert b"; format=flowed" in made


@pytest.mark.parametrize("name", ["X-Birthdate", "Candidate", "Update-Id", "Subject"])
def test_digits_stay_in_no_header_but_that_of_the_date(name: str) -> None:
    assert b"1970" not in other(crlf(f"{name}: 12.05.1970\n\n"))


# --- what was equal stays equal


def test_it_is_the_same_for_the_same_key_and_another_for_another() -> None:
    data = everywhere()["header"]

    assert other(data) == other(data)
    assert other(data) != other(data, Mask(b"another key"))


def test_an_address_gets_the_same_replacement_everywhere_and_it_belongs_to_nobody() -> None:
    one = parsed(other(crlf(f"From: {ADDRESS}\nTo: {ADDRESS.upper()}\n\n")))
    two = parsed(other(crlf(f"Cc: x <{ADDRESS}>\n\nwrite to {ADDRESS}.\n")))

    assert one.from_ == one.to[0]
    assert one.from_
    assert two.cc[0].address == one.from_.address
    assert two.text == one.from_.address.join(two.text.split(one.from_.address))
    assert one.from_.domain.endswith(".example.org")


@pytest.mark.parametrize(
    ("domain", "tail"), [("a-company.example.com", ".example.org"), ("gmail.com", ".test"), ("t.co", ".zz")]
)
def test_a_domain_becomes_one_that_nobody_can_have(domain: str, tail: str) -> None:
    made = parsed(other(crlf(f"From: me@{domain}\n\n"))).from_

    assert made
    assert made.domain.endswith(tail)
    assert len(made.domain) == len(domain)


def test_a_conversation_holds_together() -> None:
    question = parsed(other(crlf("Message-ID: <17$a=b@host>\n\n")))
    answer = parsed(other(crlf("Message-ID: <18@host>\nIn-Reply-To: <17$a=b@host>\nReferences: <17$a=b@host>\n\n")))

    assert answer.in_reply_to == question.message_id
    assert answer.thread_id == question.thread_id


def test_html_still_refers_to_its_picture() -> None:
    page = part('<img src="cid:picture-one"><img src="cid:two@host">', "text/html")
    pictures = [attached(b"PNG", "image/png", f"Content-ID: <{name}>") for name in ("picture-one", "two@host")]
    letter = crlf(multipart("mixed", page, *pictures))

    made = other(letter)

    assert [each.inline for each in parsed(letter).attachments] == [True, True]
    assert differences(parsed(letter), parsed(made)) == ()


def test_copies_of_a_file_stay_copies() -> None:
    letter = crlf(multipart("mixed", attached(b"content" * 99), attached(b"content" * 99), attached(b"another" * 99)))

    one, two, three = (each.sha256 for each in parsed(other(letter)).attachments)

    assert one == two != three


@pytest.mark.parametrize(
    "header",
    [
        'boundary="a b\\"c"',
        "boundary=outer (a comment)",
        'boundary="out\n er"',
        "boundary*0=ou; boundary*1=ter",
        "boundary*=us-ascii''outer",
    ],
)
def test_a_boundary_is_recognised_however_it_is_written(header: str) -> None:
    boundary = read(f"Content-Type: multipart/mixed; {header}\n\n")
    name = scan(InMemory(crlf(f"Content-Type: multipart/mixed; {header}\n\n"))).root.type.raw("boundary")
    assert boundary.parts
    assert name
    letter = crlf(f"Content-Type: multipart/mixed; {header}\n\n--{name.decode()}\n\none\n--{name.decode()}--\n")

    made = other(letter)

    assert len(parsed(letter).parts) == 2
    assert differences(parsed(letter), parsed(made)) == ()


def test_boundaries_that_begin_each_other_still_do() -> None:
    inner = multipart("mixed", part("one\n--ab"), boundary="abc")
    letter = crlf(multipart("mixed", inner, part("--a\n--abcd\n--x"), boundary="ab"))

    made = other(letter)

    assert differences(parsed(letter), parsed(made)) == ()
    assert [each.part for each in parsed(made).parts] == ["", "1", "1.1", "2", "3"]


# --- charsets

TEXT = {
    "utf-8": "Zażółć gęślą jaźń, Широкая электрификация, 日本語の文章です",
    "iso-8859-1": "Übergrößenträger können höher springen",
    "iso-8859-2": "Zażółć gęślą jaźń",
    "windows-1251": "Широкая электрификация южных губерний",
    "koi8-r": "Широкая электрификация южных губерний",
    "iso-8859-7": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία",
    "windows-1255": "דג סקרן שט בים מאוכזב ולפתע מצא חברה",
    "gb2312": "视野无限广，窗外有蓝天",
    "gb18030": "视野无限广，窗外有蓝天",
    "big5": "視野無限廣，窗外有藍天",
    "shift_jis": "いろはにほへと ちりぬるを 日本語",
    "euc-jp": "いろはにほへと ちりぬるを 日本語",
    "iso-2022-jp": "いろはにほへと plain 日本語 plain",
    "euc-kr": "키스의 고유조건은 입술끼리 만나야 하고",
    "hz": "plain 视野无限广 plain",
    "utf-7": "Zażółć gęślą jaźń, 日本語 & plain",
    "utf-16": "Zażółć gęślą jaźń",
}


@pytest.mark.parametrize("encoding", ["8bit", "base64", "quoted-printable"])
@pytest.mark.parametrize("charset", TEXT)
def test_text_stays_in_its_charset_and_says_nothing(charset: str, encoding: str) -> None:
    content = TEXT[charset].encode(charset)
    if charset == "utf-16" and encoding != "base64":
        pytest.skip("it cannot be sent like that")
    encode = {"8bit": bytes, "base64": base64.encodebytes, "quoted-printable": quopri.encodestring}[encoding]
    header = f"Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    letter = header.encode() + encode(content)

    made = other(letter)

    assert differences(parsed(letter), parsed(made)) == ()
    old, new = parsed(letter).text, parsed(made).text
    words = [word for word in re.findall(r"\w{4,}", old) if word in new]
    assert words == []


@pytest.mark.parametrize("label", ["", "utf-8", "us-ascii", "gb2312", "iso-2022-jp", "x-unknown", "windows-1252"])
@pytest.mark.parametrize("content", [*(text.encode(name) for name, text in TEXT.items()), b"caf\xe9", b"\x81\x8d\xff"])
def test_text_that_is_not_what_it_claims_stays_so(label: str, content: bytes) -> None:
    letter = f"Content-Type: text/plain; charset={label}\r\n\r\n".encode() + content + b"\r\n"

    made = other(letter)

    assert parsed(made).parse.defects == parsed(letter).parse.defects


# --- what a test of the parser needs


@pytest.mark.parametrize(
    "body",
    [
        "QUJD\n\nREVG\n",
        "QUJDR\nEVGRw==\n",
        "QUI=\nQUI=\nQUJD",
        "QUJ*D!RE-VG\n--REVG",
        "QUJDREVGRx",
        "QR==",
        "QUJDR",
        "=====",
        "",
    ],
)
def test_base64_keeps_its_lines_its_padding_and_what_is_wrong_with_it(body: str) -> None:
    letter = crlf(f"Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n{body}")

    made = other(letter)

    kept = re.compile(rb"[A-Za-z0-9+/]")
    assert kept.sub(b"x", made.partition(b"\r\n\r\n")[2]) == kept.sub(b"x", letter.partition(b"\r\n\r\n")[2])
    assert [(s.line_length, s.encoding) for s in parsed(made).segments] == [
        (s.line_length, s.encoding) for s in parsed(letter).segments
    ]


def test_bytes_stay_of_their_kind() -> None:
    every = bytes(byte for byte in range(256) if byte not in b"\r\n")
    letter = b"Subject: " + every + b"\r\n\r\n" + every

    made = other(letter)

    for old, new in zip(letter, made, strict=True):
        assert (old < 128) == (new < 128)
        assert chr(old).isalnum() == chr(new).isalnum() or old >= 128
        assert old == new or old >= 128 or chr(old).isalnum()


@pytest.mark.parametrize(
    "date", ["Wed, 1 May 2019 10:20:30 +0300 (MSK)", "31 Dec 2020 23:59 GMT", "Mon, 07 Jan 2002 05:00:00 -0800"]
)
def test_a_date_becomes_another_one_in_its_zone(date: str) -> None:
    old, new = (parsed(data) for data in (crlf(f"Date: {date}\n\n"), other(crlf(f"Date: {date}\n\n"))))

    assert old.sent_at
    assert new.sent_at
    assert old.sent_at.date() != new.sent_at.date()
    assert old.utc_offset_minutes == new.utc_offset_minutes
    said = new.headers[0].value
    assert said[:3] not in WEEKDAYS or said.startswith(f"{new.sent_at:%a}") or abs(new.utc_offset_minutes or 0) > 0


@pytest.mark.parametrize("date", ["31 Feb 2020 10:00:00 +0000", "yesterday", "2004-03-01 10:00", "32 May 19 25:00"])
def test_a_date_that_cannot_be_read_stays_so(date: str) -> None:
    letter = crlf(f"Date: {date}\n\n")

    assert differences(parsed(letter), parsed(other(letter))) == ()


def test_a_file_keeps_its_usual_extension_and_no_other() -> None:
    names = ["kowalczyk.PDF", "zofia.kowalczyk", "=?utf-8?Q?kowalczyk=2Exlsx?="]
    letter = crlf(multipart("mixed", *(attached(b"x", f'application/pdf; name="{name}"') for name in names)))

    made = parsed(other(letter))

    assert [each.extension for each in made.attachments][::2] == ["pdf", "xlsx"]
    assert not [each for each in made.attachments if "kowalczyk" in (each.filename or "").lower()]


def test_markup_keeps_its_tags_and_the_charset_it_names() -> None:
    letter = crlf(part('<table><td>secret&nbsp;word</td></table><meta charset="koi8-r">', "text/html"))

    made = parsed(other(letter)).html or ""

    assert re.fullmatch(r'<table><td>\w{6}&nbsp;\w{4}</td></table><meta charset="koi8-r">', made)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=80), min_size=1, max_size=4),
    kind=st.sampled_from(["mixed", "alternative", "related", "digest"]),
    encodings=st.lists(st.sampled_from(["8bit", "base64", "quoted-printable", "x-odd"]), min_size=4, max_size=4),
    charset=st.sampled_from(["utf-8", "us-ascii", "windows-1251", "shift_jis", "x-odd"]),
    boundary=st.text("ab-=_ 1", min_size=1, max_size=8).filter(lambda text: text.strip() == text),
)
def test_any_letter_stays_as_it_was(
    texts: list[str], kind: str, encodings: list[str], charset: str, boundary: str
) -> None:
    parts = [
        part(text, f"text/plain; charset={charset}", f"Content-Transfer-Encoding: {encoding}")
        for text, encoding in zip(texts, encodings, strict=False)
    ]
    letter = f"Subject: {texts[0]}\n".encode() + crlf(multipart(kind, *parts, boundary=boundary))

    made = other(letter)

    assert differences(parsed(letter), parsed(made)) == ()


# --- made to hurt


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n" + b"a@" * 100_000,
        b"Subject: " + b"=?utf-8?q?abc?= " * 10_000,
        b"References: " + b"< a" * 100_000,
        b"Content-Type: text/plain" + b"; a=b" * 50_000,
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 20_000,
        b"Content-Type: message/rfc822\r\n\r\n" * 10_000,
        b"\r\n" + b"--abcdefghijklm nopqrstuvwxyz\r\n" * 10_000,
        b"Date: " + (b"1 " + b" " * 1000) * 200,
        b"Content-Type: text/html\r\n\r\n" + b"<a cid:" * 30_000,
    ],
)
def test_mail_made_to_hurt_takes_no_more_than_a_moment(data: bytes) -> None:
    began = monotonic()

    other(data)

    assert monotonic() - began < 20
