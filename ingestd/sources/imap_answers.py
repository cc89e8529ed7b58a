"""What an IMAP server's answers mean: pure functions from the bytes of a response to values.

What cannot be understood raises `Broken`: a connection that made no sense once is not trusted again.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal

from imapclient.exceptions import ProtocolError
from imapclient.imap_utf7 import decode as from_utf7
from imapclient.response_parser import parse_fetch_response

from ..errors import IngestError, PutOff, Refused, Unavailable, Unreachable
from ..message import Metadata, Numbers
from ..throttle import Throttle, throttle
from ..uidset import UIDSet
from .wire import Broken

Pieces = list[bytes | tuple[bytes, bytes]]  # a response as imapclient reads it: text, or text and the literal after it

LAST_UID = 2**32 - 1
MODSEQ = 2**63 - 1  # the highest there is (RFC 7162, 7)
SIZE = 2**63 - 1  # the highest there is (RFC 9051, 9: number64), and that a store can hold
WORDS = 500  # flags or labels of one message: they are kept, with up to fifty sets of them from before
WORD = 300  # characters of one; more than an object id may have, so that none is made of the beginning of another
STATUSES: Mapping[bytes, Literal["OK", "NO", "BAD"]] = {b"OK": "OK", b"NO": "NO", b"BAD": "BAD"}
ALL_FLAGS = ("\\Answered", "\\Deleted", "\\Draft", "\\Flagged", "\\Seen", "\\*")
BUSY = {"UNAVAILABLE"}  # RFC 5530
BUSY_WORDS = re.compile(rb"temporar|try again", re.I)  # what servers say in words only

_TAGGED = re.compile(rb"(OK|NO|BAD)(?: +\[([A-Za-z0-9-]+)[^\]]*\])?(?: .*)?", re.S | re.I)
_ESEARCH = re.compile(rb'\* ESEARCH(?: \(TAG "?([^") ]*)"?\))?( UID)?((?: [^ ]+ [^ ]+)*) *', re.I)
_CODE = re.compile(rb"\* OK \[(UIDVALIDITY|UIDNEXT|PERMANENTFLAGS|HIGHESTMODSEQ) ([^\]]*)\]", re.I)
_STREAMED = re.compile(rb"\* \d{1,10} FETCH \(UID (\d{1,10}) BODY\[\] \{0\}", re.I)
_FLAG = rb"[\\$]?[A-Za-z][A-Za-z0-9_-]*"
_DESCRIBED = re.compile(
    rb"\* (\d{1,10}) FETCH \(UID (\d{1,10}) FLAGS \(((?:" + _FLAG + rb"(?: " + _FLAG + rb")*)?)\)"
    rb' INTERNALDATE "([ \d]\d)-([A-Z][a-z]{2})-((?:19|20)\d\d) (\d\d):(\d\d):([0-5]\d) ([+-])(\d\d)([0-5]\d)"'
    rb" RFC822\.SIZE (\d{1,10})\)"
)
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_OBJECT_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")  # RFC 8474, 4
_WORD = re.compile(rb"\S+")
_EXISTS = re.compile(rb"\* (\d{1,10}) EXISTS", re.I)
_STATUS = re.compile(rb'\* STATUS (?:"((?:[^"\\]|\\.)*)"|([^ "(){]+)|\{\d+\}) ?', re.I)
_COUNT = re.compile(rb"\b(MESSAGES|UIDNEXT|UIDVALIDITY) (\d{1,10})\b", re.I)
# Broken beyond imapclient's own ProtocolError: it trusts that what it takes apart has the usual types.
NONSENSE = (ProtocolError, ValueError, TypeError, AttributeError, IndexError, AssertionError, RecursionError)


# --- the end of a command


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said to one command."""

    status: Literal["OK", "NO", "BAD"]
    tag: bytes = b""
    code: str = ""  # the response code, such as TRYCREATE
    text: bytes = field(default=b"", repr=False)  # may hold an address: never to be shown
    responses: tuple[Pieces, ...] = field(default=(), repr=False)

    @property
    def busy(self) -> bool:
        return self.code in BUSY or bool(self.throttle or BUSY_WORDS.search(self.text))

    @property
    def throttle(self) -> Throttle | None:
        """Which limit of ours it names, if any."""
        return throttle(self.code, self.text)

    @property
    def bracketed(self) -> str:
        """The code, to be appended to a message."""
        return f" [{self.code}]" if self.code else ""

    def with_responses(self, responses: Iterable[Pieces]) -> Answer:
        return replace(self, responses=tuple(responses))


def refusal(what: str, host: str, answer: Answer, advice: str) -> IngestError:
    """The error for an *answer* other than OK: PutOff or Unavailable when the server is only busy, else Refused."""
    if answer.throttle:
        return PutOff(f"{what} put off by {host}{answer.bracketed}: {answer.throttle}", answer.throttle)
    if answer.busy:
        kind = Unreachable if answer.code == "UNAVAILABLE" else Unavailable
        return kind(f"{what} put off by {host}{answer.bracketed}, which is busy")
    return Refused(f"{what} refused by {host}{answer.bracketed}; {advice}")


class SentAway(Broken):
    """The server ended the session, since a limit of ours was reached."""

    def __init__(self, said: Throttle) -> None:
        super().__init__(f"the server ended the session: {said}")
        self.throttle = said


def broken(what: str, host: str, error: Broken) -> Unavailable:
    """The error for a connection that cannot be made good again."""
    if isinstance(error, SentAway):
        return PutOff(f"{what} put off by {host}: {error.throttle}", error.throttle)
    return Unreachable(f"{what}: {host}: {error}")


def tagged(pieces: Pieces, tag: bytes) -> Answer | None:
    """Return the answer that ends the command with *tag*, or None when *pieces* is something else."""
    line = head(pieces)
    if not line.startswith(tag + b" "):
        return None
    found = _TAGGED.fullmatch(line, len(tag) + 1)
    if not found:
        raise Broken("the server ended a command without OK, NO or BAD")
    status = STATUSES[found[1].upper()]
    return Answer(status, tag, (found[2] or b"").decode().upper(), line[found.end(1) :])


def untagged(pieces: Pieces) -> Pieces:
    """Return *pieces* when it is a response that may come at any time; raise `Broken` for anything else."""
    line = head(pieces)
    if not re.match(rb"\* [A-Za-z0-9]", line):
        raise Broken("the server sent a line that is no IMAP response")
    if line[:5].upper() == b"* BYE":
        said = throttle("", line)
        raise SentAway(said) if said else Broken("the server ended the session")
    return pieces


def head(pieces: Pieces) -> bytes:
    """The text of a response up to its first literal."""
    first = pieces[0]
    return first if isinstance(first, bytes) else first[0]


def quoted(text: str | bytes) -> bytes:
    """Write *text* as an IMAP quoted string; raise ValueError for what none can hold."""
    raw = text.encode("ascii") if isinstance(text, str) else text
    if re.search(rb"[\r\n\0]", raw):
        raise ValueError("a line break cannot be quoted")
    return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


# --- mailboxes


def mailbox_name(raw: bytes) -> str:
    """Decode a mailbox name: modified UTF-7, or UTF-8 from servers that send it unasked."""
    if raw.upper() == b"INBOX":
        return "INBOX"
    try:
        name = from_utf7(raw) if raw.isascii() else raw.decode("utf-8")
        name.encode("utf-8")
    except (UnicodeError, ValueError):
        return as_written(raw)
    return str(name)


def as_written(raw: bytes) -> str:
    """A mailbox name that is not to be decoded."""
    return raw.decode("ascii", "backslashreplace")


@dataclass(frozen=True, slots=True)
class Selected:
    """What SELECT or EXAMINE said about a mailbox; 0 where it said nothing."""

    uidvalidity: int
    uidnext: int
    exists: int
    permanent_flags: tuple[str, ...]
    modseq: int


def selected(answer: Answer) -> Selected:
    """Read the answer to SELECT or EXAMINE."""
    codes: dict[bytes, bytes] = {}
    exists = 0
    for line in map(head, answer.responses):
        if code := _CODE.match(line):
            codes[code[1].upper()] = code[2]
        elif found := _EXISTS.match(line):
            exists = int(found[1])
    flags = codes.get(b"PERMANENTFLAGS", b"(%s)" % " ".join(ALL_FLAGS).encode())  # RFC 3501, 7.1: silence allows all
    words = flags.strip(b"()").decode("utf-8", "replace").split()
    return Selected(
        _number(codes.get(b"UIDVALIDITY")),
        _number(codes.get(b"UIDNEXT")),
        exists,
        tuple(words),
        _number(codes.get(b"HIGHESTMODSEQ"), most=MODSEQ),
    )


def status_uidnext(answer: Answer) -> int | None:
    """The UIDNEXT of a STATUS answer."""
    for pieces in answer.responses:
        text = pieces[-1]
        if head(pieces)[:9].upper() == b"* STATUS " and isinstance(text, bytes):
            found = re.search(rb"\bUIDNEXT (\d{1,10})\b", text, re.I)
            return _number(found[1]) or None if found else None
    return None


def exists(line: bytes) -> int | None:
    """How many messages an untagged response says that there are."""
    found = _EXISTS.match(line)
    return int(found[1]) if found else None


def statuses(answer: Answer) -> dict[bytes, Numbers]:
    """What STATUS responses say, by the quoted name; without those that do not say everything."""
    told: dict[bytes, Numbers] = {}
    for pieces in answer.responses:
        if found := _STATUS.match(head(pieces)):
            first, last = pieces[0], pieces[-1]
            raw = first[1] if isinstance(first, tuple) else re.sub(rb"\\(.)", rb"\1", found[1] or found[2] or b"")
            said = {key.upper(): int(count) for key, count in _COUNT.findall(last if isinstance(last, bytes) else b"")}
            if len(said) == 3:
                told[quoted(raw)] = Numbers(said[b"UIDVALIDITY"], said[b"UIDNEXT"], said[b"MESSAGES"])
    return told


def _number(text: bytes | None, most: int = LAST_UID) -> int:
    return number if text and text.isdigit() and len(text) < 20 and (number := int(text)) <= most else 0


# --- searching


def found_uids(answer: Answer) -> UIDSet:
    """The UIDs of a SEARCH or ESEARCH answer, in however many lines it came."""
    found, singles = UIDSet(), array("I")
    for line in map(head, answer.responses):
        if line[:8].upper() == b"* SEARCH":
            singles.extend(_search(line))
        elif line[:9].upper() == b"* ESEARCH":
            found |= _esearch(line, answer.tag)
    return found | UIDSet.of(singles)


def _search(line: bytes) -> Iterator[int]:
    end = line.find(b"(")  # behind it: (MODSEQ 917), RFC 7162
    # One by one: all words of a long answer would take ten times its memory.
    for found in _WORD.finditer(line, len(b"* SEARCH"), end if end >= 0 else len(line)):
        word = found[0]
        if not word.isdigit() or len(word) > 10:
            raise Broken("the server sent a SEARCH answer that makes no sense")
        yield _uid(word)


def _esearch(line: bytes, tag: bytes) -> UIDSet:
    read = _ESEARCH.fullmatch(line)
    if not read:
        raise Broken("the server sent an ESEARCH answer that makes no sense")
    if read[1] is not None and read[1] != tag:
        return UIDSet()  # an update of some other search (RFC 5267)
    words = read[3].split(b" ")[1:]
    for name, value in zip(words[::2], words[1::2], strict=True):
        if name.upper() == b"ALL":
            return _uids(value, by_uid=read[2] is not None)
    return UIDSet()


def _uids(text: bytes, *, by_uid: bool) -> UIDSet:
    if not by_uid:
        raise Broken("the server answered a search for UIDs with message numbers")
    try:
        uids = UIDSet.parse(text.decode("ascii"))
    except ValueError as error:
        raise Broken("the server sent an ESEARCH answer that makes no sense") from error
    if uids - UIDSet.span(1, LAST_UID):
        raise Broken("the server sent a UID out of range")
    return uids


def _uid(text: bytes) -> int:
    uid = int(text)
    if not 1 <= uid <= LAST_UID:
        raise Broken("the server sent a UID out of range")
    return uid


# --- fetching


def fetched(pieces: Pieces) -> Mapping[bytes, Any]:
    """The items of one FETCH response, `UID` among them if it has one; empty for any other response."""
    line = head(pieces)
    if not re.match(rb"\* \d{1,10} FETCH ", line, re.I):
        return {}
    if (usual := _STREAMED.fullmatch(line)) and pieces[1:] == [b")"]:
        return {b"UID": _uid(usual[1]), b"BODY[]": b""}
    if described := _described(line):
        return described
    try:
        # The sequence number as the key keeps a response without UID apart from one with it.
        (items,) = parse_fetch_response([_from(pieces[0]), *pieces[1:]], False, False).values()
    except NONSENSE as error:
        raise Broken("the server sent a FETCH response that makes no sense") from error
    if b"UID" in items and not 1 <= items[b"UID"] <= LAST_UID:
        raise Broken("the server sent a UID out of range")
    return dict(items)


def _described(line: bytes) -> dict[bytes, Any] | None:
    """What imapclient would make of the metadata of a message, for the way that most servers write it; else None.

    imapclient goes character by character, which takes longer than to fetch a small message.
    """
    if not (said := _DESCRIBED.fullmatch(line)) or b"NIL" in said[3].upper() or said[5] not in _MONTHS:
        return None
    hours, minutes = int(said[11]), int(said[12])
    offset = timedelta(hours=hours, minutes=minutes) * (-1 if said[10] == b"-" else 1)
    year, month, day = int(said[6]), _MONTHS.index(said[5]) + 1, int(said[4])
    try:
        date = datetime(year, month, day, int(said[7]), int(said[8]), int(said[9]), tzinfo=timezone(offset))
    except ValueError:
        return None
    uid, flags, size = _uid(said[2]), tuple(said[3].split()), int(said[13])
    return {b"SEQ": int(said[1]), b"UID": uid, b"FLAGS": flags, b"INTERNALDATE": date, b"RFC822.SIZE": size}


def _from(piece: bytes | tuple[bytes, bytes]) -> bytes | tuple[bytes, bytes]:
    """Leave out `* ` and `FETCH`, as imaplib does for imapclient."""
    text = piece if isinstance(piece, bytes) else piece[0]
    number, _, rest = text[2:].partition(b" ")
    text = number + b" " + rest[len(b"FETCH ") :]
    return text if isinstance(piece, bytes) else (text, piece[1])


def metadata(answer: Answer, asked: UIDSet, *needed: bytes) -> dict[int, Metadata]:
    """What a FETCH answer says about the messages of *asked*, where it tells all that is *needed*; no others."""
    known = _by_uid(answer)
    told = UIDSet.of(uid for uid, items in known.items() if items.keys() >= set(needed))
    return {uid: _metadata(uid, known[uid]) for uid in told & asked}


def last_uid(answer: Answer) -> int:
    """The highest UID of a FETCH answer, 0 when there is none."""
    return max(_by_uid(answer), default=0)


def _by_uid(answer: Answer) -> dict[int, dict[bytes, Any]]:
    known: dict[int, dict[bytes, Any]] = {}
    for items in map(fetched, answer.responses):
        if b"UID" in items:
            known.setdefault(items[b"UID"], {}).update(items)
    return known


def _metadata(uid: int, items: Mapping[bytes, Any]) -> Metadata:
    size = items.get(b"RFC822.SIZE")
    return Metadata(
        uid,
        flags=tuple(sorted(set(_words(items.get(b"FLAGS"))) - {"\\Recent"})),
        labels=tuple(sorted({mailbox_name(label.encode("utf-8")) for label in _words(items.get(b"X-GM-LABELS"))})),
        internal_date=_utc(items.get(b"INTERNALDATE")),
        size_bytes=size if isinstance(size, int) and size <= SIZE else None,
        object_id=_object_id(items),
    )


def _object_id(items: Mapping[bytes, Any]) -> str | None:
    """X-GM-MSGID, a number, or EMAILID, a word in parentheses."""
    number, words = items.get(b"X-GM-MSGID"), tuple(_words(items.get(b"EMAILID")))
    if isinstance(number, int):
        return str(number)
    return words[0] if len(words) == 1 and _OBJECT_ID.fullmatch(words[0]) else None


def _words(values: Any) -> Iterator[str]:
    for value in values[:WORDS] if isinstance(values, tuple) else ():
        if isinstance(value, bytes | int):
            text = str(value) if isinstance(value, int) else value.decode("utf-8", "replace")
            yield text[:WORD]


def _utc(date: Any) -> datetime | None:
    if not isinstance(date, datetime):
        return None
    try:
        return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
    except (OverflowError, ValueError):
        return None
