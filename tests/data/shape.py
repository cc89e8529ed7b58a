"""What the published schemas say, and whether documents keep to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib.resources import files
from typing import Any

from bson import Int64
from jsonschema import Draft202012Validator, ValidationError  # type: ignore[import-untyped]  # it ships no types
from jsonschema.validators import extend  # type: ignore[import-untyped]

Document = dict[str, Any]
Schema = dict[str, Any]

COLLECTIONS = ("messages", "originals", "placements", "blobs.files", "accounts", "mailboxes", "seals", "jobs")
COLLECTIONS += ("usage", "alerts")


def schema(collection: str) -> Schema:
    """Return the published schema of *collection*, as an installed package has it."""
    text = (files("ingestd.store") / "schema" / f"{collection}.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def violations(wanted: Schema, document: Document) -> list[str]:
    """Return where *document* leaves its schema; the path and the reason, never the value."""
    errors = Validator(wanted).iter_errors(document)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.validator}" for error in errors]


def undescribed(wanted: Schema, value: object, path: str = "") -> Iterator[str]:
    """Yield the fields of *value* that the schema does not know."""
    if isinstance(value, Mapping) and "properties" in wanted:
        for name, inner in value.items():
            if name in wanted["properties"]:
                yield from undescribed(wanted["properties"][name], inner, f"{path}.{name}")
            else:
                yield f"{path}.{name}"
    if isinstance(value, list):
        for item in value:
            yield from undescribed(wanted.get("items", {}), item, f"{path}[]")


def subschemas(wanted: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield *wanted* and every schema within, each with its path."""
    yield path, wanted
    for name, inner in wanted.get("properties", {}).items():
        yield from subschemas(inner, f"{path}.{name}")
    if "items" in wanted:
        yield from subschemas(wanted["items"], f"{path}[]")


def rows(wanted: Schema) -> list[str]:
    """Return the table rows of docs/data.md for the fields of a collection."""
    return list(_rows(wanted["properties"], {}, ""))


def _rows(properties: Schema, known: dict[str, str], path: str) -> Iterator[str]:
    """A shape that was described already is referred to."""
    for name, field in properties.items():
        within = field.get("items", field).get("properties")
        like = known.get(json.dumps(within)) if within else None
        meaning = field["description"]
        if "enum" in field:
            meaning += f" ({', '.join(f'`{value}`' for value in field['enum'] if value is not None)})"
        null = "yes" if _nullable(field) else ""
        yield f"| `{path}{name}` | {_type_in_words(field, like)} | {null} | {meaning} |"
        if within and not like:
            here = f"{path}{name}[]" if "items" in field else f"{path}{name}"
            known[json.dumps(within)] = here
            yield from _rows(within, known, f"{here}.")


def _type_in_words(field: Schema, like: str | None) -> str:
    types = field.get("bsonType", "string")
    first = types if isinstance(types, str) else types[0]
    if first == "array":
        return f"array of {_type_in_words(field['items'], like)}"
    words = {"long": "int64", "binData": "binary", "object": "document"}.get(first, first)
    return f"{words} like `{like}`" if like else words


def _nullable(field: Schema) -> bool:
    return "null" in field.get("bsonType", ()) or None in field.get("enum", ())


def _of_type(validator: object, types: str | list[str], value: object, wanted: Schema) -> Iterator[ValidationError]:
    """`bsonType`, which JSON Schema does not know."""
    if _type(value) not in ([types] if isinstance(types, str) else types):
        yield ValidationError(f"is {_type(value)}, not {types}")


def _type(value: object) -> str:
    for python, name in TYPES.items():
        if isinstance(value, python):
            return name
    return "null" if value is None else "unknown"


# The narrower type before the wider one: a bool is an int to Python, and so is an int64.
TYPES: dict[type, str] = {
    bool: "bool",
    Int64: "long",
    int: "int",
    str: "string",
    datetime: "date",
    bytes: "binData",
    list: "array",
    dict: "object",
}
Validator = extend(Draft202012Validator, {"bsonType": _of_type})
