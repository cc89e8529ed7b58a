"""Messages that could be understood only in part: listed, shown and exported, without a word of what they say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

import ingestd.demo
from ingestd import logs
from ingestd.archive import defects
from ingestd.cli import app
from ingestd.message import Message
from ingestd.mime.anonymise.likeness import differences
from ingestd.mime.parse import parse, unparsed
from ingestd.raw import InMemory, Raw
from ingestd.store import messages
from ingestd.store.messages import Parse, Terms
from tests.e2e.conftest import store_table
from tests.fakes import mail, raw

Document = dict[str, Any]

HARD = sorted((Path(ingestd.demo.__file__).parent / "mail").glob("*.eml"))
SMALL = [path for path in HARD if path.stat().st_size < 200_000]
SECRET = b"From: Zofia Kowalczyk <zofia@kowalczyk.example.net>\r\nTo: nobody at all <>, x\r\nSubject: redundancies\r\n"
PARTS = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n\r\n" * 2001


def gave_up(content: Raw) -> Message:
    return unparsed(content, "the parser died (exit code -9)")


@dataclass
class Archive:
    """Messages in a store, and the command line."""

    database: Database[Document]
    config: Path
    capture: pytest.CaptureFixture[str]

    def store(self, *contents: bytes, account: str = "work", by: Parse = parse) -> list[str]:
        batch = [raw(content, uid, account=account) for uid, content in enumerate(contents, 1)]
        messages.write(self.database, batch, by, Terms(), lambda step: None)
        self.database.accounts.update_one({"_id": account}, {"$setOnInsert": {"binding": None}}, upsert=True)
        return [arrived.id for arrived in batch]

    def run(self, *words: str) -> tuple[int, str, str]:
        self.capture.readouterr()
        code = app.main(["--config", str(self.config), "defects", *words])
        return code, *self.capture.readouterr()

    def told(self, *words: str) -> Document:
        code, out, err = self.run(*words, "--json")
        assert code == 0, err
        return json.loads(out)  # type: ignore[no-any-return]


@pytest.fixture
def archive(
    mongodb_uri: str,
    database: Database[Document],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Archive:
    monkeypatch.setattr(logs, "configure", lambda level, style: None)  # they belong to the whole process
    config = tmp_path / "ingestd.toml"
    config.write_text(
        f"[store]\n{store_table(mongodb_uri, database, tmp_path)}\n[daemon]\nworkers = 0\n[[account]]\n"
        'name = "work"\n[account.imap]\nhost = "localhost"\nuser = "me"\npassword = { env = "X" }\n'
    )
    return Archive(database, config, capsys)


@pytest.fixture
def hard(archive: Archive) -> Archive:
    archive.store(*(path.read_bytes() for path in SMALL), PARTS, mail(1))
    return archive


def files(directory: Path) -> Sequence[Path]:
    return sorted(directory.glob("*"))


# --- list


def test_messages_with_defects_or_limits_are_listed_and_the_others_are_not(hard: Archive) -> None:
    told = hard.told("list")

    assert told["total"] == hard.database.messages.count_documents({"parse.status": "partial"}) > 5
    assert all(each["defects"] or each["limits"] for each in told["messages"])


def test_they_can_be_chosen_by_account_status_and_defect(hard: Archive) -> None:
    (failed,) = hard.store(mail(2), account="home", by=gave_up)

    by_account = hard.told("list", "--account", "home")
    by_status = hard.told("list", "--status", "failed")
    by_defect = hard.told("list", "--defect", "the parser")
    by_limit = hard.told("list", "--defect", "parts")

    for told in (by_account, by_status, by_defect):
        assert [each["message"] for each in told["messages"]] == [failed]
    assert [each["limits"] for each in by_limit["messages"]] == [["parts"]]


def test_a_long_list_is_cut_and_says_so(hard: Archive) -> None:
    code, out, _ = hard.run("list", "--limit", "2")

    assert code == 0
    assert "of which 2 are shown" in out


def test_a_summary_counts_messages_by_what_is_wrong_with_them(hard: Archive) -> None:
    told = hard.told("list", "--summary")

    counted = {(each["what"], each["name"]): each["messages"] for each in told["counts"]}
    assert counted["limit", "parts"] == 1
    assert len(counted) == len(defects.counts(hard.database, defects.wanted()))
    for (what, name), count in counted.items():
        assert hard.database.messages.count_documents({f"parse.{what}s": name}) == count


def test_neither_list_nor_show_tells_what_a_message_says(archive: Archive) -> None:
    (id_,) = archive.store(SECRET)

    said = "".join(map(str, (*archive.run("list"), *archive.run("show", id_), *archive.run("show", id_, "--json"))))

    assert id_ in said
    assert not [word for word in ("Kowalczyk", "kowalczyk", "redundancies", "zofia") if word in said]


# --- show


def test_a_message_is_shown_with_its_parts_and_what_its_defects_mean(hard: Archive) -> None:
    listed = hard.told("list", "--defect", "boundary_guessed")["messages"][0]

    code, out, _ = hard.run("show", listed["message"])

    assert code == 0
    assert "boundary_guessed: the header names another boundary" in out
    assert "text: html" in out
    assert "base64" in out


def test_every_defect_of_the_hard_messages_is_explained(hard: Archive) -> None:
    for each in hard.told("list")["messages"]:
        meanings = hard.told("show", each["message"])["meanings"]
        assert set(meanings["defects"]) | set(meanings["limits"]) == {*each["defects"], *each["limits"]}
        assert all((*meanings["defects"].values(), *meanings["limits"].values())), each


def test_what_could_not_be_parsed_is_shown_too(archive: Archive) -> None:
    (id_,) = archive.store(mail(1), by=gave_up)

    told = archive.told("show", id_)

    assert told["message"]["status"] == "failed"
    assert "only the raw message is kept" in told["meanings"]["defects"]["the parser died (exit code -9)"]


# --- export


def test_messages_are_exported_byte_for_byte_for_their_owner_alone(hard: Archive, tmp_path: Path) -> None:
    ids = [each["message"] for each in hard.told("list")["messages"]]

    code, out, _ = hard.run("export", *ids, "--to", str(tmp_path / "out"))

    written = files(tmp_path / "out")
    assert code == 0
    assert len(out.splitlines()) == len(written) == len(ids)
    assert {file.read_bytes() for file in written} <= {PARTS, *(path.read_bytes() for path in SMALL)}
    assert {file.stat().st_mode & 0o777 for file in written} == {0o600}
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700


def test_a_file_that_is_there_is_left_alone_and_the_others_are_written(archive: Archive, tmp_path: Path) -> None:
    one, two = archive.store(mail(1), mail(2))
    archive.run("export", one, "--to", str(tmp_path / "out"))
    (file,) = files(tmp_path / "out")
    file.write_text("mine")

    code, _, err = archive.run("export", one, two, "--to", str(tmp_path / "out"))

    assert code == 1
    assert f"{file}: there is one already" in err
    assert file.read_text() == "mine"
    assert len(files(tmp_path / "out")) == 2


def test_a_damaged_message_is_named_and_leaves_no_file(archive: Archive, tmp_path: Path) -> None:
    one, two = archive.store(mail(1), mail(2))
    archive.database.originals.update_one({"_id": one, "account": "work"}, {"$set": {"raw": []}})

    for words in ((), ("--anonymise",)):
        code, _, err = archive.run("export", one, two, "--to", str(tmp_path / "".join(("out", *words))), *words)

        assert code == 1
        assert f"message {one}: its bytes rebuild to another SHA-256" in err
        assert len(files(tmp_path / "".join(("out", *words)))) == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_anonymised_messages_parse_as_before_and_say_nothing(archive: Archive, tmp_path: Path, workers: int) -> None:
    archive.config.write_text(archive.config.read_text().replace("workers = 0", f"workers = {workers}"))
    contents = [SECRET, *(path.read_bytes() for path in HARD[:4])]
    ids = archive.store(*contents)

    code, _, err = archive.run("export", *ids, "--to", str(tmp_path / "out"), "--anonymise")

    assert code == 0, err
    made = [file.read_bytes() for file in files(tmp_path / "out")]
    assert not [data for data in made if b"owalczyk" in data or b"redundancies" in data]
    assert sorted(map(len, made)) == sorted(map(len, contents))
    before = parse(InMemory(SECRET))
    assert [data for data in made if differences(before, parse(InMemory(data))) == ()]


def test_each_export_has_a_key_of_its_own(archive: Archive, tmp_path: Path) -> None:
    (id_,) = archive.store(SECRET)
    for name in ("one", "two"):
        archive.run("export", id_, "--to", str(tmp_path / name), "--anonymise")

    (one,), (two,) = files(tmp_path / "one"), files(tmp_path / "two")

    assert one.read_bytes() != two.read_bytes()


def test_what_an_anonymised_message_has_lost_is_told(archive: Archive, tmp_path: Path) -> None:
    outlook = next(path for path in HARD if "rich-text" in path.name)
    (id_,) = archive.store(outlook.read_bytes())

    code, _, err = archive.run("export", id_, "--to", str(tmp_path / "out"), "--anonymise")

    (file,) = files(tmp_path / "out")
    assert code == 1
    assert f"ingestd: {file}: attachment 2~1: " in err
    assert "application/octet-stream, image, 375,081 bytes became nothing" in err


def test_a_message_that_takes_too_much_memory_is_named(archive: Archive, tmp_path: Path) -> None:
    text = archive.config.read_text().replace("workers = 0", 'workers = 1\nmemory_limit = "420MiB"')
    archive.config.write_text(text)
    large, small = archive.store(b"Subject: large\r\n\r\n" + b"words and words\r\n" * (3 << 19), mail(1))

    code, _, err = archive.run("export", large, small, "--to", str(tmp_path / "out"), "--anonymise")

    assert code == 1
    assert f"message {large}: its parser did not come to an end" in err
    assert len(files(tmp_path / "out")) == 1


def test_a_message_too_large_to_be_anonymised_is_refused(archive: Archive, tmp_path: Path) -> None:
    (id_,) = archive.store(mail(1))
    archive.database.messages.update_one({"_id": id_, "account": "work"}, {"$set": {"size_bytes": 33 << 20}})

    code, _, err = archive.run("export", id_, "--to", str(tmp_path / "out"), "--anonymise")

    assert code == 1
    assert "over 32 MiB, too large to be anonymised; export it as it is" in err


# --- what makes no sense


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("list", "--status", "ok"), 2, "must be one of partial, failed"),
        (("list", "--account", "wrk"), 2, 'did you mean "work"?'),
        (("show", "4711"), 1, "no message '4711'"),
        (("export", "4711", "--to", "/dev/null/x"), 2, "--to /dev/null/x: Not a directory"),
    ],
)
def test_what_cannot_be_meant_is_refused(archive: Archive, words: tuple[str, ...], code: int, why: str) -> None:
    done, out, err = archive.run(*words)

    assert (done, out) == (code, "")
    assert why in err
