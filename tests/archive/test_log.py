"""The log proves what is stored: whatever is changed, removed or put in afterwards is named."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

import pytest
from pymongo.database import Database

from ingestd.archive import attested, log
from ingestd.archive.anchors import Anchor
from ingestd.archive.log import Log
from ingestd.archive.placeset import PlaceSet
from ingestd.ingest import Plan, Wanted
from ingestd.store.leases import Lease
from ingestd.store.seals import Seals, chained
from tests.archive.stored import store
from tests.fakes import ListMailbox, mail
from tests.passes import Bench

Document = dict[str, Any]
Store = Database[Document]

NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
def kept(any_database: Store) -> Store:
    """A store with five seals that name two places each."""
    for number in range(5):
        store(any_database, mail(2 * number), mail(2 * number + 1), first_uid=2 * number + 1)
    return any_database


def checked(database: Store, *anchors: Anchor) -> Log:
    return log.check(database, "work", anchors)


def found(database: Store, *anchors: Anchor) -> list[tuple[str, str]]:
    return [(finding.kind, finding.what) for finding in checked(database, *anchors).findings]


def seal(number: int) -> str:
    return f"work/{number:08}"


def place(uid: int) -> str:
    return f"imap://work/INBOX;UIDVALIDITY=9/;UID={uid}"


def change(database: Store, number: int, *, again: bool = False, **fields: object) -> None:
    """Change a seal; with *again*, give it the hash that it must have now."""
    changed = {**(database.seals.find_one({"_id": seal(number)}) or {}), **fields}
    database.seals.replace_one({"_id": seal(number)}, {**changed, "hash": chained(changed)} if again else changed)


def anchor(database: Store) -> Anchor:
    checked_now = checked(database)
    assert checked_now.hash
    return Anchor("work", checked_now.number, checked_now.hash, checked_now.places, NOW)


# --- as it should be


def test_a_log_that_names_every_place_is_whole(kept: Store) -> None:
    whole = checked(kept)

    assert (whole.seals, whole.places, whole.named, whole.unsealed, whole.number) == (5, 10, 10, 0, 5)
    assert list(whole.findings) == []


def test_an_account_without_a_log_has_nothing_to_prove(any_database: Store) -> None:
    assert (checked(any_database).seals, found(any_database)) == (0, [])


def test_a_takeover_and_what_was_removed_from_a_mailbox_attest_no_storage(kept: Store) -> None:
    Seals(kept, Lease(kept, "work", 2, taken_over=True))
    last = kept.seals.find_one({"_id": seal(6)}) or {}
    gone = {"_id": place(99), "digest": "0" * 64, "size_bytes": 1}
    more = {**last, "_id": seal(7), "n": 7, "kind": "deleted", "previous": last["hash"], "places": [gone]}
    kept.seals.insert_one({**more, "hash": chained(more)})

    assert found(kept) == []
    assert checked(kept).seals == 7


def test_another_account_is_another_log(kept: Store) -> None:
    store(kept, mail(1), account="work.old")
    store(kept, mail(1), account="work0")

    assert checked(kept).named == 10
    assert found(kept) == []


# --- what a pass at work, or a killed one, leaves


def test_what_is_stored_and_not_sealed_yet_is_counted(bench: Bench) -> None:
    mailbox = ListMailbox(*(mail(n) for n in range(150)))
    steps = bench.steps(mailbox)
    assert isinstance(next(steps), Plan)
    steps.close()
    bench.run(mailbox, Wanted(limit=100))
    last = bench.database.seals.find_one({"n": 1}) or {}
    bench.database.seals.delete_one({"_id": last["_id"]})
    uids = ",".join(place["_id"].rpartition("=")[2] for place in last["places"])
    bench.database.mailboxes.update_one({"_id": "work/INBOX"}, {"$set": {"selected": f"{uids},101:150", "done": ""}})

    before = log.check(bench.database, "work")
    bench.run(mailbox)
    after = log.check(bench.database, "work")

    assert (before.unsealed, list(before.findings)) == (len(last["places"]), [])
    assert (after.unsealed, after.named, list(after.findings)) == (0, 150, [])


def test_what_is_sealed_while_we_look_is_not_unsealed(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = attested.Attested.stored

    def busy(self: attested.Attested) -> PlaceSet:
        store(kept, mail(77), first_uid=77)
        return stored(self)

    monkeypatch.setattr(attested.Attested, "stored", busy)

    assert (checked(kept).unsealed, found(kept)) == (0, [])


def test_a_place_that_holds_another_message_is_named_again_and_the_last_seal_counts(bench: Bench) -> None:
    mailbox = ListMailbox(mail(1), mail(2))
    bench.run(mailbox)
    mailbox.messages[2], mailbox.dates[2] = mail(3, "another"), mailbox.dates[2] + timedelta(days=1)
    bench.run(mailbox)
    assert bench.place(2)["history"][0]["event"] == "replaced"

    whole = log.check(bench.database, "work")

    assert (whole.places, whole.named, list(whole.findings)) == (3, 2, [])


# --- placements


def test_a_placement_that_was_removed_is_named(kept: Store) -> None:
    kept.placements.delete_one({"_id": place(4), "account": "work"})

    assert found(kept) == [("placement_missing", place(4))]


@pytest.mark.parametrize(
    "fields",
    [{"digest": "0" * 64}, {"size_bytes": 7}, {"state": "vanished"}, {"message": "work:0"}, {"account": "home"}],
)
def test_a_placement_that_was_changed_is_named(kept: Store, fields: Document) -> None:
    kept.placements.update_one({"_id": place(4)}, {"$set": fields})

    assert ("placement_changed", place(4)) in found(kept)


def test_a_placement_that_was_put_in_is_named(kept: Store) -> None:
    kept.placements.insert_one({**(kept.placements.find_one({"_id": place(4)}) or {}), "_id": place(11)})
    kept.placements.insert_one(
        {**(kept.placements.find_one({"_id": place(5)}) or {}), "_id": place(5).replace("=9", "=8")}
    )

    assert found(kept) == [("placement_unsealed", place(5).replace("=9", "=8")), ("placement_unsealed", place(11))]


def test_a_placement_that_is_made_to_say_it_was_replaced_is_named(kept: Store) -> None:
    old = kept.placements.find_one({"_id": place(4)}) or {}
    event = {"event": "replaced", "digest": old["digest"]}
    new = {"message": f"work:{'0' * 64}", "digest": "0" * 64, "history": [event]}
    kept.placements.update_one({"_id": place(4)}, {"$set": new})

    assert found(kept) == [("placement_changed", place(4))]


# --- seals


@pytest.mark.parametrize(
    "fields",
    [
        {"token": 7},
        {"kind": "taken_over"},
        {"sealed_at": NOW},
        {"sealed_at": "yesterday"},
        {"n": 4},
        {"account": "home"},
        {"places": []},
        {"places": [{"_id": "x"}]},
        {"places": [{"_id": place(5), "digest": "x", "size_bytes": inf}]},
        {"places": None},
        {"places": 7},
        {"places": ["x", 7, {"_id": 7}]},
        {"previous": None},
        {"hash": "0" * 64},
    ],
)
def test_a_seal_that_was_changed_is_named(kept: Store, fields: Document) -> None:
    change(kept, 3, **fields)

    assert ("seal_changed", seal(3)) in found(kept)


def test_a_seal_that_was_changed_with_its_hash_is_named_by_the_next_one(kept: Store) -> None:
    places = (kept.seals.find_one({"_id": seal(3)}) or {})["places"]
    change(kept, 3, again=True, places=places[:1])

    assert found(kept) == [("seal_changed", seal(4)), ("placement_unsealed", place(6))]


def test_a_seal_that_was_removed_is_named(kept: Store) -> None:
    kept.seals.delete_many({"_id": {"$in": [seal(2), seal(3)]}})

    assert found(kept) == [
        ("seal_missing", seal(2)),
        *(("placement_unsealed", place(uid)) for uid in (3, 4, 5, 6)),
    ]


def test_a_seal_that_was_put_in_is_named(kept: Store) -> None:
    kept.seals.insert_one({**(kept.seals.find_one({"_id": seal(5)}) or {}), "_id": "work/zzz"})
    kept.seals.insert_one({**(kept.seals.find_one({"_id": seal(5)}) or {}), "_id": "work/3"})

    assert found(kept) == [("seal_changed", "work/3"), ("seal_changed", "work/zzz")]


def test_a_token_never_falls(kept: Store) -> None:
    change(kept, 2, again=True, token=9)
    change(kept, 3, again=True, previous=(kept.seals.find_one({"_id": seal(2)}) or {})["hash"])

    assert ("seal_changed", seal(3)) in found(kept)


# --- anchors


def test_a_log_that_has_grown_still_holds_its_anchors(kept: Store) -> None:
    then = anchor(kept)
    store(kept, mail(50), first_uid=50)

    assert found(kept, then) == []
    assert checked(kept, then, replace(then, account="home")).anchors == 1


def test_an_end_that_was_cut_off_is_only_seen_by_an_anchor(kept: Store) -> None:
    then = anchor(kept)
    kept.seals.delete_one({"_id": seal(5)})
    kept.placements.delete_many({"_id": {"$in": [place(9), place(10)]}})

    assert found(kept) == []
    assert found(kept, then) == [("anchor_broken", seal(5))]


def test_a_history_that_was_written_anew_is_only_seen_by_an_anchor(kept: Store) -> None:
    then = anchor(kept)
    kept.placements.delete_one({"_id": place(6), "account": "work"})
    places = (kept.seals.find_one({"_id": seal(3)}) or {})["places"]
    change(kept, 3, again=True, places=places[:1])
    for number in (4, 5):
        change(kept, number, again=True, previous=(kept.seals.find_one({"_id": seal(number - 1)}) or {})["hash"])

    assert found(kept) == []
    assert found(kept, then) == [("anchor_broken", seal(5))]


def test_an_anchor_of_a_seal_that_is_missing_in_the_middle_is_broken(kept: Store) -> None:
    whole = kept.seals.find_one({"_id": seal(3)}) or {}
    kept.seals.delete_one({"_id": seal(3)})

    assert ("anchor_broken", seal(3)) in found(kept, Anchor("work", 3, whole["hash"], 6, NOW))


# --- a set of places


def test_places_are_held_as_ranges_and_come_out_as_they_went_in() -> None:
    every, odd = PlaceSet(), PlaceSet()
    strange = [place(3).replace("UID=3", f"UID={uid}") for uid in ("03", "9" * 5000, "b")]
    for uid in range(1, 30_001):
        every.add(place(uid))
        if uid % 2:
            odd.add(place(uid))
    for id_ in strange:
        every.add(id_)

    rest = every.without(odd)

    assert (len(every), len(rest)) == (30_003, 15_003)
    assert list(rest)[:2] == [place(2), place(4)]
    assert set(strange) <= set(rest)
    assert place(4) in rest
    assert place(5) not in rest
