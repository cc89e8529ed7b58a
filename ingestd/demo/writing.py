"""How the sample mail is written: parts, headers and encodings, as the programs of its writers would."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from urllib.parse import quote

from .cast import LANGUAGES, Language, Person


def leaf(subtype: str, text: str, language: Language) -> bytes:
    """A text part as programs of *language* write it; in UTF-8 when it quotes another language."""
    charset, encoding = language.charset, language.encoding
    try:
        data = text.encode(charset)
    except UnicodeEncodeError:
        charset, encoding, data = "utf-8", "quoted-printable", text.encode()
    # 8bit, 7bit and quoted-printable keep the line ends of the text, which have to be those of mail
    return part(f"text/{subtype}; charset={charset}", data.replace(b"\n", b"\r\n"), encoding=encoding)


def part(content_type: str, content: bytes, *headers: str, encoding: str = "7bit") -> bytes:
    head = "\r\n".join((f"Content-Type: {content_type}", f"Content-Transfer-Encoding: {encoding}", *headers, "", ""))
    return head.encode("ascii") + ENCODERS[encoding](content)


def mailbox(person: Person) -> str:
    return f"{words(person.name, LANGUAGES[person.language].charset)} <{person.address}>"


def words(text: str, charset: str) -> str:
    """*text* for a header: as encoded words (RFC 2047) of nine characters each, unless it is ASCII."""
    if text.isascii():
        return text
    try:
        text.encode(charset)
    except UnicodeEncodeError:
        charset = "utf-8"
    pieces = (text[at : at + 9].encode(charset) for at in range(0, len(text), 9))
    return "\r\n ".join(f"=?{charset}?b?{base64.b64encode(piece).decode()}?=" for piece in pieces)


def rfc2047(parameter: str, value: str) -> str:
    """A parameter as many programs write it, although RFC 2047, section 5, forbids encoded words there."""
    return f'{parameter}="{words(value, "utf-8")}"'


def rfc2231(parameter: str, value: str) -> str:
    if value.isascii() and len(value) < 60:
        return f'{parameter}="{value}"'
    pieces = [quote(value[at : at + 8], safe="") for at in range(0, len(value), 8)]
    if len(pieces) == 1:
        return f"{parameter}*=utf-8''{pieces[0]}"
    pieces[0] = f"utf-8''{pieces[0]}"
    return ";\r\n ".join(f"{parameter}*{n}*={piece}" for n, piece in enumerate(pieces))


def list_address(name: str) -> Person:
    return Person(name, f"{name}@lists.example.net", "en")


def list_headers(name: str) -> tuple[str, ...]:
    return (
        f"List-Id: {name.title()} <{name}.lists.example.net>",
        f"List-Post: <mailto:{name}@lists.example.net>",
        f"List-Unsubscribe: <mailto:{name}-leave@lists.example.net>",
        "Precedence: list",
    )


def _base64(content: bytes) -> bytes:
    return base64.encodebytes(content).replace(b"\n", b"\r\n")


def _quoted_printable(content: bytes) -> bytes:
    return binascii.b2a_qp(content, istext=True)


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "7bit": bytes,
    "8bit": bytes,
    "base64": _base64,
    "quoted-printable": _quoted_printable,
}
