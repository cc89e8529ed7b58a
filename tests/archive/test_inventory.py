"""Whether the store holds together is found out from the store alone."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.database import Database

from ingestd.archive import inventory as stock
from ingestd.archive.inventory import Inventory, inventory
from ingestd.errors import StoreUnavailable
from ingestd.mime.parse import parse
from ingestd.store import messages
from ingestd.store.messages import Terms
from tests.archive.stored import FILE, place_of, store
from tests.archive.test_reparse import with_file
from tests.fakes import mail, raw

Document = dict[str, Any]
Store = Database[Document]


def taken(database: Store, account: str = "work") -> Inventory:
    return inventory(database, account, lambda count: None)


def findings(found: Inventory) -> list[tuple[str, str]]:
    return [(finding.kind, str(finding)) for finding in found.findings]


def test_places_are_distinct_messages_and_copies(any_database: Store) -> None:
    store(any_database, mail(1), mail(2), mail(1), with_file(FILE))
    store(any_database, mail(1), account="work2")

    found = taken(any_database)

    assert (found.places, found.placed, found.copies, found.messages) == (4, 3, 1, 3)
    assert (found.originals, found.blobs, found.unplaced) == (3, 1, 0)
    assert found.size_bytes == sum(map(len, (mail(1), mail(2), with_file(FILE))))
    assert findings(found) == []


def test_it_goes_page_by_page(any_database: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock, "PAGE", 3)
    ids = store(any_database, *(mail(n) for n in range(10)), mail(4))
    any_database.messages.delete_one({"_id": ids[3], "account": "work"})
    pages: list[int] = []

    found = inventory(any_database, "work", pages.append)

    assert pages == [3, 3, 3, 0]
    assert (found.places, found.placed, found.copies, found.lone) == (11, 9, 1, 1)
    assert [kind for kind, _ in findings(found)] == ["message_missing"]


def test_a_message_that_is_missing_is_named_with_its_place(any_database: Store) -> None:
    one, _ = store(any_database, mail(1), mail(2))
    any_database.messages.delete_one({"_id": one, "account": "work"})

    found = taken(any_database)

    missing = f"{one}: it is not there, although {place_of(any_database, one)} is stored"
    assert findings(found) == [("message_missing", missing)]
    assert found.places == found.placed + found.copies + found.lone == 2


def test_an_original_that_is_missing_is_named(any_database: Store) -> None:
    one, _ = store(any_database, mail(1), mail(2))
    any_database.originals.delete_one({"_id": one, "account": "work"})

    assert findings(taken(any_database)) == [("original_missing", f"{one}: its original is not there")]


def test_a_blob_that_is_missing_is_named(any_database: Store) -> None:
    (one,) = store(any_database, with_file(FILE))
    (blob,) = (any_database.messages.find_one({"_id": one}) or {})["blobs"]
    any_database["blobs.files"].delete_one({"_id": blob})

    assert findings(taken(any_database)) == [("blob_missing", f"{blob}: message {one} needs it, but it is missing")]


def test_a_blob_that_its_message_does_not_name_is_not_safe_from_the_sweeper(any_database: Store) -> None:
    (one,) = store(any_database, with_file(FILE))
    (blob,) = (any_database.messages.find_one({"_id": one}) or {})["blobs"]
    any_database.messages.update_one({"_id": one, "account": "work"}, {"$set": {"blobs": []}})

    assert findings(taken(any_database)) == [("message_changed", f"{one}: does not name blob {blob}, which it needs")]


def test_a_place_that_was_removed_is_named_by_the_log(any_database: Store) -> None:
    one, _ = store(any_database, mail(1), mail(2))
    place = place_of(any_database, one)
    any_database.placements.delete_one({"_id": place, "account": "work"})

    assert findings(taken(any_database)) == [
        ("message_unplaced", f"{one}: its place {place} was sealed, and is not there")
    ]


def test_a_message_whose_place_holds_another_one_now_is_said_and_no_damage(any_database: Store) -> None:
    (one,) = store(any_database, mail(1))
    (other,) = store(any_database, mail(2))
    renewed = {"message": other, "digest": other.partition(":")[2], "size_bytes": len(mail(2))}
    event = {"event": "replaced", "message": one, "digest": one.partition(":")[2]}
    place = {"_id": place_of(any_database, one), "account": "work"}
    any_database.placements.update_one(place, {"$set": {**renewed, "history": [event]}})

    found = taken(any_database)

    assert findings(found) == []
    assert (found.messages, found.placed, found.former, found.unplaced) == (2, 1, 1, 0)


@pytest.mark.parametrize(
    ("collection", "change", "kind"),
    [
        ("placements", {"digest": "0" * 64}, "placement_changed"),
        ("placements", {"size_bytes": 1}, "placement_changed"),
        ("messages", {"sha256": "0" * 64}, "message_changed"),
        ("messages", {"account": "home"}, "message_changed"),
        ("originals", {"sha256": "0" * 64}, "message_changed"),
    ],
)
def test_what_contradicts_the_rest_is_named(any_database: Store, collection: str, change: Document, kind: str) -> None:
    store(any_database, mail(1), mail(2))
    changed = (any_database[collection].find_one({}) or {})["_id"]
    any_database[collection].update_one({"_id": changed, "account": "work"}, {"$set": change})

    assert (kind, changed) in {(finding.kind, finding.what) for finding in taken(any_database).findings}


@pytest.mark.parametrize(
    ("collection", "change"),
    [
        ("messages", {"blobs": None}),
        ("messages", {"blobs": [7, {"a": 1}]}),
        ("messages", {"size_bytes": "many"}),
        ("originals", {"raw": 7}),
        ("placements", {"digest": None, "history": "none"}),
        ("seals", {"places": [7]}),
        ("seals", {"places": 7}),
    ],
)
def test_what_makes_no_sense_stops_nothing(any_database: Store, collection: str, change: Document) -> None:
    one, _ = store(any_database, mail(1), with_file(FILE))
    ids = {"messages": one, "originals": one, "placements": place_of(any_database, one), "seals": "work/00000001"}
    any_database[collection].update_one({"_id": ids[collection], "account": "work"}, {"$set": change})

    assert taken(any_database).places == 2


@pytest.mark.parametrize("step", ["parsed", "blobs", "originals", "messages", "placements"])
def test_what_a_killed_pass_leaves_is_no_damage(any_database: Store, step: str) -> None:
    store(any_database, mail(1))
    with pytest.raises(StoreUnavailable):
        store(any_database, mail(1), mail(2), with_file(FILE), fail_at=step)

    found = taken(any_database)

    assert findings(found) == []
    assert found.unplaced == (2 if step == "messages" else 0)
    assert found.messages == found.placed + found.unplaced


def test_what_is_stored_meanwhile_is_no_damage(any_database: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock, "PAGE", 1)
    store(any_database, mail(1), mail(2))
    numbers = iter(range(3, 6))

    def busy(count: int) -> None:
        if number := next(numbers, None):
            contents = (mail(number), with_file(bytes([number]) * 5000))
            batch = [raw(content, number * 10 + n) for n, content in enumerate(contents)]
            messages.write(any_database, batch, parse, Terms(), lambda step: None)

    found = inventory(any_database, "work", busy)

    assert findings(found) == []
    assert found.messages >= 2


def test_findings_do_not_outgrow_memory_and_are_all_counted(any_database: Store) -> None:
    found = Inventory("work").findings
    for number in range(2500):
        found.add("blob_missing", str(number), "gone")

    together = Inventory("work").findings
    together.merge(found)

    assert len(found) == len(together) == 2500
    assert len(list(together)) == 1000
