"""Read an account over IMAP, and mark what was stored if the operator asked for that.

Mailboxes are opened with EXAMINE and read with BODY.PEEK, so nothing in them changes; only a mailbox opened as writable
can be marked. A connection that breaks is made anew by the next call, never trusted again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from threading import Lock
from types import TracebackType
from typing import Self

from imapclient.imap_utf7 import encode as modified_utf7

from ..errors import PutOff, Refused, Unavailable, Unreachable
from ..message import Arrival, Metadata, Numbers, Place, Removal, Twins
from ..spool import Lane
from ..uidset import UIDSet
from .imap_answers import (
    Answer,
    Selected,
    broken,
    found_uids,
    last_uid,
    quoted,
    refusal,
    selected,
    status_uidnext,
    statuses,
)
from .imap_fetch import Fetch, Task
from .imap_idle import Begun, begin, notify
from .imap_look import FLAGGED_AT, flags, look, told
from .imap_names import Listed, is_name, listed, meant
from .imap_removal import Announce, remove
from .imap_session import Session
from .imap_shared import WORTH, Another, Shared
from .server import Server, Tls
from .wire import Broken, Switch

__all__ = ["ImapAccount", "ImapMailbox", "Server", "Tls"]

ACTED_ON = 500  # messages per STORE
ARRIVING = 100_000  # messages at most, from when a mailbox is opened until it is listed
NEEDED = {"move": "MOVE", "delete": "UIDPLUS"}  # capabilities, without which more would go than what is meant
FLAGS = {"seen": "\\Seen", "delete": "\\Deleted"}
WHOLE = 1 << 32  # UIDs: more than there are, so that only the length of the line limits a chunk


class ImapAccount:
    """One connection of an account, logged in within the `with` block. One thread at a time.

    Others may stand *beside* it, and are made when there is much to fetch (`Shared`).
    """

    def __init__(self, name: str, server: Server, connections: int = 1) -> None:
        """*connections* may fetch at a time, this one included."""
        self.name, self.server = name, server
        ours = replace(server, meter=server.meter.beside)
        self.beside = tuple(ImapAccount(name, ours) for _ in range(connections - 1))
        self.opened: ImapMailbox | None = None  # what the connection has selected
        self.seen: dict[str, Numbers] = {}  # what each mailbox said when it was last opened
        self._session: Session | None = None
        self._raw_names: dict[str, bytes] = {}
        self._in_use = Lock()
        self._switch = Switch()
        self._entered = False

    def __enter__(self) -> Self:
        """Connect and log in; raise Unavailable or Refused."""
        self._entered = True
        self.session()
        for each in self.beside:
            each._entered, each._raw_names = True, self._raw_names
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.be_alone()
        if self._session and error is None and not self._in_use.locked():
            self._session.log_out()
        self.drop()
        self._entered = False

    def be_alone(self) -> None:
        """Close the connections beside this one, of which the next large fetch would make use."""
        for each in self.beside:
            if each._session and self._session:  # else it is not worth while to wait for a word of the server
                each._session.log_out()
            each.drop()

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What the server can do, sorted."""
        return self.session().capabilities

    def mailboxes(self, patterns: Sequence[str]) -> list[str]:
        """Return the names of the mailboxes that *patterns* mean, INBOX first, each once.

        A pattern is a name, may hold `*` and `%` as in LIST, with `/` for the server's own delimiter, or is a special
        use such as `\\Sent`. Raises Refused for one that means none; a name that is not listed is tried as it is.
        """
        every = self._listed()
        found = [name for pattern in patterns for name in self._matching(pattern, every)]
        return sorted(dict.fromkeys(found), key=lambda name: name != "INBOX")

    def unlisted(self, mailboxes: Collection[str]) -> list[str]:
        """Return those of *mailboxes* that the server does not list, sorted. It may have them all the same (`has`)."""
        return sorted(set(mailboxes).difference(one.name for one in self._listed()))

    def has(self, mailbox: str) -> bool:
        """Whether there is such a mailbox."""
        try:
            return mailbox in self.mailboxes([mailbox])
        except Refused:
            return False

    def open(self, mailbox: str, *, writable: bool = False) -> ImapMailbox:
        """Open a mailbox to read, or to read and mark; raise Refused when it cannot be opened like that."""
        try:
            return ImapMailbox(self, mailbox, writable=writable)
        except Refused:
            if mailbox not in self.seen:
                raise
        # Dovecot never opens again what was replaced behind a connection that had it open.
        del self.seen[mailbox]
        self.drop()
        return ImapMailbox(self, mailbox, writable=writable)

    def begin_idle(self, mailboxes: Sequence[str]) -> Begun | None:
        """Have the server tell of news of the first of *mailboxes*, and of the others if it can; None when it cannot.

        Nothing else may be sent until `Idling.end`. Raises Unavailable or Refused.
        """
        if "IDLE" not in self.capabilities:
            return None
        first, *others = mailboxes
        before = dict(self.seen)
        now = {first: self.open(first).numbers}  # from here on the server tells what happens there
        with self.undivided(f"mailbox {self.name}/{first}: IDLE"):
            session = self.session()
            if others and (answer := notify(session, [self.raw_name(other) for other in others])):
                said = statuses(answer)
                now |= {other: said[raw] for other in others if (raw := self.raw_name(other)) in said}
            idling, news = begin(session, now[first].exists)
        return Begun(idling, tuple(now), news or any(_differ(before.get(name), now[name]) for name in now))

    def abort(self) -> None:
        """End what other threads wait for, even for a login. Only leaving the `with` block works after it."""
        for each in (self, *self.beside):
            each._switch.turn_off()

    def cut(self) -> None:
        """End what another thread waits for over this connection, which it may make again."""
        self._switch.cut()

    # --- for the mailboxes of this account

    def session(self) -> Session:
        """The session, a fresh one after `drop`."""
        if not self._entered:
            raise RuntimeError(f"account {self.name} is not open")
        if self._switch.off:
            raise Unavailable(f"account {self.name}: told to stop")
        if self._session is None:
            self._session = Session(self.name, self.server, self._switch)
        return self._session

    def drop(self) -> None:
        """Close the connection at once, whatever is still on its way."""
        session, self._session, self.opened = self._session, None, None
        if session:
            session.close()

    def ask(self, what: str, command: bytes) -> Answer:
        """Send one command; a connection that breaks over it is dropped, and Unavailable."""
        with self.undivided(what):
            return self.session().ask(command)

    @contextmanager
    def undivided(self, what: str) -> Iterator[None]:
        """Keep the connection to oneself: what one call is waiting for must not reach another."""
        if not self._in_use.acquire(blocking=False):
            raise RuntimeError(f"{what}: the connection of account {self.name} is in use; end the fetch first")
        try:
            yield
        except Broken as error:
            self.drop()
            raise broken(what, self.server.host, error) from error
        except PutOff:
            self.drop()  # it is one connection too many, or will be
            raise
        finally:
            self._in_use.release()

    def raw_name(self, mailbox: str) -> bytes:
        """The name as the server writes it, quoted."""
        return quoted(self._raw_names.get(mailbox) or modified_utf7(mailbox))

    # --- names and patterns

    def _listed(self) -> list[Listed]:
        what = f"account {self.name}: mailbox list"
        extended = {"LIST-EXTENDED", "SPECIAL-USE"} <= set(self.capabilities)
        answer = self.ask(what, b'LIST "" "*"' + (b" RETURN (SPECIAL-USE)" if extended else b""))
        if answer.status != "OK":
            raise refusal(what, self.server.host, answer, "ask its operator")
        try:
            every = [one for one in listed(answer) if one.selectable]
        except Broken as error:
            self.drop()
            raise Unreachable(f"{what}: {self.server.host}: {error}") from error
        self._raw_names.update((one.name, one.raw) for one in every)
        return every

    def _matching(self, pattern: str, every: Sequence[Listed]) -> list[str]:
        found = meant(pattern, every)
        if not found and is_name(pattern) and self._exists(pattern):
            found = [pattern]
        if not found:
            raise Refused(
                f"account {self.name}: no mailbox matches {pattern!r} at {self.server.host}; check account.mailboxes"
            )
        return found

    def _exists(self, mailbox: str) -> bool:
        what = f"mailbox {self.name}/{mailbox}"
        answer = self.ask(what, b"STATUS %s (UIDVALIDITY)" % self.raw_name(mailbox))
        if answer.status != "OK" and answer.busy:
            raise refusal(what, self.server.host, answer, "check account.mailboxes")
        return answer.status == "OK"


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
        connection cannot be made again. Until the iterator ends, it owns the connections.
        """

        def place(uid: int) -> Place:
            return Place(self.account, self.name, epoch, self.uidvalidity, uid)

        with self._account.undivided(self.what):
            task, beside = Task(lane, place, since, twins), self._account.beside
            if beside and len(uids) > WORTH:
                yield from Shared(task, self._taking_part(self._account), map(self._taking_part, beside)).arrivals(uids)
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


def _differ(before: Numbers | None, now: Numbers) -> bool:
    """Whether messages came or went. Flags do not count: those that we set ourselves would be news for ever."""
    return before is None or replace(before, modseq=None) != replace(now, modseq=None)


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
