"""One mailbox over IMAP: list, search, fetch, and mark what was stored if the operator asked for that.

Mailboxes are opened with EXAMINE and read with BODY.PEEK, so nothing in them changes; only a mailbox opened as writable
can be marked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from ..errors import Refused, Unavailable
from ..message import Arrival, Metadata, Numbers, Place, Removal, Twins
from ..spool import Lane
from ..uidset import UIDSet
from .imap_answers import (
    Answer,
    Selected,
    found_uids,
    last_uid,
    refusal,
    selected,
    status_uidnext,
)
from .imap_fetch import Fetch, Task
from .imap_look import FLAGGED_AT, flags, look, told
from .imap_names import is_name
from .imap_removal import Announce, remove
from .imap_session import Session
from .imap_shared import WORTH, Another, Shared, without_doubt
from .server import Server

if TYPE_CHECKING:
    from .imap import ImapAccount

ACTED_ON = 500  # messages per STORE
ARRIVING = 100_000  # messages at most, from when a mailbox is opened until it is listed
NEEDED = {"move": "MOVE", "delete": "UIDPLUS"}  # capabilities, without which more would go than what is meant
FLAGS = {"seen": "\\Seen", "delete": "\\Deleted"}
WHOLE = 1 << 32  # UIDs: more than there are, so that only the length of the line limits a chunk


class ImapMailbox:
    """A mailbox as it was when it was opened. Several of one account may be open, and take turns."""

    def __init__(self, account: ImapAccount, name: str, *, writable: bool) -> None:
        self.account, self.name, self._writable = account.name, name, writable
        self._account = account
        with account.undivided(self.what):
            session = account.session()
            said = self._open(session)
            uidnext = said.uidnext or self._computed_uidnext(session, said.exists)
            self.numbers = Numbers(said.uidvalidity, uidnext, said.exists, said.modseq or None)
            account.seen[name] = self.numbers
            self.permanent_flags = said.permanent_flags

    @property
    def what(self) -> str:
        """The mailbox, as errors name it."""
        return f"mailbox {self.account}/{self.name}"

    @property
    def uidvalidity(self) -> int:
        return self.numbers.uidvalidity

    # --- reading

    def listed(self) -> UIDSet:
        """Return all UIDs; raise Unavailable when the server says that it has messages and lists none, or far more."""
        found = self._search(b"ALL")
        if len(found) > self._exists + ARRIVING:  # a few bytes of ESEARCH can name four billion to look up
            raise Unavailable(f"{self.what}: {self.server.host} lists {len(found):,} of its {self._exists:,} messages")
        if not found and self.numbers.exists:
            with self._account.undivided(self.what):
                self._account.opened = None  # opened again, since it may have been emptied meanwhile
                self.session()
            if self._exists:
                raise Unavailable(f"{self.what}: {self.server.host} lists none of its {self._exists} messages")
        return found

    def look(self, uids: UIDSet) -> dict[int, Metadata]:
        """Return what the mailbox says about each of *uids*, without those that it says nothing about."""
        with self._account.undivided(self.what):
            return told(self, uids, look)

    def flags(self, uids: UIDSet, since: int | None) -> dict[int, Metadata]:
        """Return flags and labels of those of *uids* that changed after *since*, a MODSEQ; without it, of all."""
        with self._account.undivided(self.what):
            return told(self, uids, partial(flags, since=since), FLAGGED_AT)

    def search(self, program: str, within: UIDSet | None = None) -> UIDSet:
        """Return the UIDs that *program* (IMAP search keys) finds, of those in *within* only when that is given."""
        if not program.isascii() or not program.isprintable():
            raise Refused(f"{self.what}: a search program is one line of ASCII; check account.select")
        if within is None:
            return self._search(program.encode())
        found = UIDSet()
        for chunk in within.chunks(WHOLE):
            found |= self._search(b"UID %s %s" % (str(chunk).encode(), program.encode()))
        # Some servers give more than what was asked for.
        return found & within

    def fetch(
        self, uids: UIDSet, lane: Lane, *, epoch: int, since: datetime | None = None, twins: Twins | None = None
    ) -> Iterator[Arrival]:
        """Yield what becomes of each of *uids*, with the bytes in *lane*; not those of *twins*.

        In ascending order, or where there are many, over all connections of the account and in any order. Blocks while
        the spool is full. A message that the server will not give is a value (`Failed`); raises Unavailable when the
        connection cannot be made again. Over a spare one, what does not come is left out, and Doubtful raised at the
        end. Until the iterator ends, it owns the connections.
        """

        def place(uid: int) -> Place:
            return Place(self.account, self.name, epoch, self.uidvalidity, uid)

        with self._account.undivided(self.what):
            task, beside = Task(lane, place, since, twins), self._account.beside
            if beside and len(uids) > WORTH:
                yield from Shared(task, self._taking_part(self._account), map(self._taking_part, beside)).arrivals(uids)
                return
            if self._account.spare:
                yield from without_doubt(self, task, uids)
                return
            fetch = Fetch(self, task)
            yield from fetch.arrivals(uids)
            fetch.finish()

    def _taking_part(self, account: ImapAccount) -> Another:
        return Another(partial(self._over, account), account.cut, account.server.meter.failed_beside)

    def _over(self, account: ImapAccount) -> ImapMailbox:
        """This mailbox over the connection of *account*; raise Unavailable when that shows it otherwise."""
        if account is self._account:
            return self
        other = ImapMailbox(account, self.name, writable=False)
        if other.uidvalidity != self.uidvalidity or other.numbers.uidnext < self.numbers.uidnext:
            raise Unavailable(f"{self.what}: another connection to {self.server.host} shows another state of it")
        return other

    def abort(self) -> None:
        """End a `fetch` that runs in another thread, even while it waits for the server. Nothing works after it."""
        self._account.abort()

    # --- marking

    def check_action(self, action: str) -> None:
        """Raise Refused unless server and mailbox can do *action*: `seen`, `flag:$Archived`, `move:Done`, `delete`."""
        kind, _, argument = action.partition(":")
        needed = NEEDED.get(kind)
        if needed and needed not in self._account.capabilities:
            why = f"cannot {kind} messages, since it does not offer {needed}"
            raise Refused(f"{self.what}: {self.server.host} {why}; change account.after_store")
        if kind == "move":
            self._target(argument)
            return
        writable = self if self._writable else self._account.open(self.name, writable=True)
        flag = _flag(action)
        if not {flag, "\\*" if not flag.startswith("\\") else flag} & set(writable.permanent_flags):
            raise Refused(f"{self.what}: {self.server.host} does not keep {flag} there; change account.after_store")

    def acknowledge(self, uids: UIDSet, action: str) -> None:
        """Set the flag of *action* on the messages; those that are gone are no error, nor is doing it twice."""
        self._check_writable()
        for chunk in uids.chunks(ACTED_ON):
            answer = self._ask(b"UID STORE %s +FLAGS.SILENT (%s)" % (str(chunk).encode(), _flag(action).encode()))
            if answer.status != "OK" and answer.code != "EXPUNGEISSUED":
                raise refusal(f"{self.what}: {action}", self.server.host, answer, "check account.after_store")

    def remove(self, known: Mapping[int, Metadata], action: str, announce: Announce) -> Removal:
        """Delete or move, as *action* says, those messages that are still what is *known* of them.

        *announce* is told which, just before; when it raises, nothing was done.
        """
        self._check_writable()
        kind, _, argument = action.partition(":")
        if kind == "move":
            commands = [b"UID MOVE %s " + self._account.raw_name(self._target(argument))]
        else:
            commands = [b"UID STORE %s +FLAGS.SILENT (\\Deleted)", b"UID EXPUNGE %s"]  # never EXPUNGE: not only ours
        with self._account.undivided(self.what):
            return remove(self, known, commands, announce)

    def _check_writable(self) -> None:
        if not self._writable:
            raise ValueError(f"{self.what} was opened to read only")

    def _target(self, name: str) -> str:
        """The one mailbox that *name* means, as the server spells it."""
        try:
            names = self._account.mailboxes([name]) if is_name(name) else []
        except Refused:
            names = []
        if len(names) != 1:
            raise Refused(f"{self.what}: there is no mailbox {name!r} to move to; make it, or change after_store")
        return names[0]

    # --- the connection

    def session(self) -> Session:
        """The session with this mailbox open; raise Unavailable when its UIDs have lost their meaning meanwhile."""
        session = self._account.session()
        if self._account.opened is not self:
            said = self._open(session)
            if said.uidvalidity != self.uidvalidity:
                self._account.opened = None
                raise Unavailable(
                    f"{self.what}: UIDVALIDITY changed from {self.uidvalidity} to {said.uidvalidity}; open it anew"
                )
        return session

    def drop(self) -> None:
        """Close the connection at once."""
        self._account.drop()

    @property
    def server(self) -> Server:
        """Where that is."""
        return self._account.server

    def _ask(self, command: bytes) -> Answer:
        with self._account.undivided(self.what):
            return self.session().ask(command)

    def _open(self, session: Session) -> Selected:
        self._account.opened = None
        verb = b"SELECT" if self._writable else b"EXAMINE"
        command, answer = b"%s %s" % (verb, self._account.raw_name(self.name)), None
        if {"CONDSTORE", "QRESYNC"} & set(session.capabilities):
            answer = session.ask(command + b" (CONDSTORE)")
        if answer is None or answer.status == "BAD":  # some servers offer it and do not know it
            answer = session.ask(command)
        if answer.status != "OK":
            raise refusal(self.what, self.server.host, answer, "check account.mailboxes")
        if self._writable and answer.code == "READ-ONLY":
            raise Refused(f"{self.what}: {self.server.host} lets us only read it; set account.after_store to none")
        said = selected(answer)
        if not said.uidvalidity:
            raise Refused(f"{self.what}: {self.server.host} gives no UIDVALIDITY, so its messages cannot be told apart")
        self._account.opened, self._exists = self, said.exists
        return said

    def _computed_uidnext(self, session: Session, exists: int) -> int:
        """What the server left out: by STATUS, else from the last message."""
        said = status_uidnext(session.ask(b"STATUS %s (UIDNEXT)" % self._account.raw_name(self.name)))
        if said is None and exists:
            said = last_uid(session.ask(b"UID FETCH * (UID)")) + 1
        return said or 1

    def _search(self, keys: bytes) -> UIDSet:
        with self._account.undivided(self.what):
            session = self.session()
            answer = None
            if "ESEARCH" in session.capabilities:
                answer = session.ask(b"UID SEARCH RETURN (ALL) " + keys)
            if answer is None or answer.status == "BAD":  # some servers offer ESEARCH and do not know it
                answer = session.ask(b"UID SEARCH " + keys)
            if answer.status != "OK":
                raise refusal(f"{self.what}: search", self.server.host, answer, "check account.select")
            return found_uids(answer)


def _flag(action: str) -> str:
    """The flag that *action* sets."""
    if action in FLAGS:
        return FLAGS[action]
    kind, _, flag = action.partition(":")
    if kind != "flag" or not re.fullmatch(r"\\?[A-Za-z0-9$_.+-]+", flag):
        raise Refused(
            f"{action!r} is not what can be done to a message; use seen, flag:KEYWORD, move:MAILBOX or delete"
        )
    return flag
