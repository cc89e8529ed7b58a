"""People who go on using their mailboxes while ingestd reads them: they get, read, flag, move and delete mail."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from queue import Queue
from random import Random
from threading import Event, Thread
from types import TracebackType
from typing import Any, ClassVar, Self

from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError
from pymongo.database import Database

from ingestd.demo.mailbox import messages
from tests.e2e.conftest import Site

MAILBOXES = ("INBOX", "Archive", "Lists")
FLAGS = (rb"\Seen", rb"\Flagged", rb"\Answered", b"$Later")
PAUSE = 0.15  # seconds at most between two acts

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody will do, drawn beforehand; upon which mail turns out when it is done."""

    kind: str
    mailbox: str
    other: str
    pause: float
    draw: Random


class People:
    """Do what they are told to, one act after the other, on a thread of their own within the `with` block."""

    def __init__(self, site: Site, database: Database[Document], draw: Random) -> None:
        self._site, self._database, self._draw = site, database, draw
        self._letters = messages(100_000, seed=draw.randint(1, 1000))
        self._acts: Queue[Act | None] = Queue()
        self._over = Event()
        self._error: BaseException | None = None
        self.digests: set[str] = set()  # of all mail that they got
        self.done = dict.fromkeys(self._kinds, 0)

    def __enter__(self) -> Self:
        client = self._site.client()
        for name in MAILBOXES[1:]:
            client.create_folder(name)
        client.logout()
        self._thread = Thread(target=self._live, name="people", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self._over.set()
        self._acts.put(None)
        self._thread.join()
        if self._error and error is None:
            raise self._error

    def act(self, count: int) -> None:
        """Have *count* things done, soon."""
        for _ in range(count):
            kind = self._draw.choices(list(self._kinds), (5, 2, 2, 2))[0]
            one, other = self._draw.sample(MAILBOXES, 2)
            self._acts.put(Act(kind, one, other, self._draw.uniform(0, PAUSE), Random(self._draw.random())))

    def rest(self) -> None:
        """Return when all is done that was to be."""
        self._acts.join()

    # --- on their thread

    def _live(self) -> None:
        client = self._site.client()
        try:
            for act in iter(self._acts.get, None):
                self._over.wait(act.pause)
                client.select_folder(act.mailbox)
                with suppress(IMAPClientError):  # the mail may be gone already
                    self._kinds[act.kind](self, client, act)
                    self.done[act.kind] += 1
                self._acts.task_done()
        except BaseException as error:  # noqa: BLE001 - raised at the end of the block
            self._error = error
        client.logout()

    def _get(self, client: IMAPClient, act: Act) -> None:
        for letter in itertools.islice(self._letters, act.draw.randint(1, 4)):
            client.append(act.mailbox, letter.content, letter.flags, letter.internal_date)
            self.digests.add(sha256(letter.content).hexdigest())

    def _flag(self, client: IMAPClient, act: Act) -> None:
        if uids := _some(client.search(), act):
            change = act.draw.choice((client.add_flags, client.remove_flags))
            change(uids, [act.draw.choice(FLAGS)])

    def _move(self, client: IMAPClient, act: Act) -> None:
        if uids := _some(client.search(), act):
            client.move(uids, act.other)

    def _delete(self, client: IMAPClient, act: Act) -> None:
        """Delete mail that is stored: of other mail nobody could say whether it was lost."""
        stored = {"account": "work", "mailbox": act.mailbox, "state": "stored", "present": True}
        known = {int(place["uid"]) for place in self._database.placements.find(stored, {"uid": 1})}
        if uids := _some(sorted(known.intersection(client.search())), act):
            client.delete_messages(uids)
            client.expunge(uids)

    _kinds: ClassVar[dict[str, Callable[[People, IMAPClient, Act], None]]] = {
        "got": _get,
        "flagged": _flag,
        "moved": _move,
        "deleted": _delete,
    }


def _some(uids: list[int], act: Act) -> list[int]:
    return act.draw.sample(uids, min(len(uids), act.draw.randint(1, 3)))


def everything(site: Site) -> Iterator[tuple[str, int, str]]:
    """What lies on the server: mailbox, UID, and the digest of the bytes that it gives."""
    client = site.client()
    for name in MAILBOXES:
        client.select_folder(name, readonly=True)
        uids = client.search()
        for start in range(0, len(uids), 100):
            answers = client.fetch(uids[start : start + 100], ["BODY.PEEK[]"])
            yield from ((name, uid, sha256(answer[b"BODY[]"]).hexdigest()) for uid, answer in answers.items())
    client.logout()
