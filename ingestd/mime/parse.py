"""From the bytes of a message to a `Message`: start reading the parser here.

The scan finds the parts, `bodies` sorts them, and what remains is reading single headers and single parts. Bad mail is
a message with defects; too much of anything is a message with limits; what breaks the parser itself is kept raw.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..message import Attachment, Blob, DeliveryReport, Disposition, Embedded, Message, ParseReport, PartInfo, Span
from ..raw import InMemory, Raw
from . import attachments, derived, kinds, reports, subject
from .attachments import Found
from .bodies import Bodies, bodies
from .body import Body, body, is_html, or_in_tnef
from .clean import one_line
from .derived import Budget
from .enclosed import Enclosed, in_text
from .fields import Fields
from .headers import MAIL_PARSER
from .outside import Outsides
from .parts import EMBEDDING, Part
from .scan import EMBEDDED, scan
from .segments import segments
from .text import snippet
from .texts import Texts
from .transfer import start_of

PARSE_VERSION = 3
PARSER = f"ingestd, mail-parser {MAIL_PARSER}"
DEFECTS = 50
DECODED_BYTES = 4 << 20  # of a message within that was sent encoded; what lies beyond is not looked into
_TOKEN = 100  # characters of a word of the header, e.g. a charset


def parse(raw: Raw) -> Message:
    """Say what the bytes mean. The same for the same bytes; memory stays bounded however large they are.

    Nothing about mail is an error. An OSError means that the bytes themselves could not be read, and a MemoryError that
    there was too little room here and now; of a message it says nothing.
    """
    try:
        return _understood(raw)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - a message is never lost because we cannot read it; the reason is kept
        return unparsed(raw, f"parser: {type(error).__name__}")


def unparsed(raw: Raw, reason: str) -> Message:
    """The message kept as it is, with *reason* as its defect, e.g. because reading it took too long."""
    kept, blobs = segments(raw, ())
    report = ParseReport("failed", (one_line(reason)[:_TOKEN],), (), PARSER, PARSE_VERSION)
    return Message(raw.size_bytes, report, kept, blobs)


@dataclass(frozen=True, slots=True)
class _Inner:
    """Where a message is: the outer one, or one within, in a part of it that may have to be decoded first."""

    raw: Raw  # what its offsets count in
    root: Part
    holder: Part | None = None  # the message/rfc822 part around it
    within: Span | None = None  # what *raw* is the content of, if it is not the raw message
    whole: bool = True  # *raw* is all of it, and not its beginning

    def has_all(self, part: Part) -> bool:
        return self.whole or part.end < self.raw.size_bytes


@dataclass(slots=True)
class _Letter:
    """A message, the outer one or one within, with what was found in it."""

    place: _Inner
    body: Body | None  # of the outer message only
    found: tuple[Found, ...]

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        return tuple(found.attachment for found in self.found)


def _understood(raw: Raw) -> Message:
    tree = scan(raw)
    budget, outside = Budget(), Outsides()
    defects, limits = set(tree.defects), set(tree.limits)
    places = _messages(_Inner(raw, tree.root), defects, limits)
    letters = (_letter(place, budget, outside) for place in places)
    outer = next(letters)
    assert outer.body is not None
    said = or_in_tnef(raw, outer.body, outer.found)
    cut = attachments.attachment(raw, said.cut, inline=False) if isinstance(said.cut, Part) else said.cut
    found = [*outer.found, *([cut] if cut else [])]
    embedded = list(_embedded(letters, found))
    defects.update(each.enclosed.defect for each in found if each.enclosed and each.enclosed.defect)
    kept, blobs = segments(raw, found)

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
        embedded=tuple(embedded),
        outside=tuple(outside.found),
        received=hops,
        list_id=fields.list_id(),
        list_unsubscribe=fields.text("list-unsubscribe"),
        dsn=_delivery_report(raw, outer, limits) if kind == "bounce" else None,
        mdn=_disposition(raw, outer) if kind == "receipt" else None,
        calendar=calendar,
        auth_results=fields.auth_results(),
        headers=fields.all(),
        parts=tuple(map(_part_info, tree.root.walk())),
        # Last: the fields know their defects once they have been read.
        parse=_report(
            defects | said.defects | fields.defects,
            limits | said.limits | fields.limits | budget.limits | outside.limits,
        ),
    )


def _messages(place: _Inner, defects: set[str], limits: set[str]) -> Iterator[_Inner]:
    """The message at *place* and all within it; what was wrong with those that had to be decoded is added."""
    yield place
    for part in place.root.walk():
        if part.message:
            yield replace(place, root=part.message, holder=part)
        elif part.content_type in EMBEDDING and (inner := _decoded(place, part, limits)):
            tree = scan(inner.raw, part.level + 1, part.number)
            defects |= tree.defects if inner.whole else frozenset()
            limits |= tree.limits
            yield from _messages(replace(inner, root=tree.root), defects, limits)


def _decoded(place: _Inner, part: Part, limits: set[str]) -> _Inner | None:
    """The message within *part*, which was sent encoded (RFC 2046, section 5.2.1, forbids it), its start in memory."""
    span = part.span(place.raw)
    if span.encoding == "identity":
        return None
    if part.level >= EMBEDDED:
        limits.add("embedded")
        return None
    content, whole = start_of(place.raw, span, DECODED_BYTES)
    whole = whole and place.has_all(part)
    if not whole:
        limits.add("embedded")
    around = derived.within(span, place.within) if place.within else span
    return _Inner(InMemory(content), part, part, around, whole)


def _letter(place: _Inner, budget: Budget, outside: Outsides) -> _Letter:
    raw, leaves = place.raw, _leaves(place)
    outside.add(raw, place.root, whole=place.whole)
    texts = Texts(raw)
    plain = [part for part in leaves.text if not is_html(part)]
    files = {part: lying for part in plain if (lying := tuple(in_text(texts.pieces(part))))}
    said = None if place.holder else body(texts, leaves, files)
    shown = said.content_ids() if said and leaves.attachments else frozenset()
    found = list(_files(raw, leaves, files, shown, budget))
    if place.within:
        found = [_rebased(each, place.within, place.holder) for each in found]
        found = [each for each in found if budget.allows(each.attachment.span)]
    return _Letter(place, said, tuple(found))


def _leaves(place: _Inner) -> Bodies:
    """What the message at *place* consists of, as far as it is there."""
    found = bodies(place.root)
    if not place.whole:
        found.text = [part for part in found.text if place.has_all(part)]
        found.attachments = [part for part in found.attachments if place.has_all(part)]
    return found


def _files(
    raw: Raw, leaves: Bodies, files: Mapping[Part, Sequence[Enclosed]], shown: frozenset[str], budget: Budget
) -> Iterator[Found]:
    """The attachments, each with what lies in it, in the order of the message."""
    for part in sorted([*files, *leaves.attachments], key=lambda part: part.start):
        if part in files:
            yield from derived.from_text(raw, part, files[part], budget)
        else:
            found = attachments.attachment(raw, part, inline=_inline(part, leaves, shown))
            yield found
            yield from derived.from_attachment(raw, found.attachment, budget)


def _rebased(found: Found, holder: Span, part: Part | None) -> Found:
    """What was found in the content of *holder* as something of the message around it."""
    span = derived.within(found.attachment.span, holder)
    source = found.attachment.derived_from or (part.number if part else None)
    attachment = replace(found.attachment, span=span, in_raw=False, derived_from=source)
    return Found(attachment, enclosed=found.enclosed)


def _inline(part: Part, leaves: Bodies, shown: frozenset[str]) -> bool:
    """Whether *part* is seen within the body: the HTML refers to it, or it came along with it, or it asks for it."""
    if part.content_id in shown:
        return True
    if part in leaves.related:
        return part.disposition.main != "attachment"
    return part.disposition.main == "inline" and part.content_type.startswith("image/")


def _embedded(letters: Iterable[_Letter], found: list[Found]) -> Iterator[Embedded]:
    """What is told of the messages within, one at a time; what was found in them is added to *found*."""
    contents = {each.attachment.part: each.attachment for each in found}
    for letter in letters:
        found += letter.found
        contents |= {each.part: each for each in letter.attachments}
        holder = letter.place.holder
        if holder and holder.number in contents:  # else its part is beyond the limits
            yield _told(letter, contents[holder.number])


def _told(letter: _Letter, content: Attachment) -> Embedded:
    fields = Fields(letter.place.root.block)
    senders, date = fields.addresses("from"), fields.moment("date")
    return Embedded(
        part=content.part,
        offset=content.span.start if content.in_raw else None,
        size_bytes=content.size_bytes,
        sha256=content.sha256,
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
    part = _leaf(letter, "text/calendar")
    return reports.calendar(raw, part) if part else None


def _delivery_report(raw: Raw, letter: _Letter, limits: set[str]) -> DeliveryReport | None:
    part = _leaf(letter, "message/delivery-status", "message/global-delivery-status")
    return reports.delivery_report(raw, part, limits) if part else None


def _disposition(raw: Raw, letter: _Letter) -> Disposition | None:
    part = _leaf(letter, "message/disposition-notification", "message/global-disposition-notification")
    return reports.disposition(raw, part) if part else None


def _leaf(letter: _Letter, *content_types: str) -> Part | None:
    return next((leaf for leaf in letter.place.root.leaves() if leaf.content_type in content_types), None)


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
    return one_line((text or "").lower())[:_TOKEN] or None


def _report(defects: Iterable[str], limits: Iterable[str]) -> ParseReport:
    found, cut = tuple(sorted(defects))[:DEFECTS], tuple(sorted(limits))
    status: Literal["ok", "partial"] = "partial" if found or cut else "ok"
    return ParseReport(status, found, cut, PARSER, PARSE_VERSION)
