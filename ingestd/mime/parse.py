"""From the bytes of a message to a `Message`: start reading the parser here.

The scan finds the parts, `bodies` sorts them, and what remains is reading single headers and single parts. Bad mail is
a message with defects; too much of anything is a message with limits; what breaks the parser itself is kept raw.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ..message import Attachment, Blob, Embedded, Message, ParseReport, PartInfo
from ..raw import Raw
from . import attachments, kinds, reports, subject
from .attachments import Found
from .bodies import Bodies, bodies
from .body import Body, body
from .clean import one_line
from .fields import Fields
from .headers import MAIL_PARSER
from .parts import Part
from .scan import scan
from .segments import segments
from .text import snippet

PARSE_VERSION = 1
PARSER = f"ingestd, mail-parser {MAIL_PARSER}"
DEFECTS = 50
_TOKEN = 100  # characters of a word of the header, e.g. a charset


def parse(raw: Raw) -> Message:
    """Say what the bytes mean. The same for the same bytes; memory stays bounded however large they are.

    Nothing about mail is an error. An OSError means that the bytes themselves could not be read.
    """
    try:
        return _understood(raw)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - a message is never lost because we cannot read it; the reason is kept
        reason = f"parser: {type(error).__name__}"
    return unparsed(raw, reason)  # outside the handler: its traceback holds on to what may have filled the memory


def unparsed(raw: Raw, reason: str) -> Message:
    """The message kept as it is, with *reason* as its defect, e.g. because reading it took too long."""
    kept, blobs = segments(raw, ())
    report = ParseReport("failed", (one_line(reason)[:_TOKEN],), (), PARSER, PARSE_VERSION)
    return Message(raw.size_bytes, report, kept, blobs)


@dataclass(slots=True)
class _Letter:
    """One message of the tree, the outer one or one within, with what was found in it."""

    root: Part
    holder: Part | None  # the message/rfc822 part around it
    body: Body | None  # of the outer message only
    found: tuple[Found, ...]

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        return tuple(found.attachment for found in self.found)


def _understood(raw: Raw) -> Message:
    tree = scan(raw)
    outer, *within = (_letter(raw, root, holder) for root, holder in _messages(tree.root))
    said = outer.body
    assert said is not None
    cut = attachments.attachment(raw, said.cut, inline=False) if said.cut else None
    found = [*outer.found, *(found for letter in within for found in letter.found), *([cut] if cut else [])]
    kept, blobs = segments(raw, found)
    digests = {each.attachment.part: each.attachment.sha256 for each in found}

    fields = Fields(tree.root.block)
    date, hops = fields.moment("date"), fields.hops()
    received_at = hops[0].date if hops else None
    senders, references = fields.addresses("from"), fields.references()
    message_id, in_reply_to = fields.id("message-id"), fields.id("in-reply-to")
    heading = fields.text("subject")
    calendar = _calendar(raw, outer)
    kind = kinds.kind(tree.root, fields, outer.attachments, invitation="method" in dict(calendar or ()))
    return Message(
        size_bytes=raw.size_bytes,
        segments=kept,
        blobs=_blobs(found, blobs),
        message_id=message_id,
        in_reply_to=in_reply_to,
        references=references,
        thread_id=references[0] if references else in_reply_to or message_id,
        subject=heading,
        base_subject=None if heading is None else subject.base(heading),
        from_=next(iter(senders), None),
        authors=senders if len(senders) > 1 else (),
        sender=next(iter(fields.addresses("sender")), None),
        reply_to=fields.addresses("reply-to"),
        to=fields.addresses("to"),
        cc=fields.addresses("cc"),
        bcc=fields.addresses("bcc"),
        date=date.utc if date else received_at,
        date_source="header" if date else "received" if received_at else "none",
        sent_at=date.utc if date else None,
        utc_offset_minutes=date.offset_minutes if date else None,
        received_at=received_at,
        kind=kind,
        snippet=snippet(said.text),
        text=said.text,
        text_source=said.source,
        text_truncated=said.cut is not None,
        text_blob=cut.attachment.sha256 if cut else None,
        html=said.html,
        attachments=outer.attachments,
        embedded=tuple(_embedded(letter, digests) for letter in within),
        received=hops,
        list_id=fields.list_id(),
        list_unsubscribe=fields.text("list-unsubscribe"),
        dsn=_delivery_status(raw, outer) if kind == "bounce" else None,
        calendar=calendar,
        auth_results=fields.auth_results(),
        headers=fields.all(),
        parts=tuple(map(_part_info, tree.root.walk())),
        # Last: the fields know their defects once they have been read.
        parse=_report(tree.defects | said.defects | fields.defects, tree.limits | said.limits | fields.limits),
    )


def _messages(root: Part) -> Iterable[tuple[Part, Part | None]]:
    yield root, None
    for part in root.walk():
        if part.message:
            yield part.message, part


def _letter(raw: Raw, root: Part, holder: Part | None) -> _Letter:
    leaves = bodies(root)
    said = None if holder else body(raw, leaves)
    shown = said.content_ids() if said else frozenset()
    found = (attachments.attachment(raw, part, inline=_inline(part, leaves, shown)) for part in leaves.attachments)
    return _Letter(root, holder, said, tuple(found))


def _inline(part: Part, leaves: Bodies, shown: frozenset[str]) -> bool:
    """Whether *part* is seen within the body: the HTML refers to it, or it came along with it, or it asks for it."""
    if part.content_id in shown:
        return True
    if part in leaves.related:
        return part.disposition.main != "attachment"
    return part.disposition.main == "inline" and part.content_type.startswith("image/")


def _embedded(letter: _Letter, digests: dict[str, str]) -> Embedded:
    holder = letter.holder
    assert holder is not None
    fields = Fields(letter.root.block)
    senders, date = fields.addresses("from"), fields.moment("date")
    return Embedded(
        part=holder.number,
        offset=holder.body,
        size_bytes=holder.end - holder.body,
        sha256=digests[holder.number],
        message_id=fields.id("message-id"),
        subject=fields.text("subject"),
        from_=next(iter(senders), None),
        date=date.utc if date else None,
        attachments=letter.attachments,
    )


def _blobs(found: Iterable[Found], more: Iterable[Blob]) -> tuple[Blob, ...]:
    contents = (each.attachment for each in found if not each.attachment.in_raw)
    needed = {blob.sha256: blob for blob in more}
    needed |= {content.sha256: Blob(content.sha256, content.size_bytes, content.span) for content in contents}
    return tuple(sorted(needed.values(), key=lambda blob: blob.sha256))


def _calendar(raw: Raw, letter: _Letter) -> reports.Pairs | None:
    part = next((leaf for leaf in letter.root.leaves() if leaf.content_type == "text/calendar"), None)
    return reports.calendar(raw, part) if part else None


def _delivery_status(raw: Raw, letter: _Letter) -> reports.Pairs | None:
    wanted = ("message/delivery-status", "message/global-delivery-status")
    part = next((leaf for leaf in letter.root.leaves() if leaf.content_type in wanted), None)
    return reports.delivery_status(raw, part) if part else None


def _part_info(part: Part) -> PartInfo:
    return PartInfo(
        part=part.number,
        content_type=part.content_type[:_TOKEN],
        charset=_token(part.type.text("charset")),
        encoding=_token(part.encoding),
        filename=one_line(part.filename or "")[: attachments.FILENAME] or None,
        size_bytes=part.end - part.body,
    )


def _token(text: str | None) -> str | None:
    return one_line(text or "").lower()[:_TOKEN] or None


def _report(defects: Iterable[str], limits: Iterable[str]) -> ParseReport:
    found, cut = tuple(sorted(defects))[:DEFECTS], tuple(sorted(limits))
    status: Literal["ok", "partial"] = "partial" if found or cut else "ok"
    return ParseReport(status, found, cut, PARSER, PARSE_VERSION)
