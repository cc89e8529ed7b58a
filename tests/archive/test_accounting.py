"""Every UID of a mailbox is accounted for, or named: after passes that ended well, after kills, and after tampering."""

from __future__ import annotations

from datetime import timedelta
from math import inf
from typing import Any

import pytest

from ingestd.archive import places
from ingestd.archive.accounting import Accounting, Server, account_for
from ingestd.errors import StoreUnavailable
from ingestd.ingest import Wanted
from ingestd.store import mailboxes
from ingestd.store.ledger import Ledger
from ingestd.store.seals import Seals
from ingestd.uidset import UIDSet
from tests.fakes import NOON, ListMailbox, mail
from tests.passes import Bench

Document = dict[str, Any]

SINCE = NOON.replace(hour=0)


def mailbox_of(count: int, *, seen: set[int] | None = None) -> ListMailbox:
    mailbox = ListMailbox(*(mail(n) for n in range(1, count + 1)))
    mailbox.seen = seen or set()
    return mailbox


def accounted(bench: Bench, mailbox: ListMailbox | None, *, served: bool = True) -> Accounting:
    """Account for *mailbox*, and check that every UID it lists is counted once."""
    found = account_for(bench.database, "work", "INBOX", Server(mailbox and mailbox.opened(), served))
    listed = mailbox.listed() if mailbox else UIDSet()
    assert UIDSet().union(found.parts.values()) == listed
    assert found.total == len(listed)
    return found


def parts(found: Accounting) -> dict[str, str]:
    return {name: str(uids) for name, uids in found.parts.items()}


def findings(found: Accounting) -> list[tuple[str, str]]:
    return [(finding.kind, str(finding)) for finding in found.findings]


def remember(bench: Bench, **fields: object) -> None:
    """Change by hand what is remembered of the mailbox."""
    bench.database.mailboxes.update_one({"_id": "work/INBOX"}, {"$set": fields})


# --- what is as it should be


def test_everything_on_the_server_is_stored_or_left_out(bench: Bench) -> None:
    mailbox = mailbox_of(5, seen={1, 2})
    bench.run(mailbox)

    found = accounted(bench, mailbox)

    assert parts(found) == {"stored": "3:5", "seen_at_baseline": "1:2"}
    assert (found.findings, found.notes) == ((), ())


def test_a_message_that_was_read_at_first_sight_may_be_unread_today(bench: Bench) -> None:
    mailbox = mailbox_of(2, seen={1})
    bench.run(mailbox)
    mailbox.seen.clear()

    assert findings(accounted(bench, mailbox)) == []


def test_what_the_next_passes_see_to_is_said(bench: Bench) -> None:
    mailbox = ListMailbox(None, *(mail(n) for n in range(2, 6)))
    bench.run(mailbox, Wanted(limit=3))
    mailbox.deliver(mail(6))
    bench.database.placements.update_one({"_id": bench.place(2)["_id"]}, {"$set": {"state": "quarantined"}})

    found = accounted(bench, mailbox)

    assert parts(found) == {
        "stored": "3",
        "quarantined": "2",
        "waiting": "1",
        "chosen": "4:5",
        "not_visited": "6",
    }
    assert found.next_try == bench.place(1)["next_try"]
    assert findings(found) == []


def test_a_mailbox_that_was_never_visited_is_still_to_come(bench: Bench) -> None:
    found = accounted(bench, mailbox_of(3))

    assert parts(found) == {"not_visited": "1:3"}
    assert findings(found) == []


def test_what_is_gone_is_kept_or_was_lost_before_it_could_be_stored(bench: Bench) -> None:
    mailbox = ListMailbox(mail(1), None, mail(3), mail(4), mail(5))
    mailbox.before_each = lambda uid: mailbox.messages.pop(3, None) and None
    bench.run(mailbox, Wanted(limit=4))
    for uid in (1, 2, 5):
        del mailbox.messages[uid]

    found = accounted(bench, mailbox)

    assert parts(found) == {"stored": "4"}
    assert (str(found.kept), str(found.lost)) == ("1", "2:3,5")
    assert findings(found) == []


def test_a_new_uidvalidity_says_that_the_next_pass_begins_an_epoch(bench: Bench) -> None:
    mailbox = ListMailbox(mail(1), mail(2), None)
    bench.run(mailbox)
    mailbox.uidvalidity = 10

    found = accounted(bench, mailbox)

    assert parts(found) == {"not_visited": "1:3"}
    assert (found.earlier_kept, found.earlier_open) == (2, 1)
    assert found.notes == ("its UIDs have lost their meaning (UIDVALIDITY): the next pass begins epoch 2",)
    assert findings(found) == []
    bench.run(mailbox)
    assert parts(accounted(bench, mailbox)) == {"stored": "1:2", "waiting": "3"}


def test_a_mailbox_that_is_not_on_the_server_any_more_is_kept(bench: Bench) -> None:
    bench.run(mailbox_of(3))

    found = accounted(bench, None, served=False)

    assert (found.total, str(found.kept)) == (0, "1:3")
    assert found.notes == ("not on the server any more",)


def test_a_mailbox_that_is_not_served_any_more_has_nothing_to_come(bench: Bench) -> None:
    mailbox = mailbox_of(3)
    bench.run(mailbox, Wanted(limit=2))
    mailbox.deliver(mail(4))

    found = accounted(bench, mailbox, served=False)

    assert parts(found) == {"stored": "1:2", "not_served": "3:4"}


def test_a_restored_mailbox_may_give_numbers_that_were_never_listed(bench: Bench) -> None:
    mailbox = mailbox_of(5)
    del mailbox.messages[3]
    bench.run(mailbox)
    mailbox.messages, mailbox.uidnext = {1: mail(1), 2: mail(2), 3: mail(9)}, 4

    found = accounted(bench, mailbox)

    assert parts(found) == {"stored": "1:2", "not_visited": "3"}
    assert findings(found) == []


def test_what_came_over_pop3_is_counted_by_itself(bench: Bench) -> None:
    mailbox = mailbox_of(2)
    bench.run(mailbox)
    place = {**bench.place(1), "_id": "pop3://work/;UIDL=a1", "epoch": 0, "uid": 0}
    bench.database.placements.insert_one(place)

    found = accounted(bench, mailbox)

    assert (parts(found), found.maildrop) == ({"stored": "1:2"}, {"stored": 1})
    assert findings(found) == []


def test_without_the_server_the_ledger_is_accounted_for(bench: Bench) -> None:
    mailbox = mailbox_of(5, seen={1})
    bench.run(mailbox, Wanted(limit=2))

    found = account_for(bench.database, "work", "INBOX")

    assert parts(found) == {"stored": "2:3", "chosen": "4:5", "seen_at_baseline": "1"}
    assert (found.asked, found.total) == (False, 5)


# --- while a pass is at work, and after it was killed


@pytest.mark.parametrize("step", ["parsed", "blobs", "originals", "messages", "placements"])
def test_after_a_kill_nothing_is_unaccounted_for(bench: Bench, step: str) -> None:
    mailbox = mailbox_of(6, seen={1})
    bench.run(mailbox, Wanted(limit=2))
    bench.fail_at = step
    with pytest.raises(StoreUnavailable):
        bench.run(mailbox)

    assert findings(accounted(bench, mailbox)) == []


def test_a_pass_that_has_only_written_its_baseline_has_visited_nothing(bench: Bench) -> None:
    mailbox = mailbox_of(4, seen={1})
    memory = mailboxes.recall(bench.database, "work", "INBOX", mailbox.numbers, "unseen", None, NOON)
    Ledger(bench.database, bench.lease, Seals(bench.database, bench.lease), memory)

    found = accounted(bench, mailbox)

    assert parts(found) == {"not_visited": "1:4"}
    assert findings(found) == []


def test_a_pass_that_chooses_anew_has_visited_only_what_it_chose(bench: Bench) -> None:
    mailbox = mailbox_of(4, seen={1, 2})
    bench.run(mailbox)
    memory = mailboxes.recall(bench.database, "work", "INBOX", mailbox.numbers, "all", None, NOON)
    Ledger(bench.database, bench.lease, Seals(bench.database, bench.lease), memory).plan(UIDSet.of([1]))

    found = accounted(bench, mailbox)

    assert parts(found) == {"stored": "3:4", "chosen": "1", "not_visited": "2"}
    assert findings(found) == []


def test_what_is_stored_while_we_look_is_neither_unaccounted_for_nor_gone(bench: Bench) -> None:
    mailbox = mailbox_of(3)

    class Busy:
        """Gives its list, and at once there is new mail, and all of it is stored."""

        numbers, search, look = mailbox.numbers, mailbox.search, mailbox.look

        def listed(self) -> UIDSet:
            found = mailbox.listed()
            mailbox.deliver(mail(4))
            bench.run(mailbox)
            return found

    found = account_for(bench.database, "work", "INBOX", Server(Busy()))

    assert parts(found) == {"stored": "1:3"}
    assert (str(found.kept), str(found.lost), found.findings) == ("", "", ())


# --- what is not as it should be


def test_a_uid_that_was_taken_out_of_all_sets_is_unaccounted_for(bench: Bench) -> None:
    mailbox = mailbox_of(4, seen={1, 2})
    bench.run(mailbox)
    remember(bench, left_out={"seen_at_baseline": "1"})

    found = accounted(bench, mailbox)

    assert parts(found)["unaccounted"] == "2"
    assert findings(found) == [("unaccounted", "work/INBOX: UID 2: on the server, and nothing is known of it")]


def test_new_mail_cannot_have_been_read_at_first_sight(bench: Bench) -> None:
    mailbox = mailbox_of(2)
    bench.run(mailbox)
    mailbox.deliver(mail(3))
    remember(bench, left_out={"seen_at_baseline": "3"}, visited=3)

    found = accounted(bench, mailbox)

    assert parts(found) == {"stored": "1:2", "wrong": "3"}
    assert findings(found) == [("wrong_set", "work/INBOX: UID 3: seen_at_baseline, but it came after UID 2")]


def test_a_message_is_only_too_old_if_its_date_says_so(bench: Bench) -> None:
    mailbox = mailbox_of(4)
    mailbox.dates[1] = SINCE - timedelta(days=9)
    mailbox.dates[2] = SINCE - timedelta(minutes=1)  # the server finds it when asked for the day before
    bench.run(mailbox, since=SINCE.date())
    assert parts(accounted(bench, mailbox)) == {"stored": "3:4", "older_than_since": "1:2"}
    mailbox.deliver(mail(5))
    remember(bench, left_out={"older_than_since": "1:2,5"}, visited=5)

    found = accounted(bench, mailbox)

    assert findings(found) == [("wrong_set", "work/INBOX: UID 5: older_than_since, but its INTERNALDATE is not")]


def test_a_message_that_the_program_finds_cannot_be_left_out_by_it(bench: Bench) -> None:
    mailbox = mailbox_of(3)
    mailbox.programs['SUBJECT "number 1"'] = {1}
    bench.run(mailbox, Wanted('SUBJECT "number 1"'))
    assert parts(accounted(bench, mailbox)) == {"stored": "1", "not_in_program": "2:3"}
    mailbox.programs['SUBJECT "number 1"'] = {1, 3}

    found = accounted(bench, mailbox)

    assert findings(found) == [("wrong_set", "work/INBOX: UID 3: not_in_program, but the program finds it")]


def test_nothing_follows_from_a_program_that_asks_for_flags(bench: Bench) -> None:
    mailbox = mailbox_of(3)
    mailbox.programs["UNFLAGGED"] = {1}
    bench.run(mailbox, Wanted("UNFLAGGED"))
    mailbox.programs["UNFLAGGED"] = {1, 2, 3}

    assert findings(accounted(bench, mailbox)) == []


def test_a_reason_that_nothing_asks_for_is_wrong(bench: Bench) -> None:
    mailbox = mailbox_of(2)
    bench.run(mailbox, Wanted("all"))
    mailbox.deliver(mail(3))
    remember(bench, left_out={"seen_at_baseline": "3"}, visited=3)

    assert findings(accounted(bench, mailbox)) == [
        ("wrong_set", "work/INBOX: UID 3: seen_at_baseline, which nothing asks for")
    ]


def test_a_reason_that_there_is_not_hides_nothing(bench: Bench) -> None:
    mailbox = mailbox_of(2)
    bench.run(mailbox)
    mailbox.deliver(mail(3))
    remember(bench, left_out={"stored": "1,3"}, visited=3)

    assert parts(accounted(bench, mailbox)) == {"stored": "1:2", "wrong": "3"}


def test_a_placement_that_was_removed_is_named(bench: Bench) -> None:
    mailbox = mailbox_of(3)
    bench.run(mailbox)
    gone = bench.place(2)["_id"]
    bench.database.placements.delete_one({"_id": gone, "account": "work"})

    found = accounted(bench, mailbox)

    assert parts(found) == {"stored": "1,3", "missing": "2"}
    assert findings(found) == [("placement_missing", f"{gone}: said to be done, but it is not there")]


def test_a_stored_place_that_is_said_to_have_vanished_is_named(bench: Bench) -> None:
    mailbox = mailbox_of(2)
    bench.run(mailbox)
    bench.database.placements.update_one({"_id": bench.place(2)["_id"]}, {"$set": {"state": "vanished"}})

    assert findings(accounted(bench, mailbox)) == [
        ("wrong_set", "work/INBOX: UID 2: said to be done, but its placement says that it vanished")
    ]


@pytest.mark.parametrize("change", [{"uid": 7}, {"epoch": 2}, {"digest": "0" * 64}, {"message": "work:other"}])
def test_a_placement_that_contradicts_itself_is_named(bench: Bench, change: Document) -> None:
    mailbox = mailbox_of(2)
    bench.run(mailbox)
    changed = bench.place(2)["_id"]
    bench.database.placements.update_one({"_id": changed}, {"$set": change})

    found = findings(accounted(bench, mailbox))

    assert ("placement_changed", f"{changed}: what it says contradicts its _id") in found


def test_a_placement_that_is_in_several_mailboxes_is_named(bench: Bench) -> None:
    bench.run(mailbox_of(2))
    changed = bench.place(2)["_id"]
    bench.database.placements.update_one({"_id": changed}, {"$set": {"mailbox": ["INBOX", "Nowhere", 7]}})

    assert places.mailboxes(bench.database, "work") == ["INBOX", "Nowhere"]
    named = findings(account_for(bench.database, "work", "Nowhere"))
    assert ("placement_changed", f"{changed}: what it says contradicts its _id") in named


def test_a_mailbox_whose_memory_was_removed_is_named(bench: Bench) -> None:
    mailbox = mailbox_of(2)
    bench.run(mailbox)
    bench.database.mailboxes.delete_one({"_id": "work/INBOX"})

    ((kind, text),) = findings(accounted(bench, mailbox))

    assert kind == "no_memory"
    assert text.startswith("work/INBOX: what is remembered of it is missing")


@pytest.mark.parametrize(
    "change", [{"selected": "all of them"}, {"left_out": None}, {"epoch": None}, {"done": 7}, {"visited": inf}]
)
def test_a_mailbox_whose_memory_makes_no_sense_is_named(bench: Bench, change: Document) -> None:
    mailbox = mailbox_of(2)
    bench.run(mailbox)
    remember(bench, **change)

    ((kind, text),) = findings(accounted(bench, mailbox))

    assert kind == "no_memory"
    assert text.startswith("work/INBOX: what is remembered of it cannot be read")


def test_very_many_uids_are_told_in_short_and_are_all_there(bench: Bench) -> None:
    mailbox = mailbox_of(2)
    bench.run(mailbox)
    mailbox.messages = dict.fromkeys(range(1, 2000, 2), b"")
    mailbox.dates = dict.fromkeys(mailbox.messages, NOON)
    remember(bench, visited=5000)

    found = accounted(bench, mailbox)

    ((_, text),) = findings(found)
    assert len(text) < 300
    assert "and more, 999 in all" in text
    assert len(found.parts["unaccounted"]) == 999


# --- names


def test_accounts_and_mailboxes_are_found_wherever_something_of_them_is_left(bench: Bench) -> None:
    bench.run(mailbox_of(2))
    for account, mailbox in (("old", "INBOX"), ("work", "Archive; 2019"), ("work", "INBOX/Later")):
        bench.database.placements.insert_one({"_id": f"{account}/{mailbox}", "account": account, "mailbox": mailbox})
    bench.database.seals.insert_one({"_id": "sealed.only/00000001"})

    assert places.accounts(bench.database) == ["old", "sealed.only", "work"]
    assert places.mailboxes(bench.database, "work") == ["Archive; 2019", "INBOX", "INBOX/Later"]
    assert places.mailboxes(bench.database, "old") == ["INBOX"]
