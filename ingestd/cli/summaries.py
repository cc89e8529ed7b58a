"""How counts of messages are put into words that add up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ..units import duration_text, size_text

if TYPE_CHECKING:
    from ..summary import Summary

REASONS = {  # why a message is left out, in words
    "seen_at_baseline": "already read at first sight",
    "older_than_since": "older than `since`",
    "not_in_program": "not in the search program",
}


def as_data(summary: Summary) -> dict[str, Any]:
    """The summary for JSON: every count, by its name."""
    names = [name for name in type(summary).__slots__ if name not in ("left_out", "earliest")]
    counts = {name: getattr(summary, name) for name in names}
    return {**counts, "left_out": dict(summary.left_out), "remaining": summary.remaining}


def done(summary: Summary) -> Iterator[str]:
    """What became of the selected, if any: `work/INBOX: 214 selected = 209 stored + 5 already known; 2.1 MiB ...`."""
    if not summary.selected:
        return
    became = {
        "stored": summary.stored,
        "already known": summary.copies,
        "vanished before we had them": summary.vanished,
        "failed, tried again later": summary.failed - summary.quarantined,
        "quarantined": summary.quarantined,
        "older than `since`": summary.too_old,
        "remaining": summary.remaining,
    }
    spent = f"{size_text(summary.size_bytes)} in {duration_text(timedelta(seconds=summary.seconds))}"
    noted = {"parsed in part": summary.parsed_partly, "kept raw, unparsed": summary.unparsed}
    notes = "".join(f"; {count:,} {what}" for what, count in noted.items() if count)
    yield f"{_name(summary)}: {summary.selected:,} selected = {added(became)}; {spent}{notes}"


def removed(summary: Summary) -> Iterator[str]:
    """What is done on the server besides: `work/INBOX: 214 stored messages deleted from the server`."""
    how = _how(summary.after_store)
    if summary.removed:
        yield f"{_name(summary)}: {summary.removed:,} stored messages {how}"
    if summary.to_remove:
        yield f"{_name(summary)}: {summary.to_remove:,} messages will be {how} once they are stored"


def _how(after_store: str | None) -> str:
    kind, _, target = (after_store or "").partition(":")
    return f"moved to {target}" if kind == "move" else "deleted from the server"


def seen(summary: Summary) -> str:
    """What lies on the server: `work/INBOX: 18,420 on the server = 214 selected + 18,206 already read ...`."""
    parts = {
        "known before": summary.known_before,
        "selected": summary.selected,
        **{REASONS[why]: count for why, count in summary.left_out.items()},
    }
    return f"{_name(summary)}: {summary.on_server:,} on the server = {added(parts)}"


def advice(summaries: Iterable[Summary]) -> str | None:
    """What to do about mail that the default leaves out, if there is any."""
    count = sum(summary.left_out.get("seen_at_baseline", 0) for summary in summaries)
    if not count:
        return None
    return f'{count:,} already read will not be archived. For a full archive: select = "all".'


def _name(summary: Summary) -> str:
    return f"{summary.account}/{summary.mailbox}"


def added(parts: dict[str, int]) -> str:
    """`209 stored + 5 copies`; parts of nothing are left out, unless all are."""
    return " + ".join(f"{count:,} {what}" for what, count in parts.items() if count) or "0"
