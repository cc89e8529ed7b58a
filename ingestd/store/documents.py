"""From values to the documents kept in MongoDB. Pure; no database here.

Scalars are always present and null if unknown; arrays are always present. Field names are ours alone: nothing that a
sender wrote ever becomes a key. The published shape is `schema/*.json`; `docs/data.md` explains it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from bson import Int64

from ..message import (
    Address,
    Attachment,
    DeliveryReport,
    DeliveryStatus,
    Disposition,
    Embedded,
    Hop,
    Message,
    Outside,
    RawMessage,
    Segment,
)
from ..raw import Raw

SCHEMA = 1

Document = dict[str, Any]


def message(
    parsed: Message, raw: RawMessage, canonical: str | None, now: datetime, authserv_ids: Collection[str] = ()
) -> Document:
    """The slim document that data teams query, without what changes later: see `messages.seen`."""
    return {
        "account": raw.place.account,
        "sha256": raw.sha256,
        "size_bytes": Int64(parsed.size_bytes),
        **understood(parsed, raw.sha256, authserv_ids),
        "canonical": canonical,
        "same_as": None,
        "ingested_at": now,
    }


def understood(parsed: Message, sha256: str, authserv_ids: Collection[str] = ()) -> Document:
    """Those of its fields that follow from the bytes and from the version of the parser: parsing again renews them."""
    everyone = [*parsed.to, *parsed.cc, *parsed.bcc]
    return {
        "schema": SCHEMA,
        "message_id": parsed.message_id,
        "in_reply_to": parsed.in_reply_to,
        "references": list(parsed.references),
        "thread_id": parsed.thread_id or sha256,
        "subject": parsed.subject,
        "base_subject": parsed.base_subject,
        "from": _address(parsed.from_),
        "authors": [_address(author) for author in parsed.authors],
        "sender": _address(parsed.sender),
        "reply_to": [_address(address) for address in parsed.reply_to],
        "to": [_address(address) for address in parsed.to],
        "cc": [_address(address) for address in parsed.cc],
        "bcc": [_address(address) for address in parsed.bcc],
        "recipients": _distinct(address.address for address in everyone),
        "recipient_domains": _distinct(address.domain for address in everyone),
        "date": parsed.date,
        "date_source": parsed.date_source,
        "sent_at": parsed.sent_at,
        "utc_offset_minutes": parsed.utc_offset_minutes,
        "received_at": parsed.received_at,
        "kind": parsed.kind,
        "lang": parsed.lang,
        "snippet": parsed.snippet,
        "text": parsed.text,
        "text_source": parsed.text_source,
        "text_truncated": parsed.text_truncated,
        "text_blob": parsed.text_blob,
        "has_attachments": not all(attachment.inline for attachment in parsed.attachments),
        "attachment_count": len(parsed.attachments),
        "attachment_bytes": Int64(sum(attachment.size_bytes for attachment in parsed.attachments)),
        "attachments": [_attachment(attachment) for attachment in parsed.attachments],
        "embedded": [_embedded(embedded) for embedded in parsed.embedded],
        "outside": [_outside(outside) for outside in parsed.outside],
        "received": [_hop(hop) for hop in parsed.received],
        "list": _list(parsed),
        "dsn": _dsn(parsed.dsn),
        "mdn": _mdn(parsed.mdn),
        "calendar": _calendar(parsed),
        "auth": _auth(parsed, authserv_ids),
        "parse": {
            "status": parsed.parse.status,
            "defects": list(parsed.parse.defects),
            "limits": list(parsed.parse.limits),
            "parser": parsed.parse.parser,
            "version": parsed.parse.version,
        },
        "blobs": [blob.sha256 for blob in parsed.blobs],
    }


def original(parsed: Message, raw: RawMessage, content: Raw) -> Document:
    """What is large and rarely read: the HTML, every header, and the raw message as segments."""
    return {
        "account": raw.place.account,
        "sha256": raw.sha256,
        "size_bytes": Int64(parsed.size_bytes),
        **taken_apart(parsed, content),
    }


def taken_apart(parsed: Message, content: Raw) -> Document:
    """Those of its fields that follow from the bytes and from the version of the parser."""
    return {
        "html": parsed.html,
        "headers": [{"name": header.name, "value": header.value} for header in parsed.headers],
        "parts": [
            {
                "part": part.part,
                "content_type": part.content_type,
                "charset": part.charset,
                "encoding": part.encoding,
                "filename": part.filename,
                "size_bytes": Int64(part.size_bytes),
            }
            for part in parsed.parts
        ],
        "raw": [_segment(segment, content) for segment in parsed.segments],
    }


def placement(raw: RawMessage, ack: str | None) -> Document:
    """The facts of a stored place; the ledger adds its times."""
    place = raw.place
    return {
        "mailbox": place.mailbox,
        "epoch": place.epoch,
        "uid": Int64(place.uid),
        **held(raw),
        "state": "stored",
        "reason": None,
        "next_try": None,
        **whereabouts(raw),
        "via": raw.via,
        "ack": "pending" if ack else None,
        "ack_action": ack,
        "asked_at": None,
    }


def held(raw: RawMessage) -> Document:
    """Which message lies at a place."""
    return {"message": raw.id, "digest": raw.sha256, "size_bytes": Int64(raw.content.size_bytes)}


def whereabouts(raw: RawMessage) -> Document:
    """What the mailbox says about the message at a place."""
    return {
        "server_size_bytes": None if raw.server_size_bytes is None else Int64(raw.server_size_bytes),
        "vanished_at": None,
        "present": True,
        "flags": list(raw.flags),
        "labels": list(raw.labels),
        "internal_date": raw.internal_date,
        "object_id": raw.object_id,
    }


def _segment(segment: Segment, content: Raw) -> Document:
    size = Int64(segment.end - segment.start)
    if segment.sha256 is None:
        return {"size_bytes": size, "literal": content.read(segment.start, segment.end)}
    if segment.encoding == "identity":
        return {"size_bytes": size, "blob": segment.sha256, "encoding": "identity"}
    return {
        "size_bytes": size,
        "blob": segment.sha256,
        "encoding": "base64",
        "line_length": segment.line_length,
        "line_end": segment.line_end.decode("ascii"),
    }


def _address(address: Address | None) -> Document | None:
    if address is None:
        return None
    return {"name": address.name, "address": address.address, "domain": address.domain}


def _attachment(attachment: Attachment) -> Document:
    return {
        "part": attachment.part,
        "filename": attachment.filename,
        "filename_safe": attachment.filename_safe,
        "extension": attachment.extension,
        "content_type": attachment.content_type,
        "kind": attachment.kind,
        "disposition": attachment.disposition,
        "content_id": attachment.content_id,
        "inline": attachment.inline,
        "size_bytes": Int64(attachment.size_bytes),
        "sha256": attachment.sha256,
        "offset": Int64(attachment.span.start) if attachment.in_raw else None,
        "derived_from": attachment.derived_from,
    }


def _embedded(embedded: Embedded) -> Document:
    return {
        "part": embedded.part,
        "offset": None if embedded.offset is None else Int64(embedded.offset),
        "size_bytes": Int64(embedded.size_bytes),
        "sha256": embedded.sha256,
        "message_id": embedded.message_id,
        "subject": embedded.subject,
        "from": _address(embedded.from_),
        "date": embedded.date,
        "attachments": [_attachment(attachment) for attachment in embedded.attachments],
    }


def _outside(outside: Outside) -> Document:
    return {
        "part": outside.part,
        "place": outside.place,
        "text": outside.text,
        "size_bytes": Int64(outside.size_bytes),
    }


def _hop(hop: Hop) -> Document:
    return {"by": hop.by, "from": hop.from_, "protocol": hop.protocol, "id": hop.id, "date": hop.date}


def _list(parsed: Message) -> Document | None:
    if parsed.list_id is None and parsed.list_unsubscribe is None:
        return None
    return {"id": parsed.list_id, "unsubscribe": parsed.list_unsubscribe}


def _dsn(report: DeliveryReport | None) -> Document | None:
    """The report, with the facts of its first recipient at hand: most have but one."""
    if report is None:
        return None
    recipients = [_delivery(status) for status in report.recipients]
    first = recipients[0] if recipients else _delivery(DeliveryStatus(None, None, None, None))
    return {**first, "reporting_mta": report.reporting_mta, "recipients": recipients}


def _delivery(status: DeliveryStatus) -> Document:
    return {"action": status.action, "status": status.status, **_who(status.recipient), "diagnostic": status.diagnostic}


def _mdn(found: Disposition | None) -> Document | None:
    if found is None:
        return None
    return {
        "disposition": found.type,
        **_who(found.recipient),
        "original_message_id": found.original_message_id,
    }


def _who(recipient: Address | None) -> Document:
    if recipient is None:
        return {"recipient": None, "recipient_domain": None}
    return {"recipient": recipient.address, "recipient_domain": recipient.domain or None}


def _calendar(parsed: Message) -> Document | None:
    if parsed.calendar is None:
        return None
    facts = dict(parsed.calendar)
    return {key: facts.get(key) for key in ("method", "uid", "start", "end", "timezone", "organizer")}


def _auth(parsed: Message, authserv_ids: Collection[str]) -> Document | None:
    """What the first trusted server found. Any sender can write this header, so only named servers are believed."""
    trusted = next((server for server, _, _ in parsed.auth_results if server.lower() in authserv_ids), None)
    if trusted is None:
        return None
    found = {method: result for server, method, result in reversed(parsed.auth_results) if server == trusted}
    return {
        "spf": found.get("spf"),
        "dkim": found.get("dkim"),
        "dmarc": found.get("dmarc"),
        "arc": found.get("arc"),
        "authserv_id": trusted.lower(),
    }


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(value for value in values if value))
