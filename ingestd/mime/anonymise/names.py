"""Addresses, hosts, identifiers and dates, each replaced by one of its kind that belongs to nobody."""

from __future__ import annotations

import datetime
import re

from ..attachments import EXTENSIONS
from .mask import UTF_8, Mask

LOCAL = r"[A-Za-z0-9.!#$%&*+?^_`{|}~-]"
HOST = r"[A-Za-z0-9][A-Za-z0-9-]*+(?:\.[A-Za-z0-9-]++)*+"
ADDRESS = rf"(?<!{LOCAL})(?:{LOCAL}{{1,250}}+)?@{HOST}"
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
DATE = (
    rf"(?:(?:{'|'.join(WEEKDAYS)}),?\s+)?\d{{1,2}}\s+(?:{'|'.join(MONTHS)})\s+(?:19|20)\d\d"
    r"\s+\d\d:\d\d(?::\d\d)?(?:\s+(?:[+-]\d{4}\b|[A-Z]{1,5}\b))?"
)
_PARTS = re.compile(r"(?:([A-Z]..)(,?\s+))?(\d+)(\s+)([A-Z]..)(\s+)(\d+)(\s+)(\d\d):(\d\d)(:?)(\d*)(.*)", re.DOTALL)
_EXTENSION = re.compile(rb"\.([A-Za-z0-9]{1,8})[\s\"]*$")
_NUMBERS = re.compile(r"[0-9.]+")
_NOBODYS = ".example.org"  # RFC 2606 keeps these domains from ever being anybody's
_NOBODYS_TOO = ".test"
_NO_COUNTRY = ".zz"
_WIDE = len(_NOBODYS) + 5  # characters of a domain that leave room for a difference


def address(mask: Mask, text: str) -> str:
    """Another address, or the host after an "@"; the same for the same one in any case."""
    local, _, host = text.rpartition("@")
    return mask.text(local, UTF_8, b"address " + text.lower().encode()) + "@" + domain(mask, host)


def domain(mask: Mask, text: str) -> str:
    """Another domain as long; the same for the same one."""
    other = mask.word(text.lower())
    if "." not in text or _NUMBERS.fullmatch(text):
        return other
    tail = next(
        (tail for tail, least in ((_NOBODYS, _WIDE), (_NOBODYS_TOO, 6), (_NO_COUNTRY, 4)) if len(text) >= least), ""
    )
    head = other[: len(other) - len(tail)]
    if tail and not head[-1].isalnum():
        head = f"{head[:-1]}x"
    return head + tail


def identifier(mask: Mask, text: str) -> str:
    """Another Message-ID or Content-ID, without its angle brackets."""
    return address(mask, text) if "@" in text else mask.word(text)


def date(mask: Mask, text: str) -> str:
    """Another date on its right weekday, in the same hour and zone; what is no date stays as it is."""
    match = _PARTS.fullmatch(text)
    if not match:
        return text
    weekday, comma, day, gap, month, between, year, before, hour, minute, colon, second, zone = match.groups()
    try:
        datetime.date(int(year), MONTHS.index(month) + 1, int(day))
    except ValueError:
        return text
    if int(minute) > 59 or int(second or 0) > 59:
        return text
    noise = mask.noise(b"date " + f"{day} {month} {year}".encode(), 3)
    first = 1 if len(day) == 1 else 10
    other = datetime.date(1990 + noise[0] % 40, 1 + noise[1] % 12, first + noise[2] % (9 if first == 1 else 19))
    time = mask.noise(b"time " + text.encode(), 2)
    said = f"{WEEKDAYS[other.weekday()]}{comma}" if weekday else ""
    clock = f"{hour}:{time[0] % 60:02}{colon}{f'{time[1] % 60:02}' if second else ''}"
    return f"{said}{other.day}{gap}{MONTHS[other.month - 1]}{between}{other.year}{before}{clock}{zone}"


def named_alike(old: bytes, new: bytes) -> bytes:
    """*new*, but with the file name extension that *old* ends with, if it is a usual one."""
    match = _EXTENSION.search(old)
    if match and match[1].decode("ascii").lower() in EXTENSIONS:
        return new[: match.start()] + old[match.start() :]
    return new
