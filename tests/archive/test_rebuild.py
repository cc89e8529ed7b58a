from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

import ingestd.demo
from ingestd.archive import rebuild, search
from ingestd.archive.rebuild import Damaged
from ingestd.archive.search import NotFound
from ingestd.mime.parse import parse
from ingestd.store import messages
from ingestd.store.messages import Terms
from tests.fakes import mail, raw
from tests.mime.enclosing import ENCLOSING

Document = dict[str, Any]

HARD = sorted((Path(ingestd.demo.__file__).parent / "mail").glob("*.eml"))


def store(database: Database[Document], *contents: bytes) -> list[Document]:
    database.accounts.update_one({"_id": "work"}, {"$set": {"lease": None}}, upsert=True)
    batch = [raw(content, uid) for uid, content in enumerate(contents, 1)]
    messages.write(database, batch, parse, Terms(), lambda step: None)
    return [database.messages.find_one({"_id": arrived.id}) or {} for arrived in batch]


def test_there_are_25_hard_messages() -> None:
    assert len(HARD) == 25


@pytest.mark.parametrize("path", HARD, ids=lambda path: path.stem)
def test_a_hard_message_and_its_attachments_come_back_byte_for_byte(database: Database[Document], path: Path) -> None:
    content = path.read_bytes()

    (message,) = store(database, content)

    assert b"".join(rebuild.original(database, message)) == content
    for attachment in message["attachments"]:
        got = b"".join(rebuild.attachment(database, message, attachment))
        assert (len(got), sha256(got).hexdigest()) == (attachment["size_bytes"], attachment["sha256"])


def test_files_within_parts_come_back_byte_for_byte_beside_the_message(database: Database[Document]) -> None:
    stored = store(database, *ENCLOSING)

    for content, message in zip(ENCLOSING, stored, strict=True):
        assert b"".join(rebuild.original(database, message)) == content
        for attachment in message["attachments"]:
            got = b"".join(rebuild.attachment(database, message, attachment))
            assert sha256(got).hexdigest() == attachment["sha256"]


def test_every_blob_that_is_stored_has_the_digest_it_is_named_by(database: Database[Document]) -> None:
    store(database, *(path.read_bytes() for path in HARD))

    for file in database["blobs.files"].find():
        assert sha256(b"".join(rebuild.blob(database, file["_id"]))).hexdigest() == file["_id"]


def test_a_changed_original_is_noticed(database: Database[Document]) -> None:
    (message,) = store(database, mail(1))
    database.originals.update_one(
        {"_id": message["_id"], "account": "work"}, {"$set": {"raw": [{"size_bytes": 3, "literal": b"abc"}]}}
    )

    with pytest.raises(Damaged, match="another SHA-256"):
        list(rebuild.original(database, message))


def test_a_missing_chunk_is_noticed(database: Database[Document]) -> None:
    (message,) = store(database, HARD[19].read_bytes())
    digest = message["attachments"][0]["sha256"]
    database["blobs.chunks"].delete_one({"_id": f"{digest}:0"})

    with pytest.raises(Damaged, match="chunk 0 is missing"):
        list(rebuild.attachment(database, message, message["attachments"][0]))


def test_a_message_is_found_by_what_people_have_at_hand(database: Database[Document]) -> None:
    first, _ = store(database, mail(1), mail(2))

    for wanted in (first["_id"], first["sha256"][:12], first["sha256"].upper(), "<1@example.org>", "1@example.org"):
        assert search.one(database, wanted)["_id"] == first["_id"]


def test_what_means_no_message_or_several_is_told(database: Database[Document]) -> None:
    store(database, mail(1), b"X: y\r\n" + mail(1))

    with pytest.raises(NotFound, match="no message"):
        search.one(database, "ffffffffffff")
    with pytest.raises(NotFound, match="means 2 messages"):
        search.one(database, "1@example.org")
