"""How large what is stored is: the documents as BSON, and the keys of every index as MongoDB would have them.

A key is what WiredTiger is given, before it leaves out the beginning that a key has in common with the one before: a
byte for the type of each value, the value, a byte at the end, and the number of the document (MongoDB's KeyString).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import product
from typing import Any

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.database import Database

from ingestd.store.indexes import INDEXES

Document = Mapping[str, Any]

MAIL = ("messages", "originals", "placements", "blobs.files", "blobs.chunks", "seals")
WHOLE = ("messages", "placements")  # which have indexes on more than top-level fields
END_BYTES = 1
NUMBER_BYTES = 5  # of a document, up to 2**34 of them
RAW = CodecOptions[RawBSONDocument](document_class=RawBSONDocument)


def sizes(database: Database[dict[str, Any]]) -> dict[str, Any]:
    """Of each collection: documents, bytes, and of each index the keys and their bytes. Reads everything."""
    return {name: _collection(database, name) for name in MAIL}


def _collection(database: Database[dict[str, Any]], name: str) -> dict[str, Any]:
    indexes = {"_id_": {"key": {"_id": 1}}, **{each.document["name"]: each.document for each in INDEXES.get(name, ())}}
    found = {index: {"keys": 0, "bytes": 0} for index in indexes}
    documents = size = 0
    for each in database.with_options(RAW)[name].find():
        documents, size = documents + 1, size + len(each.raw)
        document = bson.decode(each.raw) if name in WHOLE else each
        for index, options in indexes.items():
            keys = set(_keys(document, options))
            found[index]["keys"] += len(keys)
            found[index]["bytes"] += sum(sum(map(_bytes, key)) + END_BYTES + NUMBER_BYTES for key in keys)
    return {"documents": documents, "bytes": size, "indexes": found}


def _keys(document: Document, index: Document) -> Iterator[tuple[Any, ...]]:
    """The keys of *document*: several where a field is a list, none where the index leaves it out."""
    if all(_holds(document.get(name), wanted) for name, wanted in index.get("partialFilterExpression", {}).items()):
        yield from product(*(_values(document, name.split(".")) for name in index["key"]))


def _holds(value: Any, wanted: Any) -> bool:
    return isinstance(value, str) if wanted == {"$type": "string"} else bool(value == wanted)


def _values(document: Any, path: list[str]) -> list[Any]:
    if isinstance(document, list):
        return [value for each in document for value in _values(each, path)] or [None]
    if not path:
        return [document]
    return _values(document.get(path[0]) if isinstance(document, Mapping) else None, path[1:])


def _bytes(value: Any) -> int:
    if isinstance(value, str):
        return 2 + len(value.encode())  # its type, and a zero behind it
    if isinstance(value, datetime):
        return 9
    if isinstance(value, int) and not isinstance(value, bool):
        return 1 + (2 * abs(int(value))).bit_length() // 8 + 1
    return 1  # null, true, false
