"""What a person would expect of the hard messages, as JSON beside these tests, and whether the parser gives it.

`python -m tests.mime.expectations` writes the table of them into docs/parser.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ingestd.message import DeliveryReport, Message
from ingestd.mime.parse import parse
from ingestd.mime.transfer import start_of
from ingestd.raw import InMemory

HERE = Path(__file__).parent
MAIL = HERE.parents[1] / "ingestd" / "demo" / "mail"
DOCUMENT = HERE.parents[1] / "docs" / "parser.md"
NAMES = sorted(path.stem for path in (HERE / "expected").glob("*.json"))
BEGIN, END = "<!-- hard messages -->\n", "<!-- end -->\n"


def expectation(name: str) -> tuple[str, dict[str, Any]]:
    """Return in words, and as facts, what is expected of the message *name*."""
    read = json.loads((HERE / "expected" / f"{name}.json").read_text(encoding="utf-8"))
    return read["expectation"], read["message"]


def unmet(name: str) -> list[str]:
    """Return the facts that the parser does not give."""
    raw = InMemory((MAIL / f"{name}.eml").read_bytes())
    message = parse(raw)
    return [fact for fact, expected in expectation(name)[1].items() if not _met(raw, message, fact, expected)]


def table() -> str:
    """Return the table of all of them, in Markdown."""
    rows = ["| Message | What a person would expect | Given |", "|---|---|---|"]
    for name in NAMES:
        words, facts = expectation(name)
        missing = unmet(name)
        given = f"all but {', '.join(missing)}" if missing else f"all: {', '.join(facts)}"
        rows.append(f"| `{name}` | {words} | {given} |")
    return "\n".join(rows) + "\n"


def document() -> str:
    """Return docs/parser.md with the table as it should be."""
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


def _met(raw: InMemory, message: Message, fact: str, expected: Any) -> bool:
    text = " ".join(message.text.split())
    if fact.startswith("attachments"):
        return len(message.attachments) == len(expected) and all(
            map(_attachment_of(raw), message.attachments, expected)
        )
    checks: dict[str, Callable[[], bool]] = {
        "text_begins": lambda: text.startswith(expected),
        "text_has": lambda: all(" ".join(each.split()) in text for each in expected),
        "text_has_not": lambda: not any(each in text for each in expected),
        "header_names_have": lambda: {*expected} <= {header.name for header in message.headers},
        "defects_have": lambda: {*expected} <= {*message.parse.defects},
    }
    if check := checks.get(fact):
        return check()
    return bool(_told(message, text)[fact] == expected)


def _told(message: Message, text: str) -> dict[str, Any]:
    """The facts that are compared as they are."""
    return {
        "subject": message.subject,
        "message_id": message.message_id,
        "from": message.from_.address if message.from_ else None,
        "from_name": message.from_.name if message.from_ else None,
        "to": [address.address for address in message.to],
        "to_names": [address.name for address in message.to],
        "date": message.date.strftime("%Y-%m-%dT%H:%M:%SZ") if message.date else None,
        "kind": message.kind,
        "dsn": _report(message.dsn) if message.dsn else None,
        "text": text,
        "html": message.html,
        "embedded": [embedded.subject for embedded in message.embedded],
        "outside": [f"{each.part} {each.place}: {' '.join(each.text.split())}".strip() for each in message.outside],
        "parts": [f"{part.part} {part.content_type}".strip() for part in message.parts],
        "limits": list(message.parse.limits),
    }


def _report(dsn: DeliveryReport) -> dict[str, Any]:
    recipients = [
        {
            "action": each.action,
            "status": each.status,
            "recipient": each.recipient.address if each.recipient else None,
            "diagnostic": each.diagnostic,
        }
        for each in dsn.recipients
    ]
    return {"reporting_mta": dsn.reporting_mta, "recipients": recipients}


def _attachment_of(raw: InMemory) -> Callable[[Any, dict[str, Any]], bool]:
    def met(attachment: Any, expected: dict[str, Any]) -> bool:
        content, _ = start_of(raw, attachment.span, 1000)
        for fact, value in expected.items():
            if fact == "begins":
                given: Any = value if content.hex().startswith(value) else content.hex()
            else:
                given = content.decode() if fact == "content" else getattr(attachment, fact)
            if given != value:
                return False
        return True

    return met


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
