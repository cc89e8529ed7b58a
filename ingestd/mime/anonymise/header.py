"""The header of a message or part: names and structure stay, what it says of people and things does not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from ..parameters import VALUE_BYTES
from ..words import WORD
from .encoded import in_base64, in_percent, in_quoted
from .mask import BYTES, UTF_8, Mask
from .names import ADDRESS, DATE, MONTHS, WEEKDAYS, address, date, domain, identifier, named_alike
from .text import Words, text

_NAME = re.compile(rb"[!-9;-~\x80-\xff]+[ \t]*:")
_SIGN = re.compile(rb">?From |content-", re.IGNORECASE)  # what the scan goes by where it has to guess
_FIRST_WORD = re.compile(rb"\s*[^\s;(]*")
_MAIN = re.compile(rb"\s*[^\s;]*")
_PARAMETER = re.compile(rb'(;\s*)([^\s=;"]+)(\s*=\s*)("(?:[^"\\]|\\.)*"?|[^;]*)', re.DOTALL)
_CHARSET = re.compile(rb"\s*\"?[^']*'[^']*'")
_LITERAL = re.compile(r"(?<!=)(?<!=.)[^=]+", re.DOTALL)
_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_BRACKETED = re.compile(rb"(<\s*)([^<>\s]+)(?=\s*>)")
_IDENTIFIERS = frozenset({b"content-id", b"message-id", b"in-reply-to", b"references", b"resent-message-id"})
_TIMES = frozenset({b"date", b"resent-date", b"delivery-date"})
_KEPT = frozenset({b"content-transfer-encoding", b"mime-version"})
_STRUCTURED = frozenset({b"content-type", b"content-disposition"})
# Parameters that say how a part is to be read, in the words of standards.
_OF_STRUCTURE = frozenset(
    b"charset format delsp type report-type method protocol micalg smime-type access-type start-info"
    b" number total reply-type profile".split()
)
_NAMING = frozenset({b"name", b"filename"})
_PARAMETERS = (
    _OF_STRUCTURE
    | _NAMING
    | frozenset(
        b"boundary start id size creation-date modification-date read-date site directory mode permission expiration"
        b" url".split()
    )
)
_OF_TRACE = "from by via with id for smtp esmtp esmtps esmtpa esmtpsa lmtp http https local"
_OF_TIME = f"{' '.join(WEEKDAYS)} {' '.join(MONTHS)} am pm utc gmt ut est edt cst cdt mst mdt pst pdt cet cest"


def _any(words: str) -> str:
    return "|".join(words.split())


def _word(mask: Mask, match: re.Match[str]) -> str:
    """An encoded word (RFC 2047) in the same frame, with other content."""
    found = WORD.fullmatch(match[0])
    assert found is not None
    label, kind, content = found.groups()
    if not content.isascii():  # against the rules; its escapes stay
        alphabet = BYTES if max(content) <= "\xff" else UTF_8
        other = _LITERAL.sub(lambda run: mask.text(run[0], alphabet, run[0].encode()), content)
    else:
        write = in_base64 if kind in "bB" else in_quoted
        written = write(content.encode("ascii"), lambda data: named_alike(data, text(mask, data, label, _INNER)))
        other = written.decode("ascii")
    return match[0][: found.start(3)] + other + match[0][found.end(3) :]


_REPLACE = {
    "word": _word,
    "date": lambda mask, match: date(mask, match[0]),
    "address": lambda mask, match: address(mask, match[0]),
    "host": lambda mask, match: domain(mask, match[0]),
}
_DOTTED = r"(?P<host>(?<![\w.@-])[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)++)"
_NAMES = rf"(?P<address>{ADDRESS})|{_DOTTED}"
_INNER = Words(re.compile(_NAMES, re.ASCII), _REPLACE)
_ANY = Words(re.compile(rf"(?P<word>{WORD.pattern})|(?P<date>{DATE})|{_NAMES}", re.ASCII), _REPLACE)
_TRACE = Words(
    re.compile(rf"{_ANY.pattern.pattern}|(?P<kept>\b(?:{_any(_OF_TRACE)})\b)", re.ASCII | re.IGNORECASE), _REPLACE
)
_TIME = Words(
    re.compile(rf"{_ANY.pattern.pattern}|(?P<kept>\b(?:{_any(_OF_TIME)})\b|\d++)", re.ASCII | re.IGNORECASE), _REPLACE
)


def header(mask: Mask, block: bytes, line_break: bytes) -> bytes:
    """Another header block in the place of *block*, line for line and as long."""
    return b"".join(_field(mask, lines) for lines in _fields(block, line_break))


def _fields(block: bytes, line_break: bytes) -> Iterator[bytes]:
    """The fields with their folded lines, and each line that is of none."""
    field = b""
    for line in re.findall(rb"[^%b]*%b|[^%b]+" % (line_break, line_break, line_break), block):
        if field and line[:1] in (b" ", b"\t"):
            field += line
            continue
        yield field
        field = line if _NAME.match(line) and not line.startswith(b"--") else b""
        if not field:
            yield line
    yield field


def _field(mask: Mask, field: bytes) -> bytes:
    if field.startswith(b"--"):
        return b"--" + mask.line(field[2:])
    match = _NAME.match(field)
    if not match:
        kept = _SIGN.match(field)
        at = kept.end() if kept else 0
        return field[:at] + text(mask, field[at:], None, _ANY)
    name = match[0].rstrip(b": \t").lower()
    return match[0] + _reader(name)(mask, field[match.end() :])


def _reader(name: bytes) -> Callable[[Mask, bytes], bytes]:
    """How to replace the value of a field called *name*."""
    if name in _STRUCTURED:
        return _structured
    if name in _KEPT:
        return _first_word_kept
    if name in _IDENTIFIERS:
        return _identifiers
    if name in _TIMES:
        return lambda mask, value: text(mask, value, None, _TIME)
    trace = _TRACE if name in (b"received", b"x-received") else _ANY
    return lambda mask, value: text(mask, value, None, trace)


def _first_word_kept(mask: Mask, value: bytes) -> bytes:
    match = _FIRST_WORD.match(value)
    at = match.end() if match else 0
    return value[:at] + text(mask, value[at:], None, _ANY)


def _identifiers(mask: Mask, value: bytes) -> bytes:
    if not _BRACKETED.search(value) and value.isascii() and len(value.split()) == 1:
        return value.replace(found := value.strip(), _identifier(mask, found))
    pieces, at = [], 0
    for match in _BRACKETED.finditer(value):
        pieces += [text(mask, value[at : match.start(2)], None, _ANY), _identifier(mask, match[2])]
        at = match.end(2)
    return b"".join((*pieces, text(mask, value[at:], None, _ANY)))


def _identifier(mask: Mask, found: bytes) -> bytes:
    return identifier(mask, found.decode("ascii")).encode() if found.isascii() else text(mask, found)


# --- Content-Type and Content-Disposition


def _structured(mask: Mask, value: bytes) -> bytes:
    value, rest = value[:VALUE_BYTES], value[VALUE_BYTES:]
    main = _MAIN.match(value)
    at = main.end() if main else 0
    pieces, boundary = [value[:at]], _Boundary(mask)
    for match in _PARAMETER.finditer(value, at):
        known = match[2].lower().partition(b"*")[0] in _PARAMETERS
        pieces += [text(mask, value[at : match.start()], None, _ANY), match[1]]
        pieces += [match[2] if known else text(mask, match[2], None, _ANY), match[3]]
        pieces.append(_parameter(mask, match[2].lower(), match[4], boundary))
        at = match.end()
    return b"".join((*pieces, text(mask, value[at:], None, _ANY), text(mask, rest, None, _ANY)))


def _parameter(mask: Mask, name: bytes, value: bytes, boundary: _Boundary) -> bytes:
    base, extended = name.partition(b"*")[0], name.endswith(b"*")
    at = match.end() if extended and (match := _CHARSET.match(value)) else 0
    if base == b"boundary":
        return value[:at] + boundary.other(value[at:])
    if base in _OF_STRUCTURE:
        return value
    if base in (b"start", b"id"):
        inner = value.strip(b'"<> \t\r\n')
        return value.replace(inner, _identifier(mask, inner), 1) if inner else value
    write = in_percent if extended else _as_it_is
    other = value[:at] + write(value[at:], lambda data: text(mask, data, None, _ANY))
    return named_alike(value, other) if base in _NAMING else other


def _as_it_is(data: bytes, other: Callable[[bytes], bytes]) -> bytes:
    return other(data)


class _Boundary:
    """The boundary of one header, which may come in several sections (RFC 2231, section 3)."""

    def __init__(self, mask: Mask) -> None:
        self._mask, self._before = mask, b""

    def other(self, value: bytes) -> bytes:
        """The next section, as it lies in the header: folded, quoted, escaped."""
        places = list(_plain_places(value))
        whole = self._before + bytes(value[at] for at in places)
        other = self._mask.line(whole)[len(self._before) :]
        self._before = whole
        changed = bytearray(value)
        for at, byte in zip(places, other, strict=True):
            changed[at] = byte
        return bytes(changed)


def _plain_places(value: bytes) -> Iterator[int]:
    """Where the bytes lie that the value consists of, when its quotes are undone."""
    quoted = value.lstrip().startswith(b'"')
    start = value.index(b'"') + 1 if quoted else len(value) - len(value.lstrip())
    end = len(value.rstrip())
    folds = {at for match in _FOLD.finditer(value) for at in range(*match.span())}
    escaped = False
    for at in range(start, end):
        byte = value[at : at + 1]
        if at in folds:
            continue
        if quoted and not escaped and byte == b'"':
            return
        escaped = quoted and not escaped and byte == b"\\"
        if not escaped:
            yield at
