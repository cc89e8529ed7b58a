"""What a batch leaves in the database, on mongomock and on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
from bson import Int64
from pymongo.database import Database

from ingestd.archive import rebuild
from ingestd.errors import StoreUnavailable
from ingestd.message import RawMessage
from ingestd.mime.parse import parse, unparsed
from ingestd.raw import Raw
from ingestd.store import blobs, indexes, messages
from ingestd.store.messages import Terms
from tests.fakes import mail, raw

Document = dict[str, Any]

PDF = b"%PDF-1.7 " + bytes(range(256)) * 40
LARGE = bytes(range(256)) * 4000  # four chunks


def with_attachment(number: int, content: bytes) -> bytes:
    import base64

    encoded = base64.encodebytes(content).replace(b"\n", b"\r\n")
    return (
        b"From: ann@example.org\r\nTo: bob@example.com\r\nSubject: file\r\nMessage-ID: <f%d@example.org>\r\n"
        b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nsee the file\r\n--b\r\n'
        b'Content-Type: application/pdf; name="r.pdf"\r\nContent-Transfer-Encoding: base64\r\n\r\n%s--b--\r\n'
    ) % (number, encoded)


def write(database: Database[Document], *batch: RawMessage, terms: Terms | None = None) -> list[bool]:
    receipts = messages.write(database, batch, parse, terms or Terms(), lambda step: None)
    return [receipt.new for receipt in receipts]


def test_a_message_becomes_three_documents_under_deterministic_ids(any_database: Database[Document]) -> None:
    arrived = raw(mail(1))

    write(any_database, arrived)

    message = any_database.messages.find_one({"_id": f"work:{arrived.sha256}", "account": "work"})
    assert message is not None
    assert message["subject"] == "number 1"
    assert message["from"] == {"name": "", "address": "ann@example.org", "domain": "example.org"}
    assert message["recipients"] == ["bob@example.com"]
    assert message["mailboxes"] == ["INBOX"]
    assert any_database.originals.find_one({"_id": message["_id"]}) is not None
    place = any_database.placements.find_one({"_id": "imap://work/INBOX;UIDVALIDITY=9/;UID=1"})
    assert place is not None
    assert (place["state"], place["message"]) == ("stored", message["_id"])


def test_writing_a_batch_again_changes_nothing(any_database: Database[Document]) -> None:
    batch = [raw(mail(n), n) for n in range(1, 4)]
    first = write(any_database, *batch)
    before = [list(any_database[name].find().sort("_id")) for name in ("messages", "originals", "placements")]

    again = write(any_database, *batch)

    assert (first, again) == ([True] * 3, [False] * 3)
    assert [list(any_database[name].find().sort("_id")) for name in ("messages", "originals", "placements")] == before


def test_a_copy_in_another_mailbox_is_noted_on_the_one_message(any_database: Database[Document]) -> None:
    write(any_database, raw(mail(1), 1))

    new = write(any_database, raw(mail(1), 7, mailbox="Archive"))

    message = any_database.messages.find_one({})
    assert message is not None
    assert new == [False]
    assert sorted(message["mailboxes"]) == ["Archive", "INBOX"]
    assert any_database.placements.count_documents({"message": message["_id"]}) == 2


def test_equal_bytes_of_two_accounts_are_two_messages_and_one_blob(database: Database[Document]) -> None:
    content = with_attachment(1, PDF)

    write(database, raw(content, 1, account="work"), raw(content, 1, account="home"))

    assert database.messages.count_documents({}) == 2
    assert database["blobs.files"].count_documents({}) == 1


def test_a_file_that_many_send_is_stored_once(database: Database[Document]) -> None:
    write(database, *(raw(with_attachment(n, PDF), n) for n in range(1, 6)))

    file = database["blobs.files"].find_one({})
    assert file is not None
    assert (file["length"], file["chunkSize"]) == (len(PDF), 261_120)
    assert database["blobs.files"].count_documents({}) == 1
    assert database.messages.count_documents({"attachments.sha256": file["_id"]}) == 5


def test_any_drivers_gridfs_reads_a_blob(database: Database[Document]) -> None:
    from gridfs import GridFSBucket

    write(database, raw(with_attachment(1, LARGE)))

    message = database.messages.find_one({})
    assert message is not None
    bucket = GridFSBucket(database, bucket_name="blobs")
    with bucket.open_download_stream(message["attachments"][0]["sha256"]) as stream:
        assert stream.read() == LARGE


def test_a_half_written_blob_is_completed(database: Database[Document]) -> None:
    arrived = raw(with_attachment(1, LARGE))
    write(database, arrived)
    digest = next(iter(database["blobs.files"].find()))["_id"]
    database["blobs.files"].delete_one({"_id": digest})
    database["blobs.chunks"].delete_one({"_id": f"{digest}:2"})
    for name in ("messages", "placements"):
        database[name].delete_many({"account": "work"})

    write(database, arrived)

    assert database["blobs.chunks"].count_documents({"files_id": digest}) == 4
    assert blobs.present(database, [digest]) == {digest}


def test_a_blob_is_not_relied_on_before_it_is_whole(database: Database[Document]) -> None:
    content = {sha256(b"data").hexdigest(): [b"data"]}
    now = datetime.now(UTC)

    uploads = blobs.upload(database, content, now)
    before = blobs.present(database, content)
    blobs.touch(database, content, uploads, now)

    assert (before, blobs.present(database, content)) == (set(), set(content))


def test_a_blob_that_is_about_to_be_swept_is_not_relied_on(database: Database[Document]) -> None:
    digest = sha256(b"data").hexdigest()
    now = datetime.now(UTC)
    blobs.touch(database, {digest: [b"data"]}, blobs.upload(database, {digest: [b"data"]}, now), now)
    database["blobs.files"].update_one({"_id": digest}, {"$set": {"dying": {"by": "a sweeper", "at": now}}})

    assert blobs.present(database, [digest]) == set()
    with pytest.raises(StoreUnavailable, match="being swept"):
        blobs.touch(database, {digest: None}, {}, now)


def test_a_blob_that_is_about_to_be_swept_is_saved_by_whoever_has_its_bytes(database: Database[Document]) -> None:
    content = {sha256(LARGE).hexdigest(): [LARGE]}
    now = datetime.now(UTC)
    blobs.touch(database, content, blobs.upload(database, content, now), now)
    database["blobs.files"].update_many({}, {"$set": {"dying": {"by": "a sweeper", "at": now}}})
    database["blobs.chunks"].delete_many({"n": {"$lt": 2}})

    blobs.touch(database, content, {}, now)

    assert blobs.present(database, content) == set(content)
    assert b"".join(rebuild.blob(database, next(iter(content)))) == LARGE


def test_a_known_message_whose_blob_is_gone_is_stored_anew(database: Database[Document]) -> None:
    arrived = raw(with_attachment(1, PDF))
    write(database, arrived)
    database.placements.delete_many({"account": "work"})
    database["blobs.files"].delete_many({"length": len(PDF)})
    database["blobs.chunks"].delete_many({"n": 0})

    write(database, arrived)

    message = database.messages.find_one({"_id": arrived.id})
    assert message is not None
    assert b"".join(rebuild.original(database, message)) == with_attachment(1, PDF)


def test_the_blobs_of_a_known_message_are_touched(database: Database[Document]) -> None:
    arrived = raw(with_attachment(1, PDF))
    write(database, arrived)
    database.placements.delete_many({"account": "work"})
    database["blobs.files"].update_many({"length": len(PDF)}, {"$unset": {"touched_at": ""}})

    write(database, arrived)

    assert database["blobs.files"].count_documents({"touched_at": {"$exists": True}}) == 1


def test_an_original_left_by_a_pass_that_died_fits_the_message_that_is_written_then(
    database: Database[Document],
) -> None:
    arrived = raw(with_attachment(1, PDF))

    def die_after_originals(step: str) -> None:
        if step == "originals":
            raise StoreUnavailable("died")

    with pytest.raises(StoreUnavailable):
        messages.write(database, [arrived], parse, Terms(), die_after_originals)
    messages.write(database, [arrived], lambda content: unparsed(content, "gave up"), Terms(), lambda step: None)

    original = database.originals.find_one({"_id": arrived.id}) or {}
    message = database.messages.find_one({"_id": arrived.id}) or {}
    assert {segment["blob"] for segment in original["raw"] if "blob" in segment} <= set(message["blobs"])


def test_an_original_that_does_not_fit_its_message_is_replaced(database: Database[Document]) -> None:
    arrived = raw(with_attachment(1, LARGE))
    write(database, arrived)
    for name in ("messages", "placements", "blobs.files", "blobs.chunks"):
        database[name].delete_many({})
    database.originals.update_many({"account": "work"}, {"$set": {"raw.0.size_bytes": Int64(7)}})

    write(database, arrived)

    message = database.messages.find_one({"_id": arrived.id}) or {}
    assert b"".join(rebuild.original(database, message)) == with_attachment(1, LARGE)


def test_what_cannot_be_parsed_is_kept_raw(any_database: Database[Document]) -> None:
    def read(content: Raw) -> Any:
        return unparsed(content, "the parser died")

    messages.write(any_database, [raw(mail(1))], read, Terms(), lambda step: None)

    message = any_database.messages.find_one({})
    assert message is not None
    assert message["parse"]["status"] == "failed"
    assert message["parse"]["defects"] == ["the parser died"]


def test_results_of_authentication_are_believed_only_from_named_servers(any_database: Database[Document]) -> None:
    claim = b"Authentication-Results: mx.example.org; spf=pass; dmarc=fail\r\n"

    write(any_database, raw(claim + mail(1), 1))
    write(any_database, raw(claim + mail(2), 2), terms=Terms(authserv_ids={"mx.example.org"}))

    first, second = (any_database.messages.find_one({"subject": f"number {n}"}) or {} for n in (1, 2))
    assert first["auth"] is None
    found = {"spf": "pass", "dkim": None, "dmarc": "fail", "arc": None, "authserv_id": "mx.example.org"}
    assert second["auth"] == found


def test_the_placement_is_written_last(
    any_database: Database[Document],
) -> None:
    steps: list[str] = []

    messages.write(any_database, [raw(mail(1))], parse, Terms(), steps.append)

    assert steps == ["parsed", "blobs", "originals", "messages", "placements"]


def test_indexes_are_built_on_empty_collections_and_reported_on_others(database: Database[Document]) -> None:
    assert indexes.ensure(database) == []
    write(database, raw(mail(1)))
    database.messages.drop_index("thread_id_date")

    assert indexes.ensure(database) == ["messages.thread_id_date"]
    assert indexes.build(database) == ["messages.thread_id_date"]
    assert indexes.missing(database) == []
