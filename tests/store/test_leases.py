from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import enumerate as threads
from typing import Any
from unittest.mock import patch

import pytest
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import AutoReconnect

from ingestd.errors import LeaseLost, Refused, StoreUnavailable, Unavailable
from ingestd.message import Numbers, Receipt
from ingestd.store import accounts, mailboxes
from ingestd.store.borrowing import borrow
from ingestd.store.leases import Lease, Leases, Owner, beating, hold
from ingestd.store.seals import Seals, chained
from tests.fakes import mail, raw
from tests.faults.state import broken_seals
from tests.waiting import until as until_true

Document = dict[str, Any]

HERE = Owner.current()
ELSEWHERE = replace(HERE, id="elsewhere", host="another machine")


def receipt(uid: int) -> Receipt:
    arrived = raw(mail(uid), uid)
    return Receipt(arrived.place, arrived.id, arrived.sha256, arrived.content.size_bytes, True, "ok")


def expire(database: Database[Document]) -> None:
    database.accounts.update_one({"_id": "work"}, {"$set": {"lease.expires_at": datetime.fromtimestamp(0, UTC)}})


def until(database: Database[Document], account: str) -> datetime:
    expires: datetime = (database.accounts.find_one({"_id": account}) or {})["lease"]["expires_at"]
    return expires


def test_two_daemons_cannot_hold_one_account(database: Database[Document]) -> None:
    with hold(database, "work", HERE), pytest.raises(LeaseLost, match="served by"), hold(database, "work", ELSEWHERE):
        pass


def test_a_released_account_is_free_at_once_and_its_token_rises(database: Database[Document]) -> None:
    with hold(database, "work", HERE) as first:
        pass

    with hold(database, "work", ELSEWHERE) as second:
        assert second.token == first.token + 1


def test_an_account_whose_document_was_lost_goes_on_under_a_token_of_its_own(database: Database[Document]) -> None:
    with hold(database, "work", HERE):
        pass
    with hold(database, "work", HERE) as before:
        Seals(database, before).append([receipt(1)])
    database.accounts.delete_one({"_id": "work"})

    with hold(database, "work", HERE) as after:
        assert after.token == before.token + 1
        assert Seals(database, after).append([receipt(2)]) == 2


def test_the_lease_of_a_process_that_died_here_is_taken_at_once(database: Database[Document]) -> None:
    dead = replace(HERE, started="before the flood")

    with hold(database, "work", dead), hold(database, "work", HERE) as taken:
        assert taken.token == 2


def test_the_lease_of_a_process_elsewhere_is_waited_for(database: Database[Document]) -> None:
    dead = replace(ELSEWHERE, started="before the flood")

    with hold(database, "work", dead), pytest.raises(LeaseLost), hold(database, "work", HERE):
        pass


def test_a_holder_that_overslept_can_neither_checkpoint_nor_seal_nor_bind(database: Database[Document]) -> None:
    memory = mailboxes.recall(database, "work", "INBOX", Numbers(9, 1, 0), "unseen", None, datetime.now(UTC))
    with hold(database, "work", HERE) as stale:
        stale_seals = Seals(database, stale)
        expire(database)
        with hold(database, "work", ELSEWHERE) as fresh:
            mailboxes.save(database, fresh, memory)
            Seals(database, fresh).append([receipt(1)])

            with pytest.raises(LeaseLost):
                mailboxes.save(database, stale, memory)
            with pytest.raises(LeaseLost):
                stale_seals.append([receipt(2)])
            with pytest.raises(LeaseLost):
                accounts.bind(database, stale, "imap.example.org", "me")


def test_a_holder_that_was_taken_over_can_seal_nothing_more(database: Database[Document]) -> None:
    with hold(database, "work", HERE) as stale:
        stale_seals = Seals(database, stale)
        stale_seals.append([receipt(1)])
        expire(database)
        with hold(database, "work", ELSEWHERE) as fresh:
            seals = Seals(database, fresh)

            with pytest.raises(LeaseLost):
                stale_seals.append([receipt(2)])
            assert seals.append([receipt(2)]) == 3

    assert [(seal["kind"], len(seal["places"])) for seal in database.seals.find().sort("_id")] == [
        ("stored", 1),
        ("taken_over", 0),
        ("stored", 1),
    ]


def test_a_late_seal_of_the_holder_before_is_followed_not_lost(database: Database[Document]) -> None:
    with hold(database, "work", HERE) as lease:
        late, ours = Seals(database, lease), Seals(database, lease)
        late.append([receipt(1)])

        assert ours.append([receipt(2)]) == 2

    first, second = database.seals.find().sort("_id")
    assert second["previous"] == first["hash"]


def test_a_process_that_cannot_be_looked_at_counts_as_alive() -> None:
    someone_elses = {"host": HERE.host, "pid": 1, "started": "hidden from us"}

    with patch("ingestd.store.owner.Path.read_text", side_effect=PermissionError):
        assert not HERE.knows_dead(someone_elses)


def test_a_checkpoint_of_the_holder_before_is_refused_before_the_next_has_written_any(
    database: Database[Document],
) -> None:
    memory = mailboxes.recall(database, "work", "INBOX", Numbers(9, 1, 0), "unseen", None, datetime.now(UTC))
    with hold(database, "work", HERE) as stale:
        mailboxes.save(database, stale, memory)
        expire(database)
        with hold(database, "work", ELSEWHERE), pytest.raises(LeaseLost):
            mailboxes.save(database, stale, memory)


def test_one_renewal_keeps_all_leases_but_the_one_that_was_taken(database: Database[Document]) -> None:
    ours, others = Leases(database, HERE), Leases(database, ELSEWHERE)
    kept, gone = ours.take("home"), ours.take("work")
    expire(database)
    others.take("work")
    before = until(database, "home")

    assert ours.renew() == ["work"]

    assert list(ours.held) == ["home"]
    assert until(database, "home") > before
    kept.check()
    with pytest.raises(LeaseLost):
        gone.check()


def test_a_lease_that_ran_out_is_no_right_to_write_until_it_is_renewed(database: Database[Document]) -> None:
    leases = Leases(database, HERE, timedelta(seconds=0.4))
    lease = leases.take("work")

    until_true(lambda: ran_out(lease))
    leases.renew()

    lease.check()


def ran_out(lease: Lease) -> bool:
    try:
        lease.check()
    except StoreUnavailable:
        return True
    return False


def test_leases_are_renewed_by_one_thread_that_ends_with_its_block(database: Database[Document]) -> None:
    leases = Leases(database, HERE, timedelta(seconds=3))
    for number in range(20):
        leases.take(f"account{number}")
    first = until(database, "account19")

    with beating(leases, leases.renew):
        until_true(lambda: until(database, "account19") > first)
        beats = [thread for thread in threads() if thread.name == "leases"]

    assert len(beats) == 1
    assert not beats[0].is_alive()


def test_a_beat_that_fails_is_made_up_for_by_the_next(database: Database[Document]) -> None:
    leases = Leases(database, HERE, timedelta(seconds=0.6))
    beats: list[int] = []

    def beat() -> None:
        beats.append(1)
        raise StoreUnavailable("away")

    with beating(leases, beat):
        until_true(lambda: len(beats) > 2)


def test_confirming_asks_the_store(database: Database[Document]) -> None:
    leases = Leases(database, HERE)
    lease = leases.take("work")
    before = until(database, "work")

    lease.confirm()

    assert until(database, "work") > before
    expire(database)
    Leases(database, ELSEWHERE).take("work")
    lease.check()  # nobody has told it
    with pytest.raises(LeaseLost):
        lease.confirm()


def test_a_command_borrows_an_account_from_a_daemon_that_gives_it_back(database: Database[Document]) -> None:
    daemon = Leases(database, ELSEWHERE, timedelta(seconds=3))
    daemon.take("work")

    def give_when_asked() -> None:
        lease = (database.accounts.find_one({"_id": "work"}) or {})["lease"]
        if lease["asked_until"]:
            daemon.give_back(["work"])

    with beating(daemon, give_when_asked), borrow(database, "work", HERE) as lease:
        assert lease.token == 2

    assert (database.accounts.find_one({"_id": "work"}) or {})["lease"]["asked_until"] is None


def test_a_command_that_waited_in_vain_says_who_has_the_account(database: Database[Document]) -> None:
    Leases(database, ELSEWHERE).take("work")

    with pytest.raises(LeaseLost, match="served by"), borrow(database, "work", HERE, timedelta(0)):
        pass

    assert (database.accounts.find_one({"_id": "work"}) or {})["lease"]["asked_until"] is None


def test_what_a_visit_failed_with_is_kept_without_addresses(database: Database[Document]) -> None:
    wrong = Refused("account work: login refused by imap.example.org\x1b[2J for ann@example.org; check the password")
    with hold(database, "work", HERE) as lease:
        accounts.note(database, lease, [wrong], timedelta(minutes=15))
        accounts.note(database, lease, [wrong], timedelta(minutes=15))
        trouble = (database.accounts.find_one({"_id": "work"}) or {})["trouble"]

        accounts.note(database, lease, [])

    assert trouble["error"] == "account work: login refused by imap.example.org [2J for …@…; check the password"
    assert trouble["failures"] == 2
    assert trouble["since"] < trouble["failed_at"] < trouble["next_try"]
    assert (database.accounts.find_one({"_id": "work"}) or {})["trouble"] is None


def test_a_holder_that_was_taken_over_cannot_say_why_it_failed(database: Database[Document]) -> None:
    with hold(database, "work", HERE) as stale:
        expire(database)
        with hold(database, "work", ELSEWHERE), pytest.raises(LeaseLost):
            accounts.note(database, stale, [Unavailable("away")])


def test_a_seal_whose_answer_was_lost_is_recognised_as_our_own(database: Database[Document]) -> None:
    with hold(database, "work", HERE) as lease:
        lost, again = Seals(database, lease), Seals(database, lease)
        lost.append([receipt(1)])

        assert again.append([receipt(1)]) == 1
        assert database.seals.count_documents({"account": "work"}) == 1


def test_several_threads_write_one_chain(database: Database[Document]) -> None:
    with hold(database, "work", HERE) as lease, ThreadPoolExecutor(4) as writers:
        seals = Seals(database, lease)
        numbers = list(writers.map(lambda uid: seals.append([receipt(uid)]), range(1, 41)))

    written = list(database.seals.find().sort("_id"))
    assert sorted(numbers) == [seal["n"] for seal in written] == list(range(1, 41))
    assert broken_seals(database) == []


def test_once_the_store_was_away_nobody_waits_for_it_to_seal(
    database: Database[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Document] = []

    def away(_: Collection[Document], seal: Document) -> None:
        asked.append(seal)
        raise AutoReconnect("away")

    with hold(database, "work", HERE) as lease:
        seals = Seals(database, lease)
        monkeypatch.setattr(Collection, "insert_one", away)
        for uid in (1, 2):
            with pytest.raises(StoreUnavailable, match="away"):
                seals.append([receipt(uid)])
        monkeypatch.undo()

    assert len(asked) == 1


def test_the_chain_can_be_computed_again_from_the_seals_alone(database: Database[Document]) -> None:
    with hold(database, "work", HERE) as lease:
        seals = Seals(database, lease)
        for uid in range(1, 4):
            seals.append([receipt(uid)])

    previous = None
    for seal in database.seals.find().sort("_id"):
        assert seal["hash"] == chained({**seal, "previous": previous})
        previous = seal["hash"]


def test_an_account_is_bound_to_its_first_server(database: Database[Document]) -> None:
    with hold(database, "work", HERE) as lease:
        accounts.bind(database, lease, "imap.example.org", "me")
        accounts.bind(database, lease, "imap.example.org", "me")

        with pytest.raises(Refused, match="ingestd account rebind work"):
            accounts.bind(database, lease, "imap.example.com", "me")
        with pytest.raises(Refused, match="another user"):
            accounts.check_binding(database, "work", "imap.example.org", "you")


def test_rebinding_begins_a_new_epoch_even_under_the_same_uidvalidity(database: Database[Document]) -> None:
    now = datetime.now(UTC)
    with hold(database, "work", HERE) as lease:
        accounts.bind(database, lease, "imap.example.org", "me")
        mailboxes.save(
            database, lease, mailboxes.recall(database, "work", "INBOX", Numbers(9, 5, 0), "unseen", None, now)
        )

        accounts.rebind(database, lease, "imap.example.com", "me")

        memory = mailboxes.recall(database, "work", "INBOX", Numbers(9, 5, 0), "unseen", None, now)
        assert memory.epoch.number == 2
        assert memory.epoch.place(7).id == "imap://work/INBOX;UIDVALIDITY=9;EPOCH=2/;UID=7"
