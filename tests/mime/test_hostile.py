"""Mail made to hurt: it is parsed within bounds of time and memory, and kept."""

from __future__ import annotations

import base64
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time

import pytest

from ingestd.mime.parse import parse
from ingestd.raw import InMemory
from tests.mime.letters import read
from tests.mime.rebuild import rebuilt
from tests.mime.winmail import BINARY, RICH_BODY, stored, with_bodies

MIXED = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n"
SECONDS = 10.0  # a worker is given 30; all of these take under 2 on an idle core
MEGABYTE = 1_000_000


def file(encoding: bytes, body: bytes, kind: bytes = b"a/b") -> bytes:
    return MIXED + b"Content-Type: " + kind + b"\nContent-Transfer-Encoding: " + encoding + b"\n\n" + body


def levels(count: int) -> Iterator[bytes]:
    return (b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(count))


def winmail(attributes: bytes) -> bytes:
    return file(b"binary", b"\x78\x9f\x3e\x22\x00\x00" + attributes, b"application/ms-tnef")


def written_in_outlook(body: bytes) -> bytes:
    return winmail(with_bodies((RICH_BODY, BINARY, body))[6:])


WINMAIL_FILE = b"\x02\x02\x90\x06\x00\x01\x00\x00\x00x\x00\x00\x02\x0f\x80\x06\x00\x01\x00\x00\x00x\x00\x00"

RICH = struct.pack("<LL4sL", 2 * MEGABYTE, 0, b"LZFu", 0) + (b"\xff" + b"\x0c\xef" * 8) * 110_000

# Built one at a time: together they are some hundred megabytes.
HOSTILE: dict[str, Callable[[], bytes]] = {
    "ten thousand levels": lambda: b"".join(levels(10_000)),
    "levels of one boundary": lambda: MIXED + b"Content-Type: multipart/mixed; boundary=b\n\n--b\n" * 10_000,
    "a hundred thousand parts": lambda: MIXED + b"Content-Type: a/b\n\nx\n--b\n" * 100_000,
    "a header of 10 MB on one line": lambda: b"X: " + b"a" * 10 * MEGABYTE + b"\n\nhi",
    "a header of 10 MB in many lines": lambda: b"X: abcdefg\n" * MEGABYTE + b"\nhi",
    "a header of 10 MB in many folds": lambda: b"X: a\n" + b" abcdefg\n" * MEGABYTE + b"\nhi",
    "a header of 10 MB that is none": lambda: b"no header: x\n" * (MEGABYTE - 1) + b"\nhi",
    "a part with a header of 10 MB": lambda: MIXED + b"X: abcdefg\n" * MEGABYTE + b"\nhi",
    "parts with long headers and no bodies": lambda: MIXED + (b"X: abcdefg\n" * 25_000 + b"--b\n") * 80,
    "blank lines that are not empty": lambda: b" \n" * 3 * MEGABYTE,
    "separators of mbox files": lambda: b"From x\n" * MEGABYTE,
    "lines that begin like a boundary": lambda: MIXED + b"\n" + b"\n--" * 3 * MEGABYTE,
    "lines that begin with the boundary": lambda: MIXED + b"\n" + b"\n--bx" * 2 * MEGABYTE,
    "boundaries that begin alike": lambda: (
        b"".join(b"Content-Type: multipart/mixed; boundary=%s\n\n--%s\n" % (b"a" * n, b"a" * n) for n in range(1, 50))
        + b"\n--aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaax" * 250_000
    ),
    "a boundary that is nowhere": lambda: b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--\n" * 3 * MEGABYTE,
    "base64 without end": lambda: file(b"base64", b"QUJD" * 2_500_000),
    "base64 that ends all the time": lambda: file(b"base64", b"QQ=" * 3 * MEGABYTE),
    "text in base64 without end": lambda: b"Content-Transfer-Encoding: base64\n\n" + b"QUJD" * 2_500_000,
    "nothing but equals signs": lambda: file(b"quoted-printable", b"=" * 10 * MEGABYTE),
    "a soft break that never breaks": lambda: file(b"quoted-printable", b"=" + b" " * 10 * MEGABYTE),
    "uuencode on one line": lambda: file(b"x-uuencode", b"begin 644 x\n" + b"M" * 10 * MEGABYTE),
    "uuencode of nothing": lambda: file(b"x-uuencode", b"begin 644 x\n" + b"!\n" * 3 * MEGABYTE),
    "files that begin in text and never end": lambda: b"Subject: x\n\n" + b"begin 644 x\n" * 800_000,
    "files without end that begin well": lambda: (
        b"Subject: x\n\n" + (b"begin 644 x\n" + b"#0V%T\n" * 9 + b"x\n") * 70_000
    ),
    "files without end": lambda: (
        b"Subject: x\n\n" + (b"begin 644 x\n" + (b"M" + b"!" * 60 + b"\n") * 3 + b"x\n") * 45_000
    ),
    "one file without end": lambda: b"Subject: x\n\nbegin 644 x\n" + (b"M" + b"!" * 60 + b"\n") * 150_000,
    "BinHex that never begins": lambda: (
        b"Subject: x\n\n" + b"(This file must be converted with BinHex 4.0)\n" + b"\n" * 9 * MEGABYTE
    ),
    "BinHex that never ends": lambda: (
        b"Subject: x\n\n" + (b"(This file must be converted with BinHex 4.0)\n:" + (b"!" * 64 + b"\n") * 2) * 55_000
    ),
    "files in text": lambda: b"Subject: x\n\n" + b"begin 644 x\n#0V%T\nend\n" * 300_000,
    "yEnc that never ends": lambda: b"Subject: x\n\n" + b"=ybegin line=1 name=x\n" * 400_000,
    "attributes of a winmail.dat": lambda: winmail((b"\x01\x00\x80\x01\x00" + bytes(6)) * 800_000),
    "files in a winmail.dat": lambda: winmail(WINMAIL_FILE * 200_000),
    "properties in a winmail.dat": lambda: winmail(
        b"\x01\x03\x90\x06\x00\xff\xff\xff\x7f" + b"\xff" * 4 + b"\x1e\x10\x00\x10\xff\xff\x00\x00" * MEGABYTE
    ),
    "compressed rich text": lambda: written_in_outlook(
        struct.pack("<LL4sL", 10 * MEGABYTE, 0, b"LZFu", 0) + (bytes(9) + b"\xff" + b"\x00\x0f" * 8) * 380_000
    ),
    "rich bodies in one winmail.dat after another": lambda: b"".join(
        [MIXED, *[b"Content-Type: application/ms-tnef\n\n" + with_bodies((RICH_BODY, BINARY, RICH)) + b"\n--b\n"] * 9]
    ),
    "groups in rich text": lambda: written_in_outlook(stored(b"{" * 10 * MEGABYTE)),
    "unseen groups in rich text": lambda: written_in_outlook(stored(b"{\\*" * 3 * MEGABYTE)),
    "fonts in rich text": lambda: written_in_outlook(stored(b"{\\fonttbl" + b"\\f1\\fcharset204 " * 500_000)),
    "text between fonts in rich text": lambda: written_in_outlook(stored(b"\xe9\\f1" * 2 * MEGABYTE)),
    "binary data in rich text": lambda: written_in_outlook(stored(b"\\bin1 " * 1_500_000)),
    "quotes in flowed text": lambda: (
        b"Content-Type: text/plain; format=flowed\n\n" + b"> " * 2 * MEGABYTE + b"> \n" * MEGABYTE
    ),
    "charsets in HTML": lambda: b"Content-Type: text/html\n\n" + b"<meta charset=" * 700_000 + b"\xff",
    "parts in no charset": lambda: MIXED + (b"\n" + b"\xcf\xf0\xe8\xe2\xe5\xf2 " * 700 + b"\n--b\n") * 1900,
    "NULs": lambda: b"\0" * 10 * MEGABYTE,
    "a line of 10 MB": lambda: b"Subject: x\n\n" + b"x" * 10 * MEGABYTE,
    "empty lines": lambda: b"Subject: x\n\n" + b"\n" * 10 * MEGABYTE,
    "lone carriage returns": lambda: b"Subject: x\r\r" + b"x\r" * 5 * MEGABYTE,
    "10 MB of encoded words": lambda: b"Subject: " + b"=?utf-8?q?a?= " * 800_000 + b"\n\nhi",
    "10 MB of folded encoded words": lambda: b"Subject: a\n" + b" =?utf-8?q?a?=\n" * 700_000 + b"\nhi",
    "encoded words without end": lambda: b"".join(b"X-%d: " % n + b"=?a?q?" * 10_000 + b"\n" for n in range(4)) + b"\n",
    "endless message/rfc822": lambda: b"".join(
        b"Subject: %d\nContent-Type: message/rfc822\n\n" % n for n in range(100_000)
    ),
    "messages and multiparts in turn": lambda: b"".join(
        b"Content-Type: message/rfc822\n\nSubject: x\n" + level for level in levels(50_000)
    ),
    "angle brackets": lambda: b"Content-Type: text/html\n\n" + b"<" * 4 * MEGABYTE,
    "comments that do not end": lambda: b"Content-Type: text/html\n\n" + b"<!-- " * 800_000,
    "tags that do not end": lambda: b"Content-Type: text/html\n\n" + b'<a "' * MEGABYTE,
    "scripts that do not end": lambda: b"Content-Type: text/html\n\n" + b"<script>" * 500_000,
    "styles and scripts": lambda: b"Content-Type: text/html\n\n" + b"<style></script>" * 250_000,
    "content ids": lambda: b"Content-Type: text/html\n\n" + b"cid:" * MEGABYTE,
    "addresses": lambda: b"To: " + b"a@b.c," * 40_000 + b"\n\n",
    "nesting in addresses": lambda: (
        b"To: " + b"(" * 60_000 + b"\nCc: " + b"<" * 60_000 + b"\nFrom: " + b'"' * 60_000 + b"\n\n"
    ),
    "nesting in hops": lambda: (
        b"Received: " + b"(" * 60_000 + b"\nReceived: " + b"[(" * 30_000 + b"\nReceived: " + b"from " * 9000
    ),
    "parameters": lambda: b"Content-Type: a/b" + b"; a=b" * 12_000 + b"\n\n",
    "parameters without values": lambda: b"Content-Type: a/b" + b"; " * 30_000 + b"a " * 30_000 + b"\n\n",
    "blanks in parameters": lambda: b"Content-Type: a/b; x=" + b" " * 60_000 + b")\n\n",
    "replies to replies": lambda: b"Subject: " + b"Re: " * 15_000 + b"[" * 5000 + b"\n\n",
    "a date of comments": lambda: b"Date: " + b"(" * 60_000 + b"\n\n",
    "references that do not end": lambda: (
        b"References: " + b"<a" * 30_000 + b"\nIn-Reply-To: <" + b" " * 60_000 + b"\n\n"
    ),
    "lists": lambda: b"List-Id: " + b"<>" * 30_000 + b" " * 5000 + b"x\n\n",
    "results": lambda: (
        b"Authentication-Results: " + b"(" * 60_000 + b"\nAuthentication-Results: " + b"; " * 30_000 + b"\n\n"
    ),
    "a report of nothing": lambda: (
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n"
        b"Content-Type: message/delivery-status\n\n" + b"\n \n" * 50_000
    ),
    "a calendar of folds": lambda: b"Content-Type: text/calendar\n\n" + b"\n " * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_mail_is_parsed_in_time_and_kept(name: str) -> None:
    raw = InMemory(HOSTILE[name]())

    started = process_time()  # of ours: others may be busy
    message = parse(raw)
    seconds = process_time() - started

    assert message.parse.status in ("ok", "partial")
    assert seconds < SECONDS
    assert rebuilt(raw, message) == raw.data
    assert len(message.parts) <= 2000


def test_a_charset_cannot_choose_what_it_is_decoded_with() -> None:
    for charset in (
        "zlib",
        "zip",
        "bz2",
        "hex",
        "rot13",
        "idna",
        "punycode",
        "unicode_escape",
        "undefined",
        "os",
        "../x",
    ):
        assert read(f"Content-Type: text/plain; charset={charset}\n\nhello".encode()).text == "hello"


MEASURE = """
import sys
from pathlib import Path
from ingestd.mime.parse import parse
from ingestd.raw import InMemory, OnDisk

def peak():  # not ru_maxrss, which a process inherits from the one that starts it
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))

parse(InMemory(b"From: a@b.c\\r\\nSubject: warm\\r\\n\\r\\nup"))
path = Path(sys.argv[1])
before = peak()
with OnDisk(path, path.stat().st_size).open() as raw:
    message = parse(raw)
assert message.parse.status == "ok", message.parse
print(peak() - before)
"""


def memory_kib(path: Path) -> int:
    """How much more memory was in use while the message at *path* was parsed than before, in a process of its own."""
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not say how much memory a process has used")
    measure = [sys.executable, "-c", MEASURE, path]
    return int(subprocess.run(measure, capture_output=True, text=True, timeout=60, check=True).stdout)


@pytest.mark.parametrize("kind", ["attachment", "text"])
def test_a_message_of_60_mb_takes_little_memory(kind: str, tmp_path: Path) -> None:
    line = b"VGhpcyBpcyBhIGxpbmUgb2YgdGhlIGZpbGUsIGFuZCBpdCBpcyA1NyBieXRlcyBsb25nLiBZZXMu\r\n"
    path = tmp_path / "large.eml"
    with path.open("wb") as out:
        out.write(b"Subject: x\r\n\r\n" if kind == "text" else file(b"base64", b"").replace(b"\n", b"\r\n"))
        for _ in range(75):
            out.write(line * 10_000)
        if kind == "attachment":
            out.write(b"--b--\r\n")

    assert memory_kib(path) < 16 * 1024  # KiB; the pieces in hand, not the message


LESS = """
import resource
from pathlib import Path
from ingestd.mime import headers
from ingestd.mime.parse import parse
from ingestd.raw import InMemory

def within(more, read):
    lines = Path("/proc/self/status").read_text().splitlines()
    used = next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (used + more, resource.RLIM_INFINITY))
    try:
        return read()
    except MemoryError:
        return None
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

people = b", ".join(b"Someone <someone%d@example.org>" % n for n in range(6000))
raw = InMemory(b"To: " + people + b"\\r\\nSubject: x\\r\\n\\r\\n" + b"words " * 500_000)
for read in (lambda: headers.addresses(people)), (lambda: parse(raw)):
    found = [within(more, read) for more in range(0, 12 << 20, 1 << 20)]
    whole = read()  # last: what it leaves behind would do for the others
    assert set(map(type, found)) == {type(None), type(whole)}, "it has to fail and to succeed"
    assert all(each in (None, whole) for each in found)
"""


def test_with_too_little_memory_a_message_is_read_as_ever_or_not_at_all() -> None:
    done = subprocess.run([sys.executable, "-c", LESS], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr


def test_large_encoded_messages_are_held_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "large.eml"
    within = base64.encodebytes(b"Subject: x\n\n" + b"hello\n" * 600_000)
    with path.open("wb") as out:
        out.write(MIXED)
        for _ in range(12):
            out.write(b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + within + b"\n--b\n")
        out.write(b"\n--b--\n")

    assert memory_kib(path) < 24 * 1024  # KiB; one of them, and the pieces that it was made of
