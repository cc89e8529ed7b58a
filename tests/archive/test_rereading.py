"""Every byte is read again: what is damaged is named, a sample is always the same, and an interrupted run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from ingestd.archive import rereading
from ingestd.archive.bookmark import Bookmark, Progress
from ingestd.archive.finding import Finding
from ingestd.archive.rereading import Job, Position, Sample, Stretch, stretches
from ingestd.archive.wholeness import Read, Reading
from ingestd.errors import Refused, StoreUnavailable
from ingestd.mime.parse import parse
from ingestd.store import blobs
from ingestd.workers import InProcess
from tests.archive.stored import FILE, store
from tests.archive.test_reparse import with_file
from tests.fakes import mail

Document = dict[str, Any]
Store = Database[Document]

CHUNKS = FILE * 3  # of 900,000 bytes: four chunks


def job(database: Store, do: Callable[[Reading], Read] | None = None) -> Job:
    """Reading in this process, as *do* says or as it is."""
    return Job(database, InProcess(do or (lambda reading: reading(database, parse, lambda step: None))).submit)


def read(database: Store, sample: Sample | None = None, *accounts: str) -> list[Read]:
    wanted = stretches(database, accounts or ("work",), sample)
    return [result for _, result in job(database).read(wanted, Position())]


def findings(reads: list[Read]) -> list[tuple[str, str]]:
    return [(finding.kind, str(finding)) for each in reads for finding in each.findings]


def counts(reads: list[Read]) -> tuple[int, int]:
    found = [sum(each.count for each in reads if each.collection == name) for name in ("messages", "blobs.files")]
    return found[0], found[1]


def blob_of(database: Store, message: str) -> str:
    return str((database.messages.find_one({"_id": message}) or {})["blobs"][0])


# --- what is damaged


def test_what_is_whole_is_read_and_counted(any_database: Store) -> None:
    store(any_database, mail(1), mail(2), with_file(CHUNKS))
    store(any_database, mail(1), with_file(CHUNKS), account="home")

    assert counts(read(any_database)) == (3, 1)
    assert counts(read(any_database, None, "work", "home")) == (5, 1)
    assert sum(each.size_bytes for each in read(any_database)) == sum(
        map(len, (mail(1), mail(2), with_file(CHUNKS), CHUNKS))
    )
    assert findings(read(any_database)) == []


def test_a_message_whose_bytes_were_changed_is_named(any_database: Store) -> None:
    one, _ = store(any_database, mail(1), mail(2))
    raw = (any_database.originals.find_one({"_id": one}) or {})["raw"]
    raw[0]["literal"] = raw[0]["literal"].replace(b"hello", b"hullo")
    any_database.originals.update_one({"_id": one, "account": "work"}, {"$set": {"raw": raw}})

    ((kind, text),) = findings(read(any_database))

    assert kind == "message_damaged"
    assert text.startswith(f"{one}: its bytes rebuild to another SHA-256, ")


@pytest.mark.parametrize("raw", [None, "x", [{"encoding": "base64"}], [{"literal": "x"}], [{"literal": 7}]])
def test_an_original_that_makes_no_sense_is_named(any_database: Store, raw: object) -> None:
    one, _ = store(any_database, mail(1), mail(2))
    any_database.originals.update_one({"_id": one, "account": "work"}, {"$set": {"raw": raw}})

    ((kind, text),) = findings(read(any_database))

    assert kind == "message_damaged"
    assert "makes no sense" in text


@pytest.mark.parametrize("says", [5, "x", None])
def test_a_message_that_is_not_as_long_as_it_says_is_named(any_database: Store, says: object) -> None:
    one, _ = store(any_database, mail(1), mail(2))
    any_database.messages.update_one({"_id": one, "account": "work"}, {"$set": {"size_bytes": says}})

    assert findings(read(any_database)) == [
        ("message_damaged", f"{one}: it has {len(mail(1)):,} bytes, and says another number")
    ]


@pytest.mark.parametrize("says", [5, "x", None])
def test_a_blob_that_is_not_as_long_as_it_says_is_named(any_database: Store, says: object) -> None:
    (one,) = store(any_database, with_file(CHUNKS))
    blob = blob_of(any_database, one)
    any_database["blobs.files"].update_one({"_id": blob}, {"$set": {"length": says}})

    named = {(finding.kind, finding.what): finding.text for each in read(any_database) for finding in each.findings}

    assert named["blob_damaged", blob] == f"it: {len(CHUNKS)} of {says} bytes are there"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"data": b"x" * 261_120}, "its bytes have another SHA-256"),
        ({"data": b"x"}, "a chunk before the last is short"),
        ({"n": 9}, "it: chunk 1 is missing"),
        ({"data": 7}, "it: chunk 1 is missing"),
        (None, "it: chunk 1 is missing"),
    ],
)
def test_a_blob_of_which_a_chunk_was_changed_is_named_with_its_message(
    any_database: Store, change: Document | None, why: str
) -> None:
    (one,) = store(any_database, with_file(CHUNKS))
    blob = blob_of(any_database, one)
    where = {"_id": f"{blob}:1", "files_id": blob}
    if change is None:
        any_database["blobs.chunks"].delete_one(where)
    else:
        any_database["blobs.chunks"].update_one(where, {"$set": change})

    named = {(finding.kind, finding.what): finding.text for each in read(any_database) for finding in each.findings}

    assert named.keys() == {("message_damaged", one), ("blob_damaged", blob)}
    assert named["blob_damaged", blob].startswith(why)


@pytest.mark.parametrize("change", [{"length": 5}, {"chunkSize": 1024}])
def test_a_blob_whose_file_document_was_changed_is_named(any_database: Store, change: Document) -> None:
    (one,) = store(any_database, with_file(CHUNKS))
    blob = blob_of(any_database, one)
    any_database["blobs.files"].update_one({"_id": blob}, {"$set": change})

    assert ("blob_damaged", blob) in {(f.kind, f.what) for each in read(any_database) for f in each.findings}


@pytest.mark.parametrize("step", ["blobs", "originals", "messages"])
def test_what_a_killed_pass_has_not_finished_is_no_damage(any_database: Store, step: str) -> None:
    store(any_database, mail(1))
    with pytest.raises(StoreUnavailable):
        store(any_database, with_file(CHUNKS), mail(2), fail_at=step)
    any_database["blobs.chunks"].delete_many({"n": 2})

    assert findings(read(any_database)) == []


def test_what_is_finished_while_it_is_read_is_no_damage(any_database: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = (with_file(CHUNKS), mail(1))
    with pytest.raises(StoreUnavailable):
        store(any_database, *contents, fail_at="messages")
    ids = tuple(found["_id"] for found in any_database.messages.find({}, {"_id": 1}))
    blob = blobs.read

    def busy(database: Store, digest: str) -> Iterator[bytes]:
        monkeypatch.setattr(blobs, "read", blob)
        try:
            yield from blob(database, digest)  # which is not whole yet
        finally:
            store(any_database, *contents)

    monkeypatch.setattr(blobs, "read", busy)

    done = Reading("messages", ids)(any_database, parse, lambda step: None)

    assert (done.count, done.findings) == (2, ())


def test_what_cannot_be_read_at_all_is_named_and_the_others_are_read(any_database: Store) -> None:
    ids = store(any_database, *(mail(n) for n in range(5)))

    def dies(reading: Reading) -> Read:
        if ids[3] in reading.ids:
            raise MemoryError
        return reading(any_database, parse, lambda step: None)

    reads = [result for _, result in job(any_database, dies).read(stretches(any_database, ["work"], None), Position())]

    assert findings(reads) == [("message_damaged", f"{ids[3]}: it could not be read (MemoryError)")]
    assert counts(reads) == (5, 0)


def test_a_store_that_is_away_ends_it(any_database: Store) -> None:
    store(any_database, mail(1))

    def away(reading: Reading) -> Read:
        raise StoreUnavailable("store: no answer")

    with pytest.raises(StoreUnavailable):
        list(job(any_database, away).read(stretches(any_database, ["work"], None), Position()))


# --- samples


def sampled(database: Store, sample: Sample) -> set[str]:
    """The `_id`s of the messages of a sample."""
    where = [
        stretch.after(None) for stretch in stretches(database, ["work"], sample) if stretch.collection == "messages"
    ]
    return {found["_id"] for span in where for found in database.messages.find(span)}


def test_a_sample_is_about_so_much_and_always_the_same(any_database: Store) -> None:
    any_database.messages.insert_many([{"_id": f"work:{n:064x}"} for n in range(0, 1 << 256, 1 << 246)])

    tenth, again, other = (sampled(any_database, Sample(seed, share=0.1)) for seed in ("a", "a", "b"))
    fifty = sampled(any_database, Sample("a", count=50))
    every = sampled(any_database, Sample("a", share=1.0))
    more = sampled(any_database, Sample("a", count=5000))

    assert 100 <= len(tenth) <= 105
    assert tenth == again != other
    assert 49 <= len(fifty) <= 51
    assert len(every) == len(more) == 1024


@pytest.mark.parametrize("seed", ["a", "b", "c", "d", "e", "f", "g", "h"])
def test_a_sample_goes_on_at_the_first_digest_behind_the_last(any_database: Store, seed: str) -> None:
    any_database.messages.insert_many([{"_id": f"work:{n:064x}"} for n in range(0, 1 << 256, 1 << 248)])

    assert 127 <= len(sampled(any_database, Sample(seed, share=0.5))) <= 129


# --- going on where it was


def test_it_goes_on_after_what_is_done(any_database: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rereading, "BATCH_COUNT", 2)
    monkeypatch.setattr(rereading, "PAGE", 3)
    store(any_database, *(mail(n) for n in range(7)), with_file(CHUNKS))
    wanted = stretches(any_database, ["work"], None)
    whole = list(job(any_database).read(wanted, Position()))

    for number, (position, _) in enumerate(whole):
        left = sum(result.count for _, result in whole[number + 1 :])
        rest = list(job(any_database).read(wanted, position))
        assert rest == whole[number + 1 :]
        assert rereading.count(any_database, wanted, position) == left


def test_once_stopped_it_finishes_what_is_under_way(any_database: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rereading, "BATCH_COUNT", 1)
    store(any_database, *(mail(n) for n in range(7)))
    asked = iter([False, False, True])
    stopping = replace(job(any_database), stopped=lambda: next(asked))

    assert counts([result for _, result in stopping.read(stretches(any_database, ["work"], None), Position())]) == (
        2,
        0,
    )


PROGRESS = Progress({"sample": "5%"}, (Stretch("messages", "work:", "work;"),), "5 %, chosen by the seed 'a'")
DAMAGED = Finding("message_damaged", "work:1", "its bytes are others")


def test_a_bookmark_remembers_all_that_was_done(tmp_path: Path) -> None:
    file = tmp_path / "progress"
    done = PROGRESS.after(Position(0, "work:5"), Read("messages", 7, 900, (DAMAGED,)))
    Bookmark(file).save(done.after(Position(1, None), Read("blobs.files", 2, 50, ())), now=True)

    found = Bookmark(file).read({"sample": "5%"})

    assert found is not None
    assert (found.messages, found.blobs, found.size_bytes, found.findings) == (7, 2, 950, (DAMAGED,))
    assert (found.wanted, found.position, found.sample) == (PROGRESS.wanted, Position(1, None), PROGRESS.sample)
    Bookmark(file).remove()
    assert Bookmark(file).read({"sample": "5%"}) is None


def test_a_bookmark_of_another_check_is_refused(tmp_path: Path) -> None:
    Bookmark(tmp_path / "progress").save(PROGRESS, now=True)
    (tmp_path / "letter").write_text("Dear all,")

    with pytest.raises(Refused, match="left by another check"):
        Bookmark(tmp_path / "progress").read({"sample": "6%"})
    with pytest.raises(Refused, match="not what an interrupted check left"):
        Bookmark(tmp_path / "letter").read({"sample": "5%"})
    with pytest.raises(Refused, match="name a file that can be written"):
        Bookmark(tmp_path / "nowhere" / "progress").save(PROGRESS, now=True)


def test_without_a_file_nothing_is_remembered() -> None:
    nowhere = Bookmark(None)
    nowhere.save(PROGRESS, now=True)
    nowhere.remove()

    assert nowhere.read({"sample": "5%"}) is None
