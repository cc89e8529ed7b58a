"""Text in the charset it is in, whatever it claims, and in lines as its writer meant them."""

from __future__ import annotations

import base64

import pytest

from ingestd.mime.charsets import decode
from ingestd.mime.detect import SAMPLE_BYTES, detected
from ingestd.mime.text import unflowed
from tests.mime.letters import multipart, read

RUSSIAN = "Здравствуйте, уважаемые коллеги! Высылаю вам отчёт за прошлый месяц. С уважением, Иван Петров."
JAPANESE = "お世話になっております。先日の会議の議事録をお送りいたします。ご確認のほど、よろしくお願いいたします。"
CHINESE = "您好，附件是上个月的销售报告，请查收。如有任何问题，请随时与我联系。谢谢！"
TAIWANESE = "您好，附件是上個月的銷售報告，請查收。如有任何問題，請隨時與我聯繫。謝謝！"
KOREAN = "안녕하세요. 지난 회의 자료를 첨부하여 보내드립니다. 확인 부탁드립니다. 감사합니다."
GERMAN = "Sehr geehrte Damen und Herren, anbei übersende ich Ihnen die Prüfung für März. Jürgen Müller"
FRENCH = "Bonjour à tous, voici le compte rendu de la réunion d'hier; merci de vérifier. À bientôt, Hélène"
GREEK = "Καλημέρα σας, σας αποστέλλω συνημμένη την αναφορά του προηγούμενου μήνα. Με εκτίμηση, Γιώργος"
HEBREW = "שלום רב, מצורף הדוח של החודש שעבר. אנא בדקו ואשרו. בברכה, דוד"
ARABIC = "مرحبا، تجدون مرفقا تقرير الشهر الماضي. يرجى المراجعة. مع التحية، أحمد"

DECLARED = [
    ("iso-2022-jp", "iso2022_jp", JAPANESE),
    ("ISO-2022-KR", "iso2022_kr", KOREAN),
    ("utf-7", "utf-7", RUSSIAN),
    ("gb18030", "gb18030", CHINESE + "𠀀"),
    ("gb2312", "gbk", CHINESE),
    ("big5", "big5", TAIWANESE),
    ("euc-kr", "euc_kr", KOREAN),
    ("ks_c_5601-1987", "cp949", KOREAN),
    ("koi8-r", "koi8_r", RUSSIAN),
    ("shift_jis", "cp932", "①" + JAPANESE),
    ("euc-jp", "euc_jp", JAPANESE),
    ("windows-1251", "cp1251", RUSSIAN),
    ("iso-8859-1", "cp1252", "“quoted” – €5"),
    ("us-ascii", "utf-8", RUSSIAN),
]
UNDECLARED = [
    ("koi8_r", RUSSIAN),
    ("cp1251", RUSSIAN),
    ("cp866", RUSSIAN),
    ("iso8859_5", RUSSIAN),
    ("shift_jis", JAPANESE),
    ("euc_jp", JAPANESE),
    ("iso2022_jp", JAPANESE),
    ("gb18030", CHINESE),
    ("big5", TAIWANESE),
    ("euc_kr", KOREAN),
    ("cp1253", GREEK),
    ("cp1255", HEBREW),
    ("cp1256", ARABIC),
    ("cp1252", GERMAN),
    ("cp1252", FRENCH),
    ("utf-8", RUSSIAN),
]


def letter(content: bytes, kind: str) -> bytes:
    return f"Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n".encode() + base64.encodebytes(content)


@pytest.mark.parametrize(("label", "codec", "text"), DECLARED, ids=[label for label, _, _ in DECLARED])
def test_text_is_read_in_the_charset_it_declares(label: str, codec: str, text: str) -> None:
    message = read(letter(text.encode(codec), f"text/plain; charset={label}"))

    assert (message.text, message.parse.defects) == (text, ())


@pytest.mark.parametrize("kind", ["text/plain", "text/plain; charset=us-ascii", "text/plain; charset=x-foo"])
@pytest.mark.parametrize(("codec", "text"), UNDECLARED, ids=[codec for codec, _ in UNDECLARED])
def test_text_that_names_no_charset_is_read_in_the_one_it_is_in(codec: str, text: str, kind: str) -> None:
    assert read(letter(text.encode(codec), kind)).text == text


@pytest.mark.parametrize(("codec", "text"), [("koi8_r", RUSSIAN), ("shift_jis", JAPANESE), ("gb18030", CHINESE)])
@pytest.mark.parametrize("claim", ["utf-8", "iso-2022-jp"])
def test_text_that_cannot_be_in_the_charset_it_names_is_read_in_the_one_it_is_in(
    codec: str, text: str, claim: str
) -> None:
    message = read(letter(text.encode(codec), f"text/plain; charset={claim}"))

    assert (message.text, message.parse.defects) == (text, (f"charset: {claim}",))


def test_a_guess_is_a_defect() -> None:
    message = read(letter(RUSSIAN.encode("koi8_r"), "text/plain"))

    assert message.parse.defects == ("charset: undeclared",)


def test_a_damaged_character_does_not_change_the_charset() -> None:
    content = RUSSIAN.encode() + b"\xd0 " + RUSSIAN.encode()

    assert read(letter(content, "text/plain; charset=utf-8")).text == f"{RUSSIAN}\ufffd {RUSSIAN}"


@pytest.mark.parametrize(
    "meta",
    [
        '<meta charset="iso-8859-2">',
        "<META http-equiv=Content-Type content='text/html; charset=ISO-8859-2'>",
        "<meta content='text/html;charset=iso-8859-2' http-equiv='content-type'/>",
    ],
)
def test_html_may_name_its_charset_itself(meta: str) -> None:
    polish = "Dzień dobry, proszę o łąkę"
    content = f"<html><head>{meta}</head><p>{polish}</p>".encode("iso8859_2")

    message = read(letter(content, "text/html"))

    assert (message.text, message.parse.defects) == (polish, ())
    assert read(letter(content, "text/html; charset=utf-8")).text == polish
    assert read(letter(content, "text/html; charset=iso-8859-1")).text != polish


@pytest.mark.parametrize("label", ["utf-7", "utf-16", "zlib", "x-foo"])
def test_html_may_not_name_what_hides_markup_or_is_no_charset(label: str) -> None:
    content = f"<meta charset={label}>Größe +ADw-script+AD4-".encode("cp1252")

    assert read(letter(content, "text/html")).text == "Größe +ADw-script+AD4-"


def test_text_with_a_byte_order_mark_is_in_what_that_says() -> None:
    assert read(letter(b"\xff\xfe" + RUSSIAN.encode("utf-16-le"), "text/plain")).text == RUSSIAN


def test_markup_says_nothing_of_a_charset() -> None:
    content = "<p class='very-long-name-of-a-class' style='color: red'>{}</p>".format("</p><p>".join(RUSSIAN.split()))

    assert read(letter(content.encode("koi8_r"), "text/html")).text.split() == RUSSIAN.split()


def test_a_few_characters_say_too_little() -> None:
    assert detected("Привет".encode("koi8_r")) is None
    assert decode("Größe".encode("cp1252"), None).text == "Größe"


@pytest.mark.parametrize("shift", range(4))
def test_a_long_text_is_judged_by_its_start(shift: int) -> None:
    data = (" " * shift + "会議の 議事録を お送り いたします。 " * (SAMPLE_BYTES // 10)).encode("cp932")

    assert len(data) > 2 * SAMPLE_BYTES
    assert detected(data) == "cp932"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One paragraph \nin two lines.\nAnother.", "One paragraph in two lines.\nAnother."),
        ("> quoted \n> too\n>> deeper \n> back \nmine", "> quoted too\n>> deeper \n> back \nmine"),
        (" >not quoted\n  indented", ">not quoted\n indented"),
        ("text \n-- \nAnn", "text \n-- \nAnn"),
        ("> text \n> -- \n> Ann", "> text \n> -- \n> Ann"),
        ("", ""),
        (" \n \nx", "\n\nx"),
    ],
)
def test_flowed_text_has_its_paragraphs_in_one_line_each(text: str, expected: str) -> None:
    assert unflowed(text, delete_space=False) == expected


def test_flowed_text_may_have_blanks_that_are_not_its_own() -> None:
    kind = "text/plain; charset=utf-8; Format=Flowed; DelSp=yes"

    assert read(letter("これは一つの \n文です。\n".encode(), kind)).text == "これは一つの文です。\n"


def test_text_that_does_not_flow_keeps_its_lines() -> None:
    body = b"\r\n\r\none \r\n two\r\n"

    assert read(b"Content-Type: text/plain; format=fixed" + body).text == "one \n two\n"
    assert read(b"Content-Type: text/plain; format=flowed" + body).text == "one two\n"


def test_the_charset_of_many_parts_is_not_guessed() -> None:
    many = [f"Content-Type: text/plain\n\n{RUSSIAN}" for _ in range(60)]

    message = read(multipart("mixed", *many).replace("\n", "\r\n").encode("koi8_r"))

    assert message.text.count(RUSSIAN) == 50
