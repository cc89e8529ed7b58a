"""Which parts of a message are its body, and which are attachments. Every leaf is one of them: none gets lost.

The body is what a mail program shows at once: text parts without a name, the root of a multipart/related, and of a
multipart/alternative the best plain and the best HTML version. Messages within are attachments, their text is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .parts import Part


@dataclass(slots=True)
class Bodies:
    """The leaves of a message. *text* may hold HTML parts too, where no plain version of them exists."""

    text: list[Part] = field(default_factory=list)
    html: list[Part] = field(default_factory=list)
    attachments: list[Part] = field(default_factory=list)
    related: set[Part] = field(default_factory=set)  # attachments that came along with a root they belong to

    def add(self, other: Bodies) -> None:
        self.text += other.text
        self.html += other.html
        self.attachments += other.attachments
        self.related |= other.related


def bodies(root: Part) -> Bodies:
    """Sort the leaves of the message whose root part is *root*, in the order of the bytes."""
    found = _sorted(root, named=not root.disposition.main)
    found.attachments.sort(key=lambda part: part.start)
    return found


def _sorted(part: Part, *, named: bool = False) -> Bodies:
    if not part.parts:
        return _leaf(part, named=named)
    if part.content_type == "multipart/alternative":
        return _alternative(part)
    if part.content_type == "multipart/related":
        return _related(part)
    found = Bodies()
    for child in part.parts:
        found.add(_sorted(child))
    return found


def _leaf(part: Part, *, named: bool) -> Bodies:
    """A text part is body unless it is sent as a file. With *named*, a name alone does not make it one."""
    kind = part.content_type
    if kind.startswith("multipart/"):
        # One whose boundary never came is all preamble: text. One beyond the limits is kept as a file.
        kind = "" if part.beyond else "text/plain"
    if kind not in ("text/plain", "text/html") or part.disposition.main == "attachment":
        return Bodies(attachments=[part])
    if not named and part.filename:
        return Bodies(attachments=[part])
    return Bodies(text=[part], html=[part] if kind == "text/html" else [])


def _alternative(part: Part) -> Bodies:
    choices = [_sorted(child, named=True) for child in part.parts]
    plain, rich = _plainest(choices), next((choice for choice in reversed(choices) if choice.html), None)
    found = Bodies()
    for choice in choices:
        shown = {*(choice.text if choice is plain else ()), *(choice.html if choice is rich else ())}
        found.attachments += choice.attachments
        found.attachments += [leaf for leaf in choice.text if leaf not in shown]
        found.related |= choice.related
    found.html = rich.html if rich else []
    found.text = plain.text if plain else found.html
    return found


def _plainest(choices: list[Bodies]) -> Bodies | None:
    """The last version in nothing but plain text: the sender's best comes last (RFC 2046, section 5.1.4)."""
    some = [choice for choice in choices if any(not _is_html(leaf) for leaf in choice.text)]
    pure = [choice for choice in some if not choice.html and not choice.attachments]
    return pure[-1] if pure else some[0] if some else None


def _related(part: Part) -> Bodies:
    start = (part.type.text("start") or "").strip("<> ")
    root = next((child for child in part.parts if start and child.content_id == start), part.parts[0])
    found = _sorted(root, named=True)
    along = [leaf for child in part.parts if child is not root for leaf in child.leaves()]
    found.attachments += along
    found.related |= set(along)
    return found


def _is_html(part: Part) -> bool:
    return part.content_type == "text/html"
