"""The view `mail`: every message with its direction, as seen from the domains that are our own.

Which those are may change, and no document with it: MongoDB computes `direction` whenever somebody reads the view. The
parser knows nothing of it, since a document says what the bytes mean, wherever they lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pymongo.database import Database
from pymongo.errors import OperationFailure

from ..errors import Refused
from . import database as db

Document = dict[str, Any]

NAME = "mail"
SOURCE = "messages"
EXISTS = 48  # NamespaceExists


def pipeline(own_domains: Sequence[str]) -> list[Document]:
    """Add `direction` to messages; null where nobody can tell, as everywhere while no domain is our own.

    A domain that is our own stands for those below it too.
    """
    return [{"$addFields": {"direction": _direction(own_domains) if own_domains else None}}]


def ensure(database: Database[Document], own_domains: Sequence[str]) -> None:
    """Make the view where there is none. One that is there stays: to change it is left to `build`."""
    if _there(database) is None:
        _create(database, own_domains)


def missing(database: Database[Document], own_domains: Sequence[str]) -> list[str]:
    """Return the name of the view unless it is there, as these domains want it. Changes nothing."""
    return [] if _is(database, own_domains) else [NAME]


def build(database: Database[Document], own_domains: Sequence[str]) -> None:
    """Make the view as these domains want it. No document is touched. Raises Refused when a collection has its name."""
    there = _there(database)
    if there is not None and there["type"] != "view":
        raise Refused(f'store: "{NAME}" is a collection there, not our view; rename it, then say: ingestd migrate')
    if there is not None:
        _change(database, own_domains)
    if not _is(database, own_domains):
        _drop(database)  # the embedded server says ok to a change, and leaves a view as it was
        _create(database, own_domains)


def _there(database: Database[Document]) -> Document | None:
    with db.translated():
        return next((dict(found) for found in database.list_collections(filter={"name": NAME})), None)


def _is(database: Database[Document], own_domains: Sequence[str]) -> bool:
    options = (_there(database) or {}).get("options", {})
    return (options.get("viewOn"), options.get("pipeline")) == (SOURCE, pipeline(own_domains))


def _create(database: Database[Document], own_domains: Sequence[str]) -> None:
    with db.translated():
        try:
            database.create_collection(NAME, check_exists=False, viewOn=SOURCE, pipeline=pipeline(own_domains))
        except OperationFailure as error:
            if error.code != EXISTS:  # else another daemon was faster
                raise


def _change(database: Database[Document], own_domains: Sequence[str]) -> None:
    """In one step, so that nobody who reads at this moment finds nothing."""
    wanted = {"viewOn": SOURCE, "pipeline": pipeline(own_domains), "writeConcern": {"w": "majority"}}
    with db.translated():
        database.command({"collMod": NAME, **wanted})


def _drop(database: Database[Document]) -> None:
    with db.translated():
        database.drop_collection(NAME)


def _direction(own_domains: Sequence[str]) -> Document:
    """As the headers say: who wants to be taken for one of us can be."""
    sender = {"$ifNull": ["$from.domain", ""]}
    ours = {"$map": {"input": "$recipient_domains", "as": "domain", "in": _own("$$domain", own_domains)}}
    branches = [
        (_equal(sender, ""), None),
        ({"$not": [_own(sender, own_domains)]}, "inbound"),
        (_equal("$recipient_domains", []), None),
        ({"$allElementsTrue": [ours]}, "internal"),
    ]
    return {"$switch": {"branches": [{"case": case, "then": then} for case, then in branches], "default": "outbound"}}


def _equal(one: object, other: object) -> Document:
    return {"$eq": [one, other]}


def _own(domain: object, own_domains: Sequence[str]) -> Document:
    """Whether *domain* is one of ours, or below one. They are made of letters, digits, hyphens and dots."""
    names = "|".join(name.replace(".", r"\.") for name in sorted(own_domains))
    return {"$regexMatch": {"input": domain, "regex": rf"(^|\.)({names})$"}}
