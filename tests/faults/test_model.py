"""A model of all that may happen around an archive: the server, people, passes that break off, and two daemons.

The real trip runs over mailboxes in memory and mongomock, in all orders that hypothesis thinks of. What a MongoDB
decides is not proved here but in the other tests.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import mongomock
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ingestd.errors import LeaseLost, Unavailable
from ingestd.ingest import Plan, Stored, Wanted
from ingestd.spool import Spool
from ingestd.store.seals import Seals
from tests import mongomock_shim
from tests.fakes import NOON, ListMailbox, mail
from tests.passes import Bench

Document = dict[str, Any]

NAMES = st.sampled_from(["INBOX", "Archive"])
LETTERS = st.lists(st.integers(1, 12), min_size=1, max_size=3)  # few different ones, so that some come twice
NUMBERS = st.integers(0, 50)
STEPS = st.sampled_from(["parsed", "blobs", "originals", "messages", "placements"])


@dataclass
class Holder:
    """A daemon's right to write, as it believes. It never finds out by itself that it overslept: the worst there is."""

    token: int
    taken_over: bool = False
    account: str = "work"

    def check(self) -> None: ...

    def confirm(self) -> None: ...


class Archive(RuleBasedStateMachine):
    """Two mailboxes of an account, people who use them, and daemons that take them in."""

    def __init__(self) -> None:
        super().__init__()
        mongomock_shim.install()
        self.database: Any = mongomock.MongoClient(tz_aware=True).db
        self.directory = tempfile.TemporaryDirectory()
        self.spool = Spool(Path(self.directory.name)).__enter__()
        self.boxes = {name: ListMailbox(name=name) for name in ("INBOX", "Archive")}
        self.holder = Holder(1)
        self.asleep: Generator[Plan | Stored] | None = None
        self.lain: dict[tuple[str, int, int], str] = {}  # digests by mailbox, UIDVALIDITY and UID
        self.last_at_first: dict[tuple[str, int], int] = {}  # the last UID when it was first seen
        self.chosen: set[tuple[str, int, int]] = set()  # by a pass, whatever became of that
        self.owed: set[str] = set()  # digests of what lay there, chosen, during a whole pass
        self.late: set[str] = set()  # places stored by one that overslept: sealed only if they are looked at again

    def teardown(self) -> None:
        if self.asleep:
            self.asleep.close()
        self.spool.__exit__()
        self.directory.cleanup()

    @initialize(select=st.sampled_from(["unseen", "all"]), counting=st.booleans())
    def begin(self, select: str, counting: bool) -> None:
        """With a server that counts its changes (CONDSTORE), or one that does not."""
        self.wanted = Wanted(select)
        for box in self.boxes.values():
            box.modseq = 1 if counting else None

    # --- people and the server

    @rule(name=NAMES, letters=LETTERS, seen=st.booleans())
    def mail_comes(self, name: str, letters: list[int], seen: bool) -> None:
        for letter in letters:
            self._lay(name, mail(letter), seen)

    @rule(name=NAMES, act=st.sampled_from(["read", "expunge", "move"]), number=NUMBERS)
    def somebody_uses_it(self, name: str, act: str, number: int) -> None:
        box, uid = self.boxes[name], self._some(name, number)
        if not uid:
            return
        content = box.messages[uid]
        box.read(uid) if act == "read" else box.expunge(uid)
        if act == "move" and content:
            self._lay("Archive" if name == "INBOX" else "INBOX", content, uid in box.seen)

    @rule(name=NAMES, letter=st.integers(1, 12))
    def the_server_refuses_a_message_or_gives_it_after_all(self, name: str, letter: int) -> None:
        box = self.boxes[name]
        refused = [uid for uid, content in box.messages.items() if content is None]
        if not refused:
            box.deliver(None)
        for uid in refused:
            self._is(name, uid, mail(letter))
        self.database.placements.update_many({"state": "fetching"}, {"$set": {"next_try": NOON}})

    @rule(name=NAMES)
    def the_server_loses_its_uids(self, name: str) -> None:
        box = self.boxes[name]
        fresh = ListMailbox(*box.messages.values(), uidvalidity=box.uidvalidity + 1, name=name)
        fresh.modseq = box.modseq
        fresh.dates = dict(enumerate(map(box.dates.__getitem__, box.messages), 1))
        fresh.seen = {new for new, old in enumerate(box.messages, 1) if old in box.seen}
        self.boxes[name] = fresh
        for uid, content in fresh.messages.items():
            if content is not None:
                self._is(name, uid, content)

    # --- daemons

    @rule(name=NAMES)
    def a_whole_pass(self, name: str) -> None:
        box = self.boxes[name]
        there = {uid for uid, content in box.messages.items() if content is not None}

        plan, *_ = self._pass(name)

        assert isinstance(plan, Plan)
        left_out = {uid for uids in plan.left_out.values() for uid in uids}
        assert set(box.messages) <= {*plan.done, *plan.selected, *left_out}
        assert all(uid in box.seen and uid <= self.last_at_first[name, box.uidvalidity] for uid in left_out)
        assert not left_out or self.wanted.select == "unseen"
        assert not {(name, box.uidvalidity, uid) for uid in left_out} & self.chosen
        kept = self._uids(name, "stored")
        assert there - left_out - self._uids(name, "quarantined", "fetching") <= kept
        self.owed |= {self.lain[name, box.uidvalidity, uid] for uid in there & kept}
        assert self._places({"mailbox": name, "state": "stored"}) <= {*self._sealed(), *self.late}

    @rule(name=NAMES, limit=st.integers(1, 3))
    def a_short_pass(self, name: str, limit: int) -> None:
        self._pass(name, limit=limit)

    @rule(name=NAMES, step=STEPS)
    def a_pass_that_dies_at_a_step(self, name: str, step: str) -> None:
        self._pass(name, fail_at=step)

    @rule(name=NAMES, number=NUMBERS)
    def a_pass_whose_connection_breaks(self, name: str, number: int) -> None:
        box, broken = self.boxes[name], self._some(name, number)

        def break_off(uid: int) -> None:
            if uid == broken:
                raise Unavailable("the connection is gone")

        box.before_each = break_off
        self._pass(name)
        box.before_each = lambda uid: None

    @rule(name=NAMES)
    def a_pass_over_a_server_that_lists_nothing(self, name: str) -> None:
        box = self.boxes[name]
        kept, box.messages = box.messages, {}
        self._pass(name)
        box.messages = kept

    @precondition(lambda self: self.asleep is None)
    @rule(name=NAMES, taken=st.integers(1, 2), overtaken=st.booleans())
    def a_daemon_falls_asleep_in_a_pass_and_loses_its_account(self, name: str, taken: int, overtaken: bool) -> None:
        self.asleep = self._steps(name)
        for _ in range(taken):
            next(self.asleep, None)
        self._take_over()
        if overtaken:
            self.a_whole_pass(name)

    @precondition(lambda self: self.asleep is not None)
    @rule()
    def it_wakes_up(self) -> None:
        assert self.asleep is not None
        with suppress(LeaseLost):
            list(self.asleep)
        self.asleep = None
        self.late |= self._places({"state": "stored"}) - set(self._sealed())

    # --- what must always hold

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.owed <= self._digests()

    @invariant()
    def nothing_is_made_up(self) -> None:
        assert self._digests() <= set(self.lain.values())

    @invariant()
    def every_place_holds_what_lay_there(self) -> None:
        for place in self.database.placements.find({"state": "stored"}):
            uidvalidity = int(place["_id"].partition("UIDVALIDITY=")[2].partition("/")[0].partition(";")[0])
            assert place["digest"] == self.lain[place["mailbox"], uidvalidity, int(place["uid"])]

    @invariant()
    def nothing_is_sealed_twice_or_without_being_stored(self) -> None:
        sealed = self._sealed()
        assert len(sealed) == len(set(sealed))
        assert set(sealed) <= self._places({"state": "stored"})

    # --- means

    def _pass(self, name: str, limit: int | None = None, fail_at: str = "") -> list[Plan | Stored]:
        """Make a pass, as far as it comes."""
        steps = list[Plan | Stored]()
        with suppress(Unavailable):
            steps.extend(self._steps(name, limit, fail_at))
        return steps

    def _steps(self, name: str, limit: int | None = None, fail_at: str = "") -> Generator[Plan | Stored]:
        box = self.boxes[name]
        self.last_at_first.setdefault((name, box.uidvalidity), box.uidnext - 1)
        bench = Bench(self.database, self.spool, self.holder, fail_at=fail_at)  # type: ignore[arg-type]  # as a lease
        for step in bench.steps(box, replace(self.wanted, limit=limit)):
            if isinstance(step, Plan):
                self.chosen |= {(name, box.uidvalidity, uid) for uid in step.selected}
            yield step

    def _take_over(self) -> None:
        self.holder = Holder(self.holder.token + 1, taken_over=True)
        Seals(self.database, self.holder)  # type: ignore[arg-type]  # as a lease
        self.holder.taken_over = False

    def _lay(self, name: str, content: bytes, seen: bool) -> None:
        uid = self.boxes[name].deliver(content, seen=seen)
        self.boxes[name].dates[uid] = datetime.now(UTC)
        self._is(name, uid, content)

    def _is(self, name: str, uid: int, content: bytes) -> None:
        box = self.boxes[name]
        box.messages[uid] = content
        self.lain[name, box.uidvalidity, uid] = sha256(content).hexdigest()

    def _some(self, name: str, number: int) -> int:
        """One of the UIDs that are there, or 0."""
        uids = sorted(self.boxes[name].messages)
        return uids[number % len(uids)] if uids else 0

    def _uids(self, name: str, *states: str) -> set[int]:
        """The UIDs of the present epoch that are in one of *states*."""
        epoch = self.database.mailboxes.find_one({"_id": f"work/{name}"})["epoch"]
        ours = {"mailbox": name, "epoch": epoch, "state": {"$in": list(states)}}
        return {int(place["uid"]) for place in self.database.placements.find(ours)}

    def _places(self, which: Document) -> set[str]:
        return {place["_id"] for place in self.database.placements.find(which)}

    def _sealed(self) -> list[str]:
        return [place["_id"] for seal in self.database.seals.find() for place in seal["places"]]

    def _digests(self) -> set[str]:
        return {message["sha256"] for message in self.database.messages.find()}


TestArchive = Archive.TestCase
TestArchive.settings = settings(
    max_examples=250, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
