"""The vocabulary: a message where it lies, as it arrives, and as it is understood.

`Place` says where a message lies; `Arrival` is what fetching a place can give; `Message` is what the bytes mean.
Everything here is a value: frozen, comparable, and free of I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from urllib.parse import quote, unquote

from .errors import Unavailable
from .raw import Content, Raw
from .uidset import UIDSet

Via = Literal["imap", "pop3", "import", "lmtp"]
SAFE = "/ &=~!$'()*+,:@"  # what stands in a place as it is


# --- where it lies


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One spot in a mailbox, for as long as its UIDVALIDITY and epoch hold. Never reused for another message."""

    account: str
    mailbox: str  # decoded: "INBOX", "Archive/Été"
    epoch: int  # 1 at first sight; rises when the UIDs of the mailbox lose their meaning
    uidvalidity: int
    uid: int
    uidl: str | None = None  # the unique-id of a message in a POP3 maildrop, where the numbers above are 0

    @classmethod
    def of_maildrop(cls, account: str, uidl: str) -> Place:
        """The place of a message in the POP3 maildrop of *account*, which holds what IMAP calls the INBOX."""
        return cls(account, "INBOX", 0, 0, 0, uidl)

    @classmethod
    def parsed_maildrop(cls, account: str, id_: str) -> Place:
        """The place in the maildrop of *account* whose `id` that is."""
        return cls.of_maildrop(account, unquote(id_.removeprefix(f"pop3://{account}/;UIDL=")))

    @property
    def id(self) -> str:
        """The place as a URL in the manner of RFC 5092, e.g. `imap://work/INBOX;UIDVALIDITY=9/;UID=20`.

        From the second epoch on its number is part of it, since a server may repeat a UIDVALIDITY. What lies in a POP3
        maildrop is `pop3://work/;UIDL=QhdPYR:00WBw1Ph7x7`.
        """
        if self.uidl is not None:
            return f"pop3://{self.account}/;UIDL={quote(self.uidl, safe=SAFE)}"
        epoch = f";EPOCH={self.epoch}" if self.epoch > 1 else ""
        mailbox = quote(self.mailbox, safe=SAFE)
        return f"imap://{self.account}/{mailbox};UIDVALIDITY={self.uidvalidity}{epoch}/;UID={self.uid}"


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a mailbox said about itself when it was opened."""

    uidvalidity: int
    uidnext: int
    exists: int  # messages
    modseq: int | None = None  # HIGHESTMODSEQ (RFC 7162), which rises with every change; None where there is none


@dataclass(frozen=True, slots=True)
class Listed:
    """A message as a POP3 maildrop lists it."""

    number: int  # means something only within the session
    uidl: str  # its unique-id, made distinct where a server gives one to several
    size_bytes: int | None  # a claim


@dataclass(frozen=True, slots=True)
class Ages:
    """Numbers of a listing, by whether their messages came since some time. What is in neither was not looked at."""

    recent: UIDSet
    older: UIDSet


# --- as it arrives


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a mailbox says about a message without giving its bytes."""

    uid: int
    flags: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    internal_date: datetime | None = None  # aware, UTC
    size_bytes: int | None = None  # RFC822.SIZE: a check, not truth
    object_id: str | None = None  # EMAILID (RFC 8474) or X-GM-MSGID: the same in all mailboxes of the account


@dataclass(frozen=True, slots=True)
class Twin:
    """A stored message that is the same as one in a mailbox, as that says."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Kept:
    """Bytes that the store has already, so that they did not come again."""

    size_bytes: int

    @contextmanager
    def open(self) -> Iterator[Raw]:
        """Raise Unavailable: who needs them finds the message gone from the store, and the next pass brings it."""
        raise Unavailable("a message that was stored a moment ago is not whole any more; try again")
        yield


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message exactly as its mailbox handed it over, with what the mailbox says about it."""

    place: Place
    content: Content
    sha256: str  # hex, of the whole content
    internal_date: datetime | None  # aware, UTC
    flags: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    via: Via = "imap"
    server_size_bytes: int | None = None  # RFC822.SIZE: a check, not truth
    object_id: str | None = None

    @property
    def fetched(self) -> bool:
        """Whether its bytes came from the mailbox; else they are in the store, since it has a twin there."""
        return not isinstance(self.content, Kept)

    @property
    def id(self) -> str:
        """The `_id` of the message in the store: equal for equal bytes of one account."""
        return f"{self.place.account}:{self.sha256}"


@dataclass(frozen=True, slots=True)
class Vanished:
    """The message was expunged before its bytes could be fetched."""

    place: Place


@dataclass(frozen=True, slots=True)
class Failed:
    """The server would not give the bytes this time, even alone on a fresh connection."""

    place: Place
    reason: str  # for an operator; holds no content and no address
    internal_date: datetime | None = None  # as far as the mailbox told, so that a person can find it there
    server_size_bytes: int | None = None
    put_off: bool = False  # it said that it had enough of us: never a reason to give the message up


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The message is not wanted after all; only its metadata was fetched."""

    place: Place
    reason: Literal["older_than_since"]


Arrival = RawMessage | Vanished | Failed | LeftOut
Twins = Callable[[Sequence[Metadata]], Mapping[int, Twin]]  # finds the stored ones of messages, by UID


# --- as it leaves its mailbox


@dataclass(frozen=True, slots=True)
class Removal:
    """What became of messages that were to be deleted or moved on their server."""

    removed: UIDSet
    left: UIDSet  # the server did as it was told, and lists them all the same
    other: UIDSet  # not what is known of them: left alone
    absent: UIDSet  # they were there no more


# --- as it is understood

Encoding = Literal["identity", "base64", "quoted-printable", "uuencode", "yenc", "lzfu", "utf-16"]
Kind = Literal["personal", "list", "bulk", "auto_reply", "bounce", "receipt", "calendar", "report"]


@dataclass(frozen=True, slots=True)
class Span:
    """A slice of the raw message, and the transfer encoding to undo to get at its content.

    With *within*, the slice is one of the content of that span instead, e.g. a file in an attached winmail.dat. Bodies
    in there may be compressed ("lzfu"), or in UTF-16, which becomes UTF-8.
    """

    start: int
    end: int
    encoding: Encoding = "identity"
    within: Span | None = None


@dataclass(frozen=True, slots=True)
class Blob:
    """Content that is stored once per database, named by its digest, and the span of this message that holds it."""

    sha256: str  # hex, of the decoded content
    size_bytes: int  # of the decoded content
    span: Span


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the raw message as it is stored. All segments, in order, are the whole message.

    Without a blob the bytes are kept as they are. With one, they are the content of the blob, encoded again: as it is
    ("identity"), or as base64 in lines of *line_length* characters that are joined by *line_end*, none after the last.
    """

    start: int
    end: int
    sha256: str | None = None  # of the blob
    encoding: Literal["identity", "base64"] = "identity"
    line_length: int = 0
    line_end: bytes = b""


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox of an address header. The address is lower-case; the domain is IDNA, "" when there is none."""

    name: str
    address: str
    domain: str


@dataclass(frozen=True, slots=True)
class Hop:
    """One Received header, the topmost (the last hop) first. Unknown facts are None."""

    by: str | None
    from_: str | None
    protocol: str | None
    id: str | None
    date: datetime | None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part that is not the body. *blob* is None where *slice* says which bytes of the raw message are its content."""

    part: str  # "2.1", as IMAP numbers parts (RFC 9051, 6.4.5.1); "2.1~1" is the first file found within that one
    filename: str | None  # as sent, decoded
    filename_safe: str  # for a file system: no separators, no controls, never empty
    extension: str  # lower-case, without the dot; "" when there is none
    content_type: str  # lower-case
    kind: str  # image, audio, video, text, document, sheet, slides, archive, calendar, message, other
    disposition: str | None  # "attachment", "inline" or what was sent, lower-case
    content_id: str | None  # without the angle brackets
    inline: bool  # shown within the body, e.g. an image it refers to
    size_bytes: int  # decoded
    sha256: str  # hex, of the decoded content
    span: Span
    in_raw: bool  # True: content == raw[span.start:span.end], no blob of its own (message/rfc822)
    derived_from: str | None = None  # the part whose content holds it, where it is no part of the message itself


@dataclass(frozen=True, slots=True)
class Embedded:
    """A forwarded message: a slice of the raw message, byte for byte, or the content of its part if that is encoded."""

    part: str
    offset: int | None  # None: it was sent encoded, against the rules, and is no slice
    size_bytes: int
    sha256: str
    message_id: str | None
    subject: str | None
    from_: Address | None
    date: datetime | None
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class Outside:
    """Text of a multipart that belongs to none of its parts, so that no mail program shows it (RFC 2046, 5.1.1)."""

    part: str  # the multipart; "" for the root
    place: Literal["preamble", "epilogue"]  # before its first boundary, after its last
    text: str  # the beginning of it, clean
    size_bytes: int  # of all of it as it lies in the raw, blank lines included


@dataclass(frozen=True, slots=True)
class PartInfo:
    """One node of the part tree, for showing the structure of a message."""

    part: str  # "" for the root of a multipart message
    content_type: str
    charset: str | None
    encoding: str | None  # Content-Transfer-Encoding as sent, lower-case
    filename: str | None
    size_bytes: int  # of the body as it lies in the raw


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """What became of a message for one of its recipients (RFC 3464, section 2.3). Unknown facts are None."""

    action: str | None  # lower-case: "failed", "delayed", "delivered", "relayed", "expanded"
    status: str | None  # "5.1.1"
    recipient: Address | None  # the final one, else the original one
    diagnostic: str | None


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What a delivery status notification says: who says it, and of each recipient, as far as there is room."""

    reporting_mta: str | None  # lower-case
    recipients: tuple[DeliveryStatus, ...]


@dataclass(frozen=True, slots=True)
class Disposition:
    """What a recipient's program did with a message, as its notification says (RFC 8098). Unknown facts are None."""

    type: str | None  # lower-case: "displayed", "deleted", "dispatched", "processed"
    recipient: Address | None
    original_message_id: str | None  # without angle brackets


@dataclass(frozen=True, slots=True)
class Header:
    name: str  # as sent
    value: str  # unfolded, decoded (RFC 2047), clean


@dataclass(frozen=True, slots=True)
class ParseReport:
    """How well the message could be understood."""

    status: Literal["ok", "partial", "failed"]
    defects: tuple[str, ...]  # sorted, distinct, bounded: "missing_close_boundary", "charset: x-foo"
    limits: tuple[str, ...]  # limits that cut something off: "header_block", "parts"
    parser: str
    version: int


@dataclass(frozen=True, slots=True)
class Message:
    """What the bytes mean. A pure function of them: nothing of the mailbox, the clock or the host enters it.

    Every str can be encoded as UTF-8 (no lone surrogates) and holds no NUL; text is NFC; dates are aware, in UTC, and
    within the years 1 to 9999 with a day to spare; sizes fit in int64.
    """

    size_bytes: int
    parse: ParseReport
    segments: tuple[Segment, ...]
    blobs: tuple[Blob, ...]  # every blob that the message needs, each once, sorted by digest
    message_id: str | None = None  # without angle brackets
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    thread_id: str | None = None  # first Reference, else In-Reply-To, else Message-ID, else None: the digest serves
    subject: str | None = None
    base_subject: str | None = None  # RFC 5256, section 2.1
    from_: Address | None = None
    authors: tuple[Address, ...] = ()  # only when there are several
    sender: Address | None = None
    reply_to: tuple[Address, ...] = ()
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()
    date: datetime | None = None
    date_source: Literal["header", "received", "none"] = "none"
    sent_at: datetime | None = None  # the Date header alone
    utc_offset_minutes: int | None = None  # of the Date header
    received_at: datetime | None = None  # of the top Received header
    kind: Kind = "personal"
    lang: str | None = None
    snippet: str = ""  # the start of the text, one line, at most 200 characters
    text: str = ""
    text_source: Literal["plain", "html", "tnef"] | None = None
    text_truncated: bool = False
    text_blob: str | None = None  # digest of the whole text part as sent, when truncated
    html: str | None = None
    attachments: tuple[Attachment, ...] = ()
    embedded: tuple[Embedded, ...] = ()
    outside: tuple[Outside, ...] = ()
    received: tuple[Hop, ...] = ()
    list_id: str | None = None
    list_unsubscribe: str | None = None
    dsn: DeliveryReport | None = None
    mdn: Disposition | None = None
    calendar: tuple[tuple[str, str], ...] | None = None  # method, uid, ...
    auth_results: tuple[tuple[str, str, str], ...] = ()  # (authserv-id, method, result), as the headers claim
    headers: tuple[Header, ...] = field(default=(), repr=False)
    parts: tuple[PartInfo, ...] = ()


# --- as it is stored


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that the message at *place* is stored, durably and by a majority."""

    place: Place
    message: str  # messages._id
    sha256: str
    size_bytes: int
    new: bool  # False: its bytes were stored already, brought from another place or before
    status: Literal["ok", "partial", "failed", "known"]  # how it parsed; "known": it was parsed before
