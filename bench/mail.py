"""Mail to measure with: the same bytes every time, in the proportions of real mailboxes.

`small` is what people write: text and HTML, about 4.5 KB a message, no attachments. `mixed` is a mailbox: as that, with
attachments of 20 KB to 1 MB in one message of eight, forwarded messages, and one message in a hundred of 5 to 15 MB.
`small_mailbox` and `mixed_mailbox` have more HTML and fewer large attachments: 22 KB and 180 KB a message.
"""

from __future__ import annotations

import base64
import binascii
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from email.header import Header
from email.utils import format_datetime
from pathlib import Path

from ingestd.demo.mailbox import Sample

START = datetime(2026, 1, 5, tzinfo=UTC)
EVERY = timedelta(minutes=7)
WORDS = {
    "us-ascii": "the invoice project meeting budget deploy release schedule review please find regards server latency",
    "utf-8": "the invoice meeting Zoë façade budget naïve schedule jalapeño update quarter team — “quoted” thanks",
    "windows-1252": "Grüße Rechnung für Straße déjà réunion projet équipe délai “Angebot” voilà Größe Übersicht",
    "koi8-r": "Здравствуйте договор счёт проект встреча завтра отчёт вложение сервер клиент заказ спасибо",
    "iso-2022-jp": "お世話に なって おります 請求書 会議 資料 添付 ください 確認 予定 明日 午後 東京 大阪",
}
NAMES = {
    "us-ascii": "Ann Lee",
    "utf-8": "Zoë Müller",
    "windows-1252": "Jürgen Groß",
    "koi8-r": "Иван Петров",
    "iso-2022-jp": "山田 太郎",
}
FILES = ("report.pdf", "scan 0001.png", "figures.xlsx", "notes.docx", "data.bin")


def small(count: int) -> Iterator[bytes]:
    """Yield *count* messages of text."""
    for number in range(count):
        chance = random.Random(number)
        kind = chance.random()
        if kind < 0.7:
            yield _message(chance, number, _alternative(chance, chance.randint(200, 1200)))
        elif kind < 0.98:
            yield _message(chance, number, _text(chance, "plain", chance.randint(400, 2800)))
        else:
            yield _message(chance, number, _forward(chance, number))


def seeds(count: int) -> Iterator[bytes]:
    """Yield *count* messages as `small` has them, one of ten with a file of some KB."""
    for number, content in enumerate(small(count)):
        chance = random.Random(number)
        with_file = number % 10 == 5
        yield _message(chance, number, _with_files(chance, [chance.randint(2000, 8000)])) if with_file else content


def mixed(count: int) -> Iterator[bytes]:
    """Yield *count* messages of a mailbox; the large ones are spread evenly."""
    for number in range(count):
        chance = random.Random(-number - 1)
        kind = chance.random()
        if number % 100 == 50:
            yield _message(chance, number, _with_files(chance, [chance.randint(5 << 20, 15 << 20)]))
        elif kind < 0.6:
            yield _message(chance, number, _alternative(chance, chance.randint(2000, 16_000)))
        elif kind < 0.85:
            yield _message(chance, number, _text(chance, "plain", chance.randint(700, 5000)))
        elif kind < 0.98:
            sizes = [chance.randint(20_000, 1_000_000) for _ in range(chance.randint(1, 3))]
            yield _message(chance, number, _with_files(chance, sizes))
        else:
            yield _message(chance, number, _forward(chance, number))


def small_mailbox(count: int) -> Iterator[bytes]:
    """Yield *count* messages of text and HTML, as offices send them."""
    for number in range(count):
        chance = random.Random(number)
        yield _message(chance, number, _without_files(chance, number, chance.random()))


def mixed_mailbox(count: int) -> Iterator[bytes]:
    """Yield *count* messages, one of eight with attachments; the large ones are spread evenly."""
    for number in range(count):
        chance = random.Random(-number - 1)
        kind = chance.random()
        if number % 100 == 50:
            yield _message(chance, number, _with_files(chance, [chance.randint(3_700_000, 11_000_000)]))
        elif kind < 0.12:
            sizes = [int(20_000 * 50 ** (chance.random() ** 1.5)) for _ in range(chance.randint(1, 3))]
            yield _message(chance, number, _with_files(chance, sizes))
        else:
            yield _message(chance, number, _without_files(chance, number, chance.random()))


def dated(messages: Iterable[bytes]) -> Iterator[Sample]:
    """Give *messages* the dates that stand in their headers."""
    for number, content in enumerate(messages):
        yield Sample(content, START + EVERY * number, ())


def _without_files(chance: random.Random, number: int, kind: float) -> bytes:
    if kind < 0.7:
        return _alternative(chance, int(chance.triangular(1600, 13_000, 4800)))
    if kind < 0.98:
        return _text(chance, "plain", chance.randint(1000, 6000))
    return _forward(chance, number)


def write_large(path: Path, size_bytes: int) -> None:
    """Write a message with one attachment to *path*; it is never held in memory."""
    chance = random.Random(0)
    line = base64.b64encode(chance.randbytes(57)) + b"\r\n"
    with path.open("wb") as out:
        out.write(_message(chance, 0, _with_files(chance, [0])).removesuffix(b"--=_0--\r\n").rstrip() + b"\r\n\r\n")
        for _ in range(size_bytes // len(line)):
            out.write(line)
        out.write(b"--=_0--\r\n")


def _message(chance: random.Random, number: int, body: bytes) -> bytes:
    charset = chance.choice(list(WORDS))
    sent = format_datetime(START + EVERY * number)
    name = Header(NAMES[charset], "utf-8").encode()
    subject = Header(_words(chance, charset, 40), None if charset == "us-ascii" else "utf-8").encode(linesep="\r\n")
    lines = [
        f"Received: from mx{hop}.example.org (mx{hop}.example.org [192.0.2.{hop}])\r\n\tby mail.example.net (Postfix)"
        f" with ESMTPS id 4B{number:08X}\r\n\tfor <desk@example.net>; {sent}"
        for hop in range(1, 5)
    ]
    lines += [
        "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org;\r\n\ts=s1; h=from:to:subject;\r\n\tb="
        + base64.b64encode(chance.randbytes(128)).decode(),
        f"Message-ID: <{number}.{chance.randrange(10**9)}@example.org>",
        f"Date: {sent}",
        f"From: {name} <person{number % 50}@example.org>",
        "To: The Desk <desk@example.net>, Ann Lee <ann@example.com>",
        f"Cc: team{number % 7}@example.org",
        f"Subject: {subject}",
        "MIME-Version: 1.0",
    ]
    return "\r\n".join(lines).encode() + b"\r\n" + body


def _text(chance: random.Random, subtype: str, characters: int) -> bytes:
    charset = chance.choice(list(WORDS))
    text = _words(chance, charset, characters)
    if subtype == "html":
        paragraphs = "</p>\n<p class='text' style='margin: 0'>".join(_lines(text))
        text = f"<html><head><style>p {{ color: #333 }}</style></head><body><p>{paragraphs}</p></body></html>\n"
    data = "\n".join(_lines(text)).encode(charset) if subtype == "plain" else text.encode(charset)
    if charset in ("us-ascii", "iso-2022-jp"):
        encoding, body = "7bit", data
    else:
        encoding, body = "quoted-printable", binascii.b2a_qp(data)
    head = f"Content-Type: text/{subtype}; charset={charset}\nContent-Transfer-Encoding: {encoding}\n\n"
    return (head.encode() + body + b"\n").replace(b"\n", b"\r\n")


def _alternative(chance: random.Random, characters: int) -> bytes:
    return _multipart(chance, "alternative", [_text(chance, kind, characters) for kind in ("plain", "html")])


def _with_files(chance: random.Random, sizes: Iterable[int]) -> bytes:
    parts = [_text(chance, "plain", chance.randint(300, 3000))]
    for size_bytes in sizes:
        name = chance.choice(FILES)
        head = f'Content-Type: application/octet-stream; name="{name}"\nContent-Transfer-Encoding: base64\n'
        head += f'Content-Disposition: attachment; filename="{name}"\n\n'
        parts.append((head.encode() + base64.encodebytes(chance.randbytes(size_bytes))).replace(b"\n", b"\r\n"))
    return _multipart(chance, "mixed", parts, boundary="=_0")


def _forward(chance: random.Random, number: int) -> bytes:
    inner = _message(chance, number + 1, _alternative(chance, 1000))
    forwarded = b"Content-Type: message/rfc822\r\n\r\n" + inner
    return _multipart(chance, "mixed", [_text(chance, "plain", 300), forwarded])


def _multipart(chance: random.Random, subtype: str, parts: Iterable[bytes], boundary: str = "") -> bytes:
    mark = (boundary or f"=_{chance.randrange(1, 10**12):x}").encode()
    head = b'Content-Type: multipart/%s; boundary="%s"\r\n\r\n' % (subtype.encode(), mark)
    return head + b"".join(b"--%s\r\n%s" % (mark, part) for part in parts) + b"--%s--\r\n" % mark


def _words(chance: random.Random, charset: str, characters: int) -> str:
    words = WORDS[charset].split()
    return " ".join(chance.choices(words, k=max(characters // 7, 1)))


def _lines(text: str) -> list[str]:
    words = text.split(" ")
    return [" ".join(words[at : at + 11]) for at in range(0, len(words), 11)]
