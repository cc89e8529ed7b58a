"""Send what people are to be told by mail: what comes together in one mail, and never more often than once a minute.

A mail server that does not answer is tried again later; meanwhile everything waits in the store, and nobody for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from os import uname
from threading import Event, Thread
from typing import Any

import structlog
from pymongo.database import Database

from .access import encrypted, reference, registered, secret
from .config import Alerts as Wanted
from .config import Config
from .errors import IngestError
from .smtp import send
from .sources.server import Server
from .sources.wire import Switch
from .store import outbox
from .store.outbox import LoginShelf, Notice

Document = dict[str, Any]

NAME = "alerts"  # in `ingestd auth login`, and in what is said of the mail server
POLL = timedelta(seconds=5)  # between looks into the outbox: what comes together is told together
EVERY = timedelta(minutes=1)  # between two mails, at least
AT_ONCE = 1000  # notices in a mail
SHOWN = 50  # of them that are written out

SAYS = {
    "refused": "is refused",
    "login": "needs a person to log in",
    "disappeared": "misses many messages at once",
    "fallback": "is read over POP3",
}

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Postman:
    """Sends what is in the outbox; several may, and each notice is sent by one."""

    database: Database[Document]
    post: Callable[[EmailMessage, Switch], None]
    poll: timedelta = POLL
    every: timedelta = EVERY
    _stopped: Event = field(default_factory=Event)
    _switch: Switch = field(default_factory=Switch)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Send on one thread until the block ends; what is under way then is sent, or told again later."""
        thread = Thread(target=self._work, name="alerts")
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            self._switch.turn_off()
            thread.join()

    def round(self) -> timedelta:
        """Send what is due; return how long to wait then. What fails stays, and is tried again by itself."""
        notices = outbox.claim(self.database, AT_ONCE)
        if untold := [notice for notice in notices if notice.raised != notice.told]:
            try:
                self.post(digest(untold, datetime.now(UTC)), self._fresh())
            except IngestError as error:
                wait = outbox.failed(self.database, notices)
                log.warning("alerts not sent", error=str(error), wait_seconds=round(wait.total_seconds()))
                return self.every
            log.info("alerts sent", notices=len(untold))
        outbox.told(self.database, notices)
        return self.every if untold else self.poll

    def _fresh(self) -> Switch:
        """A switch for one attempt: one that took too long stays off."""
        self._switch = Switch()
        if self._stopped.is_set():
            self._switch.turn_off()
        return self._switch

    def _work(self) -> None:
        pause = self.poll
        while not self._stopped.wait(pause.total_seconds()):
            pause = self.poll
            try:
                pause = self.round()
            except IngestError as error:
                log.debug("outbox not read", error=str(error))
            except Exception:  # what is not sent is one thing; that nobody sends any more would be another
                log.exception("alerts failed")


def postman(config: Config, database: Database[Document]) -> Postman | None:
    """Who sends the alerts of *config*, if there are to be any. Raises Refused when the extra is missing."""
    if config.alerts is None:
        return None
    wanted, server = config.alerts, mail_server(config, database)
    return Postman(database, lambda message, switch: deliver(wanted, server, message, switch))


def deliver(wanted: Wanted, server: Server, message: EmailMessage, switch: Switch | None = None) -> None:
    """Send *message* from and to whom *wanted* says; raise Unavailable or Refused."""
    message["From"], message["To"] = wanted.sender, ", ".join(wanted.to)
    message["Message-ID"] = make_msgid(domain=wanted.sender.rpartition("@")[2])
    send(server, message, wanted.to, switch)


def mail_server(config: Config, database: Database[Document] | None) -> Server:
    """How to reach the mail server that sends. Raises Refused when the extra is missing."""
    said = config.alerts
    assert said is not None  # whoever asks has seen that there is one
    where, user = (said.host, said.port, said.tls), said.user or ""
    if said.oauth is not None:
        client = registered(said.oauth, "alerts.oauth")  # first, since it says what is missing
        from .sources.oauth import Tokens

        shelf = LoginShelf(database) if database is not None else None
        tokens = Tokens(NAME, client, encrypted(config, NAME, shelf))
        return Server(*where, user, tokens, said.ca_file, table=NAME, rejected=tokens.rejected)
    if said.password is None:
        return Server(*where, user, lambda: "", said.ca_file, table=NAME)
    password = secret(said.password, "alerts.password")
    return Server(*where, user, password, said.ca_file, f" in {reference(said.password)}", table=NAME)


def digest(notices: Sequence[Notice], now: datetime) -> EmailMessage:
    """One mail that says all of *notices*."""
    message = EmailMessage()
    first = notices[0]
    about = _in_a_word(first) if len(notices) == 1 else f"{len(notices):,} alerts"
    message["Subject"] = f"ingestd: {about}"
    message["Date"] = format_datetime(now)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's vacation answers it
    shown = [_at_length(notice) for notice in notices[:SHOWN]]
    more = [f"and {len(notices) - SHOWN:,} more; to see them: ingestd alert"] if len(notices) > SHOWN else []
    message.set_content("\n\n".join([*shown, *more, f"-- \ningestd at {uname().nodename}"]) + "\n")
    return message


def trial(now: datetime) -> EmailMessage:
    """A mail that only shows that mails arrive."""
    message = EmailMessage()
    message["Subject"] = "ingestd: a test of its alerts"
    message["Date"], message["Auto-Submitted"] = format_datetime(now), "auto-generated"
    message.set_content(f"If you read this, alerts arrive.\n\n-- \ningestd at {uname().nodename}\n")
    return message


def _in_a_word(notice: Notice) -> str:
    if notice.raised:
        return f"{notice.subject} {SAYS.get(notice.kind, notice.kind)}"
    return f"{notice.subject} is well again (it {SAYS.get(notice.kind, notice.kind).replace('is ', 'was ', 1)})"


def _at_length(notice: Notice) -> str:
    since = f"{notice.since:%Y-%m-%d %H:%M} UTC"
    if notice.raised:
        return f"{_in_a_word(notice)}, since {since}:\n{notice.text}"
    return f"{_in_a_word(notice)}, since {since}."
