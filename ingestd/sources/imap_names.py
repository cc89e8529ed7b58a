"""Which mailboxes there are, and which of them a pattern means."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from imapclient.imap_utf7 import encode as modified_utf7
from imapclient.response_parser import parse_response

from .imap_answers import NONSENSE, Answer, Pieces, as_written, head, mailbox_name
from .wire import Broken


@dataclass(frozen=True, slots=True)
class Listed:
    """One mailbox of a LIST answer."""

    name: str
    raw: bytes  # as the server wrote it, for asking it back
    delimiter: str  # "" when the server has no hierarchy
    attributes: frozenset[str]  # lower-case: "\\noselect", "\\sent"

    @property
    def selectable(self) -> bool:
        """Whether it can be opened: not a mere level of the hierarchy, nor a name that no command can hold."""
        return not self.attributes & {"\\noselect", "\\nonexistent"} and not re.search(rb"[\r\n\0]", self.raw)


def listed(answer: Answer) -> Iterator[Listed]:
    """Yield the mailboxes of a LIST answer, each under a name of its own."""
    every = [_listed(pieces) for pieces in answer.responses if head(pieces)[:7].upper() == b"* LIST "]
    spellings = defaultdict[str, set[bytes]](set)
    for one in every:
        spellings[one.name].add(one.raw)
    for one in every:
        # Some servers have the same name in modified UTF-7 and, from programs that did not know better, in UTF-8.
        odd = one.name != "INBOX" and len(spellings[one.name]) > 1 and one.raw != modified_utf7(one.name)
        yield replace(one, name=as_written(one.raw)) if odd else one


def _listed(pieces: Pieces) -> Listed:
    try:
        _, _, attributes, delimiter, name, *_ = parse_response(pieces)
        raw = str(name).encode() if isinstance(name, int) else name
        named = {str(attribute, "ascii").lower() for attribute in attributes}
        return Listed(mailbox_name(raw), raw, str(delimiter or b"", "ascii"), frozenset(named))
    except NONSENSE as error:
        raise Broken("the server sent a mailbox list that makes no sense") from error


def meant(pattern: str, every: Sequence[Listed]) -> list[str]:
    """Return the names that *pattern* means.

    It may hold `*` and `%` as in LIST, with `/` for the server's own delimiter, or be a special use such as `\\Sent`.
    """
    if pattern.startswith("\\"):
        return [one.name for one in every if pattern.lower() in one.attributes]
    return [one.name for one in every if one.name == pattern or _matches(pattern, one)]


def is_name(pattern: str) -> bool:
    """Whether *pattern* can only mean one mailbox."""
    return not re.search(r"[*%]|^\\", pattern)


def _matches(pattern: str, one: Listed) -> bool:
    delimiter = re.escape(one.delimiter)
    wild = {"*": ".*", "%": f"[^{delimiter}]*" if delimiter else ".*", "/": delimiter or "/"}
    expression = "".join(wild.get(letter) or re.escape(letter) for letter in pattern)
    return re.fullmatch(expression, one.name, re.S | (re.I if one.name == "INBOX" else 0)) is not None
