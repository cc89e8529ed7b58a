"""One letter that came over two protocols with slightly other bytes: one document counts, in either order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pymongo.database import Database

from ingestd.message import Place, RawMessage
from ingestd.mime.parse import parse
from ingestd.store import messages
from ingestd.store.messages import Terms
from tests.fakes import NOON, mail, raw

Document = dict[str, Any]

LETTER = mail(1).replace(b"hello", b"a \x80 b")
OTHERWISE = mail(1).replace(b"hello", b"a \x00 b")


def over_imap(content: bytes, uid: int = 1) -> RawMessage:
    return raw(content, uid)


def over_pop3(content: bytes, uidl: str = "a") -> RawMessage:
    return replace(raw(content), place=Place.of_maildrop("work", uidl), via="pop3", internal_date=None)


def write(database: Database[Document], *batch: RawMessage, fail_at: str = "") -> None:
    def step(name: str) -> None:
        if name == fail_at:
            raise InterruptedError(name)

    messages.write(database, batch, parse, Terms(over_pop3=True), step)


def variants(database: Database[Document]) -> dict[str, str | None]:
    return {each["_id"]: each["same_as"] for each in database.messages.find()}


EXPECTED = {over_imap(LETTER).id: None, over_pop3(OTHERWISE).id: over_imap(LETTER).id}


def test_over_imap_first(any_database: Database[Document]) -> None:
    write(any_database, over_imap(LETTER))
    write(any_database, over_pop3(OTHERWISE))

    assert variants(any_database) == EXPECTED


def test_over_pop3_first(any_database: Database[Document]) -> None:
    write(any_database, over_pop3(OTHERWISE))
    before = any_database.messages.find_one({})
    write(any_database, over_imap(LETTER))

    after = any_database.messages.find_one({"_id": over_pop3(OTHERWISE).id})
    assert variants(any_database) == EXPECTED
    assert before is not None
    assert after is not None
    assert after["modified_at"] >= before["modified_at"]


def test_both_at_once(any_database: Database[Document]) -> None:
    write(any_database, over_pop3(OTHERWISE), over_imap(LETTER))

    assert variants(any_database) == EXPECTED


@pytest.mark.parametrize("moment", ["blobs", "originals", "messages", "placements"])
def test_a_write_that_broke_off_and_was_done_again(any_database: Database[Document], moment: str) -> None:
    write(any_database, over_pop3(OTHERWISE))
    with pytest.raises(InterruptedError):
        write(any_database, over_imap(LETTER), fail_at=moment)

    write(any_database, over_imap(LETTER))

    assert variants(any_database) == EXPECTED


def test_the_same_bytes_are_one_message_with_two_places(any_database: Database[Document]) -> None:
    write(any_database, over_pop3(mail(1)))
    write(any_database, over_imap(mail(1)))

    (message,) = any_database.messages.find()
    assert (message["same_as"], message["first_internal_date"], message["canonical"]) == (None, NOON, None)
    assert any_database.placements.count_documents({"message": message["_id"]}) == 2


def test_of_variants_that_all_came_over_pop3_the_first_counts(any_database: Database[Document]) -> None:
    write(any_database, over_pop3(mail(1)))
    write(any_database, over_pop3(b"Status: RO\r\n" + mail(1), "b"))

    assert sorted(variants(any_database).values(), key=str) == [None, over_pop3(mail(1)).id]


def test_what_came_over_imap_with_other_bytes_is_a_letter_of_its_own(any_database: Database[Document]) -> None:
    write(any_database, over_imap(LETTER), over_imap(OTHERWISE, 2))

    assert set(variants(any_database).values()) == {None}


def test_a_variant_that_comes_over_imap_after_all_counts_again(any_database: Database[Document]) -> None:
    write(any_database, over_pop3(OTHERWISE), over_imap(LETTER))
    write(any_database, over_imap(OTHERWISE, 2))

    assert set(variants(any_database).values()) == {None}


def test_letters_of_another_account_are_nobodys_variants(any_database: Database[Document]) -> None:
    write(any_database, over_pop3(OTHERWISE))
    other = raw(LETTER, account="home")
    write(any_database, other)

    assert set(variants(any_database).values()) == {None}
