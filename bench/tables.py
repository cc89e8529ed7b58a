"""Tables in Markdown, from what was kept in JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

Run = Mapping[str, Any]

AGAINST = ("mbsync, fsync", "mbsync, no fsync", "node-imap + mailparser")
OURS = ("ingestd", "ingestd, store discards")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def programs(runs: Sequence[Run]) -> str:
    """Medians, a row for each program and mailbox."""
    heads = (
        "mailbox",
        "program",
        "messages/s",
        "CPU s of 1,000 messages: its own",
        "mail server's",
        "store's",
        "peak memory, MB",
        "all there, by",
    )
    return table(heads, (_program(mailbox, name, those) for (mailbox, name), those in grouped(runs).items()))


def ratios(runs: Sequence[Run]) -> str:
    """How long ours take, as a multiple of what the others take."""
    found = grouped([run for run in runs if run["peak_bytes"] is None])
    names = [name for name in AGAINST if any(name == program for _, program in found)]
    rows = []
    for (mailbox, name), ours in found.items():
        if name in OURS:
            theirs = [found[mailbox, other] for other in names]
            wall = [f"{seconds(ours, 'wall_seconds') / seconds(each, 'wall_seconds'):.2f}" for each in theirs]
            cpu = [f"{seconds(ours, 'cpu_seconds') / seconds(each, 'cpu_seconds'):.2f}" for each in theirs]
            rows.append([mailbox, name, *(f"{a} / {b}" for a, b in zip(wall, cpu, strict=True))])
    return table(("mailbox", "wall time / own CPU, times that of", *names), rows)


def grouped(runs: Sequence[Run]) -> dict[tuple[str, str], list[Run]]:
    """The runs of each program with each mailbox."""
    keys = dict.fromkeys((run["mailbox"], run["program"]) for run in runs)
    return {key: [run for run in runs if (run["mailbox"], run["program"]) == key] for key in keys}


def seconds(runs: Sequence[Run], name: str) -> float:
    return float(median(run[name] for run in runs))


def per_thousand(runs: Sequence[Run], name: str) -> float | None:
    """The median of so many seconds, of 1,000 messages; None where nobody knows."""
    known = [run[name] for run in runs if run[name] is not None]
    return 1000 * median(known) / runs[0]["messages"] if known else None


def _program(mailbox: str, name: str, runs: Sequence[Run]) -> list[str]:
    timed = [run for run in runs if run["peak_bytes"] is None]
    peaks = [run["peak_bytes"] for run in runs if run["peak_bytes"] is not None]
    return [
        mailbox,
        name,
        f"{timed[0]['messages'] / seconds(timed, 'wall_seconds'):,.0f}" if timed else "",
        *_cpu(timed),
        f"{max(peaks) / 1e6:.0f}" if peaks else "",
        runs[0]["checked_by"],
    ]


def _cpu(runs: Sequence[Run]) -> Iterator[str]:
    for name in ("cpu_seconds", "mail_server_cpu_seconds", "store_cpu_seconds"):
        spent = per_thousand(runs, name) if runs else None
        yield "" if spent is None else f"{spent:.2f}"
