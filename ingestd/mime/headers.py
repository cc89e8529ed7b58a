"""What single header values say: addresses, dates, hops and identifiers.

`mail-parser` reads the structure of addresses, Received and dates; the standard library stands in where it gives up.
It sees one occurrence at a time, cut to a bound and free of NUL; what it raises is a defect of that occurrence alone.
It reads character by character, so values in their plainest form are read here with a pattern, to the same result.
"""

from __future__ import annotations

import email.utils
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

from mailparser.dates import parse_mail_date
from mailparser.utils import get_addresses, parse_received
from mailparser.version import __version__

from ..message import Address, Hop
from .clean import one_line
from .plain import plain_clauses, plain_date, usual_clauses
from .words import unfolded, words_decoded

MAIL_PARSER: str = __version__  # part of what a stored document says about its origin
ADDRESS_LENGTH = 998  # characters; a line of mail holds no more (RFC 5322, section 2.1.1)
ID_LENGTH = 998
CLAUSE_LENGTH = 500
DATE_BYTES = 500
RECEIVED_BYTES = 16 * 1024
_REMEMBERED = 200  # bytes of a value that is worth remembering

_LENIENT = re.compile(r"(?:mailto:)?([^\s<>()\[\],;:\"@]+(?:@[^\s<>()\[\],;:\"@]+)?)", re.IGNORECASE)
_ID = re.compile(r"<\s*([^<>\s]+)\s*>")
_NUMERIC_ZONE = re.compile(r"(?:\s|:\d\d)([+-])(\d\d)([0-5]\d)(?=\s|\(|$)")
_NAMED_ZONES = {"UT": 0, "GMT": 0, "UTC": 0, "EST": -300, "EDT": -240, "CST": -360, "CDT": -300}
_NAMED_ZONES |= {"MST": -420, "MDT": -360, "PST": -480, "PDT": -420}
_NAMED_ZONE = re.compile(r"\b(" + "|".join(_NAMED_ZONES) + r")\b\s*(?:\(.*)?$", re.IGNORECASE)
_FIRST, _LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Addresses:
    found: tuple[Address, ...]
    complete: bool  # nothing was left that could not be read as an address


@dataclass(frozen=True, slots=True)
class Moment:
    utc: datetime
    offset_minutes: int | None  # None: the sender did not say where on earth


# --- addresses


def addresses(value: bytes) -> Addresses:
    """The mailboxes of an address header, groups flattened."""
    return _addresses_remembered(value) if len(value) <= _REMEMBERED else _addresses(value)


def _addresses(value: bytes) -> Addresses:
    # Names are decoded after the structure is known, so a comma within a word separates nothing.
    text = unfolded(value).replace("\x00", "")
    diagnostics: list[dict[str, object]] = []
    try:
        pairs = get_addresses(text, defects=diagnostics)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - hostile input; the result says that it is not complete
        return _by_stdlib(text)
    found = [address(name, spec) for name, spec in pairs if spec]
    left = [str(item["raw"]) for item in diagnostics if not item["recovered"]]
    more = [_leniently(item) for item in left]
    return Addresses(tuple(filter(None, (*found, *more))), all(found) and all(more))


_addresses_remembered = lru_cache(maxsize=4096)(_addresses)


def _by_stdlib(text: str) -> Addresses:
    try:
        pairs = email.utils.getaddresses([text])
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - the same; its comment parser recurses
        pairs = []
    return Addresses(tuple(filter(None, (address(name, spec) for name, spec in pairs if spec))), complete=False)


def _leniently(item: str) -> Address | None:
    """Read what mail-parser would not: local names without a domain, dots that no RFC allows, a missing ">"."""
    before, angle, after = item.strip().partition("<")
    spec = (after.partition(">")[0] if angle else before).strip()
    match = _LENIENT.fullmatch(spec)
    if not match or after.count("<"):
        return None
    return address(before.strip(' "') if angle else "", match[1])


def address(name: str, spec: str) -> Address | None:
    """The mailbox of which *spec* is the address and *name* what stands before it; None when that cannot be one."""
    spec = one_line(spec.lower())  # in this order: what is in NFC need not be so in lower case
    if not spec or len(spec) > ADDRESS_LENGTH:
        return None
    local, at, domain = spec.rpartition("@")
    if not at:
        return Address(one_line(words_decoded(name)), spec, "")
    domain = _ascii_domain(domain)
    return Address(one_line(words_decoded(name)), f"{local}@{domain}", domain)


def _ascii_domain(domain: str) -> str:
    if domain.isascii():
        return domain
    try:
        return domain.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return domain


# --- dates


def moment(value: bytes) -> Moment | None:
    """The date-time of a Date header, or None when it is none or out of range."""
    return _moment(unfolded(value[:DATE_BYTES]).replace("\x00", ""))


def _moment(text: str) -> Moment | None:
    utc = _utc(text)
    if utc is None or not _FIRST <= utc <= _LAST:
        return None
    return Moment(utc, _offset_minutes(text))


def _utc(text: str) -> datetime | None:
    if plain := plain_date(text):
        return plain
    try:
        result = parse_mail_date(text)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - hostile input; the standard library has its turn
        return _utc_by_stdlib(text)
    # A date that can be read and cannot be is none: the standard library would make one of it.
    value: datetime | None = result.value
    return value or (_utc_by_stdlib(text) if "invalid-date-syntax" in result.reasons else None)


def _utc_by_stdlib(text: str) -> datetime | None:
    try:
        fields = email.utils.parsedate_tz(text)
        if fields is None:
            return None
        zone = timezone(timedelta(seconds=fields[9] or 0))
        return datetime(*fields[:6], tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _offset_minutes(text: str) -> int | None:
    if match := _NUMERIC_ZONE.search(text):
        minutes = int(match[2]) * 60 + int(match[3])
        # "-0000" is a time that says nothing of its place (RFC 5322, section 3.3).
        return None if match[1] == "-" and not minutes else minutes if match[1] == "+" else -minutes
    named = _NAMED_ZONE.search(text)
    return _NAMED_ZONES[named[1].upper()] if named else None


# --- hops


def hop(value: bytes) -> Hop:
    """One Received header; what cannot be read is None."""
    text = unfolded(value[:RECEIVED_BYTES]).replace("\x00", "")
    clauses = usual_clauses(text) or plain_clauses(text) or _clauses(text)
    found = _moment(clauses.get("date", "").strip()[:DATE_BYTES])
    return Hop(
        _clause(clauses, "by"),
        _clause(clauses, "from"),
        _clause(clauses, "with"),
        _clause(clauses, "id"),
        found.utc if found else None,
    )


def _clauses(text: str) -> dict[str, str]:
    try:
        # Not receiveds_parsing, which does the same and writes the header into the debug log.
        clauses: dict[str, str] = parse_received(text)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - hostile input; the date after the last semicolon may still be good
        return {"date": text.rpartition(";")[2]}
    return clauses


def _clause(clauses: dict[str, str], name: str) -> str | None:
    return one_line(clauses.get(name, ""))[:CLAUSE_LENGTH] or None


# --- identifiers


def ids(value: bytes) -> tuple[str, ...]:
    """The message ids of a header, without their angle brackets; without any brackets, the words that look like one."""
    text = one_line(unfolded(value))
    found = _ID.findall(text) or [word for word in text.split() if "@" in word]
    return tuple(dict.fromkeys(item[:ID_LENGTH] for item in found))


def first_id(value: bytes) -> str | None:
    """The one id of a header that should hold one, e.g. Message-ID; a phrase such as "your letter of today" is none."""
    text = one_line(unfolded(value))
    match = _ID.search(text)
    found = match[1] if match else text.strip("<> ")
    return found[:ID_LENGTH] or None if "@" in found or " " not in found else None
