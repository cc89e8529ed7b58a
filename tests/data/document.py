"""docs/data.md as the tests read it: its queries, its tables, its Python."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bson.json_util import JSONOptions, loads

TEXT = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
QUERY = re.compile(
    r"^### (?P<title>[^\n]+)\n\n"
    r"```js\ndb\.(?P<collection>\w+)\.aggregate\((?P<pipeline>[^`]+)\)\n```\n\n"
    r"(?P<answer>.+?)\n\n",
    re.MULTILINE | re.DOTALL,
)
INDEX = re.compile(r"`\{ ([^`]+) \}`")
COMMENT = re.compile(r" // <- [\w' -]+$", re.MULTILINE)
DATE = re.compile(r'ISODate\(("[^"]+")\)')


@dataclass(frozen=True, slots=True)
class Query:
    """One documented question."""

    collection: str
    pipeline: list[dict[str, Any]]
    indexes: tuple[dict[str, int], ...]  # that the sentence below it names


def queries() -> dict[str, Query]:
    """Return every documented query by its title, with its example values."""
    return {found["title"]: _query(found) for found in QUERY.finditer(TEXT)}


def table(collection: str) -> list[str]:
    """Return the rows that describe the fields of *collection*."""
    section = TEXT.partition(f"\n## {collection}\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| `")]


def python() -> str:
    """Return all Python that is shown: how to get the bytes back, and how to follow the log."""
    return "\n".join(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))


def _query(found: re.Match[str]) -> Query:
    """Read what mongosh takes: JSON with comments and with ISODate."""
    written = DATE.sub(r'{"$date": \1}', COMMENT.sub("", found["pipeline"]))
    pipeline = loads(written, json_options=JSONOptions(tz_aware=True))
    return Query(found["collection"], pipeline, tuple(_index(keys) for keys in INDEX.findall(found["answer"])))


def _index(keys: str) -> dict[str, int]:
    pairs = (key.rsplit(":", 1) for key in keys.split(", "))
    return {name.strip('"'): int(order) for name, order in pairs}
