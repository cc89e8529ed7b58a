"""Whether an anonymised message still is what made the original worth keeping: its structure, defects and limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...message import Attachment, Message

Traits = dict[str, str]  # what is told of a message, by what it is about; no content and no address
_THERE = "there"


def differences(before: Message, after: Message) -> tuple[str, ...]:
    """What distinguishes *after* from *before*, a line each; none when it is as good for a test of the parser."""
    old, new = dict(_traits(before)), dict(_traits(after))
    names = (name for name in (*old, *new.keys() - old.keys()) if old.get(name) != new.get(name))
    return tuple(f"{name}: {old.get(name, 'nothing')} became {new.get(name, 'nothing')}" for name in names)


def _traits(message: Message) -> Iterator[tuple[str, str]]:
    yield "parse", message.parse.status
    yield from ((f"defect {defect}", _THERE) for defect in message.parse.defects)
    yield from ((f"limit {limit}", _THERE) for limit in message.parse.limits)
    for part in message.parts:
        facts = (part.content_type, part.charset, part.encoding, "named" if part.filename else None)
        yield f"part {part.part or 'whole'}", _told(facts, part.size_bytes)
    yield from _attachments(message.attachments)
    for embedded in message.embedded:
        yield f"message in {embedded.part}", _told((), embedded.size_bytes)
        yield from _attachments(embedded.attachments)
    yield "text", f"{message.text_source}, {'cut' if message.text_truncated else 'whole'}"


def _attachments(attachments: Iterable[Attachment]) -> Iterator[tuple[str, str]]:
    for each in attachments:
        facts = (each.content_type, each.kind, each.disposition, "inline" if each.inline else None)
        yield f"attachment {each.part}", _told(facts, each.size_bytes)


def _told(facts: Iterable[str | None], size_bytes: int) -> str:
    return ", ".join((*filter(None, facts), f"{size_bytes:,} bytes"))
