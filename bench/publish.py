"""What was measured, into docs/performance.md: `python -m bench.publish [BENCH.json GROWTH.json]`.

The prose stands there; what lies between `<!-- bench: NAME -->` and `<!-- /bench -->` is written anew, and so are the
plots, and the JSON that has every single run.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import estimate, growth_tables, tables
from bench.plot import Bar, Plot, svg

Found = Mapping[str, Any]

DOCS = Path(__file__).parent.parent / "docs"
BENCH, GROWTH = Path("var/bench.json"), Path("var/growth.json")
PAGE, DATA, PROGRAMS, GROWING = "performance.md", "performance.json", "performance.svg", "performance-growth.svg"
SECTION = re.compile(r"(<!-- bench: ([a-z-]+) -->\n).*?(<!-- /bench -->)", re.DOTALL)


def main(words: Sequence[str]) -> int:
    if len(words) not in (0, 2) or any(word.startswith("-") for word in words):
        print(f"{__doc__}\nBy default from {BENCH} and {GROWTH}.")
        return 0 if words in (["-h"], ["--help"]) else 2
    bench, growth = (json.loads(Path(path).read_text()) for path in (words or (BENCH, GROWTH)))
    publish(bench, growth, DOCS)
    return 0


def publish(bench: Found, growth: Found, directory: Path) -> None:
    """Write to *directory*, which has the page already, what was found."""
    page = directory / PAGE
    text = renewed(page.read_text(), sections(bench, growth))
    (directory / DATA).write_text(json.dumps({"bench": bench, "growth": growth}, indent=1) + "\n")
    (directory / PROGRAMS).write_text(svg(list(_plots(bench["runs"]))))
    (directory / GROWING).write_text(svg([_growing(growth["passes"])]))
    page.write_text(text)


def renewed(page: str, sections: Mapping[str, str]) -> str:
    """Put *sections* into their places in *page*; raise ValueError where one has no place, or a place has none."""
    there = [name for _, name, _ in SECTION.findall(page)]
    if sorted(there) != sorted(sections):
        raise ValueError(f"the page has places for {sorted(there)}, and there is {sorted(sections)}")
    return SECTION.sub(lambda found: f"{found[1]}\n{sections[found[2]]}\n\n{found[3]}", page)


def sections(bench: Found, growth: Found) -> dict[str, str]:
    mailboxes = bench["mailboxes"]
    return {
        "machine": _machine(bench["machine"], mailboxes),
        "programs": tables.programs(bench["runs"]),
        "ratios": tables.ratios(bench["runs"]),
        "growth-machine": _measured(growth["machine"]),
        "growth": growth_tables.passes([each for each in growth["passes"] if each["what"] == "new mail"]),
        "new-mail": growth_tables.questions(growth["asked"], "new mail"),
        "known": growth_tables.passes([each for each in growth["passes"] if each["what"] in AGAIN]),
        "poll": growth_tables.questions(growth["asked"], "poll"),
        "indexes": growth_tables.indexes(growth["stored"]),
        "small": _estimated(bench["stored"]["small"], mailboxes["small"]["messages"]),
        "mixed": _estimated(bench["stored"]["mixed"], mailboxes["mixed"]["messages"]),
    }


AGAIN = ("poll", "first pass", "second pass", "hourly look")


def _machine(machine: Found, mailboxes: Mapping[str, Found]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    filled = "; ".join(
        f"{name}: {each['messages']:,} ({each['bytes'] / 1e6:,.0f} MB)" for name, each in mailboxes.items()
    )
    return tables.table(
        ("", ""),
        [
            ("measured", _measured(machine)),
            ("store", machine["store"]),
            ("versions", versions),
            ("messages", filled),
        ],
    )


def _measured(machine: Found) -> str:
    return (
        f"{machine['at']}, {machine['cores']} CPUs ({machine['cpu']}), {machine['memory_bytes'] / (1 << 30):.0f} GiB,"
        f" {machine['system']}; load when it began: {machine['load']}"
    )


def _estimated(stored: Found, messages: int) -> str:
    memory, pages = estimate.in_memory(stored, messages)
    return (
        f"{estimate.estimate(stored, messages)}\n\nIn memory: {memory} of indexes where keys go anywhere; without that,"
        f" up to {pages:.0f} pages are read from disk for each message."
    )


def _plots(runs: Sequence[Found]) -> Iterator[Plot]:
    timed = tables.grouped([run for run in runs if run["peak_bytes"] is None])
    yield Plot("How fast", "messages a second", ("",), _groups(timed, _rate))
    parts = ("the program's own", "the mail server's", "the store's")
    yield Plot("CPU time", "seconds of 1,000 messages", parts, _groups(timed, _cpu))
    peaks = tables.grouped([run for run in runs if run["peak_bytes"] is not None])
    yield Plot("Memory", "MB (PSS), of all processes together at most", ("",), _groups(peaks, _peak))


def _groups(found: Mapping[tuple[str, str], Sequence[Found]], parts: Any) -> dict[str, list[Bar]]:
    names = dict.fromkeys(mailbox for mailbox, _ in found)
    return {
        name: [Bar(program, parts(runs)) for (mailbox, program), runs in found.items() if mailbox == name]
        for name in names
    }


def _rate(runs: Sequence[Found]) -> list[float]:
    return [runs[0]["messages"] / tables.seconds(runs, "wall_seconds")]


def _cpu(runs: Sequence[Found]) -> list[float]:
    names = ("cpu_seconds", "mail_server_cpu_seconds", "store_cpu_seconds")
    return [tables.per_thousand(runs, name) or 0.0 for name in names]


def _peak(runs: Sequence[Found]) -> list[float]:
    return [max(run["peak_bytes"] for run in runs) / 1e6]


def _growing(passes: Sequence[Found]) -> Plot:
    rows = [row for row in growth_tables.grouped(passes).values() if row.what == "new mail"]
    bars = [Bar(f"{row.size:,} there", [1e3 * (row.figures["pass_seconds"] or 0) / row.messages]) for row in rows]
    return Plot("As the store grows", "ms a message", ("",), {"new mail, where so many are stored": bars})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
