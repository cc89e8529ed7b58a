"""An account over IMAP: its connection, the names of its mailboxes, and the mailbox that is open.

A connection that breaks is made anew by the next call, never trusted again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from threading import Lock
from types import TracebackType
from typing import Self

from imapclient.imap_utf7 import encode as modified_utf7

from ..errors import PutOff, Refused, Unavailable, Unreachable
from ..message import Numbers
from .imap_answers import (
    Answer,
    broken,
    quoted,
    refusal,
    statuses,
)
from .imap_idle import Begun, begin, notify
from .imap_mailbox import ImapMailbox
from .imap_names import Listed, is_name, listed, meant
from .imap_session import Session
from .server import Server, Tls
from .wire import Broken, Switch

__all__ = ["ImapAccount", "ImapMailbox", "Server", "Tls"]


class ImapAccount:
    """One connection of an account, logged in within the `with` block. One thread at a time.

    Others may stand *beside* it, and are made when there is much to fetch (`Shared`).
    """

    def __init__(self, name: str, server: Server, connections: int = 1, *, spare: bool = False) -> None:
        """*connections* may fetch at a time, this one included. A *spare* one stands beside another, whose word counts:
        what this one cannot bring is left to that.
        """
        self.name, self.server, self.spare = name, server, spare
        ours = replace(server, meter=server.meter.beside)
        self._others = tuple(ImapAccount(name, ours, spare=True) for _ in range(connections - 1))
        self.beside = self._others  # those that may take part in a fetch now
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
        for each in self._others:
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
        for each in self._others:
            if each._session and self._session:  # else it is not worth while to wait for a word of the server
                each._session.log_out()
            each.drop()

    @contextmanager
    def lent(self) -> Iterator[Sequence[ImapAccount]]:
        """Give the connections beside this one, which fetches alone during the block, for other threads to use.

        No thread may use them at its end. Those that were aborted work again after it, unless this one was, too.
        """
        self.beside = ()
        try:
            yield self._others
        finally:
            for each in self._others:
                if each._switch.off and not self._switch.off:
                    each.drop()
                    each._switch = Switch()
            self.beside = self._others

    @property
    def connected(self) -> bool:
        """Whether the connection stands, as far as is known."""
        return self._session is not None

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
        for each in (self, *self._others):
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


def _differ(before: Numbers | None, now: Numbers) -> bool:
    """Whether messages came or went. Flags do not count: those that we set ourselves would be news for ever."""
    return before is None or replace(before, modseq=None) != replace(now, modseq=None)
