"""All that an archive comes to, so that one with a history can be held against one that nothing ever disturbed."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise
from typing import Any

import bson
from pymongo.database import Database

from ingestd.archive import rebuild
from ingestd.config import load
from ingestd.daemon import reading
from ingestd.store.seals import chained
from tests.e2e.conftest import Site

Document = dict[str, Any]

WHOLE = {"dying": {"$exists": False}}  # not begun by a process that died, for a message that went before it was stored
MOMENTS = ("ingested_at", "modified_at")  # of a message: when, not what


def state(database: Database[Document]) -> Document:
    """What is stored, without the moments it was stored at; each value can be compared on its own.

    Everything is read in full: each message is rebuilt, each blob digested, the chain of seals computed anew.
    """
    messages = list(database.messages.find())
    return {
        "places": {p["_id"]: (p["state"], p["digest"], p["present"]) for p in database.placements.find()},
        "messages": {m["_id"]: {key: m[key] for key in m if key not in MOMENTS} for m in messages},
        "originals": {o["_id"]: sha256(bson.encode(o)).hexdigest() for o in database.originals.find()},
        "rebuilt": {m["_id"]: _digest(rebuild.original(database, m)) for m in messages},
        "blobs": {f["_id"]: _digest(rebuild.blob(database, f["_id"])) for f in database["blobs.files"].find(WHOLE)},
        "chunks": sorted(chunk["_id"] for chunk in database["blobs.chunks"].find({}, {"_id": 1})),
        "sealed": sorted(place["_id"] for seal in database.seals.find({"kind": "stored"}) for place in seal["places"]),
        "mailboxes": {m["_id"]: (m["done"], m["selected"], m["left_out"]) for m in database.mailboxes.find()},
    }


def faults(found: Document) -> list[str]:
    """What is wrong with a state all by itself, without anything to hold it against."""
    stored = {place for place, (state, _, _) in found["places"].items() if state == "stored"}
    digests = {digest for state, digest, _ in found["places"].values() if state == "stored"}
    return [
        *(f"{place} is sealed {found['sealed'].count(place)} times" for place in _repeated(found["sealed"])),
        *(f"{place} is stored and not sealed" for place in stored - set(found["sealed"])),
        *(f"{place} is sealed and not stored" for place in set(found["sealed"]) - stored),
        *(f"{message} is rebuilt otherwise" for message, got in found["rebuilt"].items() if not message.endswith(got)),
        *(f"blob {name} holds something else" for name, got in found["blobs"].items() if name != got),
        *(
            f"{message['_id']} names blobs that are not whole"
            for message in found["messages"].values()
            if set(message["blobs"]) - found["blobs"].keys()
        ),
        *(f"{digest} has a place and no message" for digest in digests - set(found["rebuilt"].values())),
        *(f"{message} has no original" for message in found["messages"].keys() ^ found["originals"].keys()),
    ]


def broken_seals(database: Database[Document]) -> list[str]:
    """The seals that do not follow from the ones before."""
    broken, last = [], dict[str, Document]()
    for seal in database.seals.find().sort("_id"):
        before = last.get(seal["account"], {"n": 0, "hash": None, "token": 0})
        whole = seal["hash"] == chained(seal) and seal["previous"] == before["hash"]
        if not whole or seal["n"] != before["n"] + 1 or seal["token"] < before["token"]:
            broken.append(seal["_id"])
        last[seal["account"]] = seal
    return broken


def of(site: Site) -> Document:
    """The state of the archive of *site*, which has to be in order."""
    with reading(load(site.config)) as database:
        found = state(database)
        assert faults(found) == []
        assert broken_seals(database) == []
    return found


def flags(site: Site) -> dict[str, dict[int, list[str]]]:
    """What the mail server keeps: the flags of each message, by mailbox and UID."""
    client, found = site.client(), dict[str, dict[int, list[str]]]()
    for _, _, name in client.list_folders():
        client.select_folder(name, readonly=True)
        uids = client.search("ALL")
        answers = client.fetch(uids, ["FLAGS"]) if uids else {}
        found[name] = {
            uid: sorted(flag.decode() for flag in answer[b"FLAGS"] if flag != rb"\Recent")
            for uid, answer in answers.items()
        }
    client.logout()
    return found


def _digest(pieces: Any) -> str:
    digest = sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _repeated(items: list[str]) -> set[str]:
    return {item for item, following in pairwise(items) if item == following}
