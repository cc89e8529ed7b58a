"""What kind of message it is: written by a person, sent to a list, or by a machine, and then for what."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..message import Attachment, Kind
from .fields import Fields
from .parts import Part

# The name that reporters of DMARC give their attachment (RFC 7489, section 7.2.1.1).
_DMARC = re.compile(r"[^!\s]+![^!\s]+!\d+!\d+(?:![^!\s]*)?\.(?:xml|xml\.gz|zip|gz)", re.IGNORECASE)


def kind(root: Part, fields: Fields, attachments: Sequence[Attachment], *, invitation: bool) -> Kind:
    """The first kind of the list that fits; most of them are said by a single header."""
    report = _report_type(root)
    if report == "delivery-status" or _bounced(fields):
        return "bounce"
    if report == "disposition-notification":
        return "receipt"
    if invitation:
        return "calendar"
    if report is not None or any(_DMARC.fullmatch(attachment.filename or "") for attachment in attachments):
        return "report"
    precedence = fields.token("precedence")
    if _answered_by_itself(fields, precedence):
        return "auto_reply"
    if "list-id" in fields or "list-post" in fields:
        return "list"
    return "bulk" if precedence in ("bulk", "junk") or "list-unsubscribe" in fields else "personal"


def _report_type(root: Part) -> str | None:
    """What a multipart/report, signed or not, reports: by its parameter or, where that is missing, its second part."""
    if root.content_type == "multipart/signed" and root.parts:
        root = root.parts[0]
    if root.content_type != "multipart/report":
        return None
    second = root.parts[1].content_type if len(root.parts) > 1 else ""
    return (root.type.text("report-type") or second.removeprefix("message/")).lower()


def _bounced(fields: Fields) -> bool:
    sent_by_nobody = (fields.text("return-path") or "").replace(" ", "") == "<>"
    return sent_by_nobody and "mailer-daemon" in (fields.text("from") or "").lower()


def _answered_by_itself(fields: Fields, precedence: str) -> bool:
    automatic = fields.token("auto-submitted")
    return bool(automatic and automatic != "no") or "x-autoreply" in fields or precedence == "auto_reply"
