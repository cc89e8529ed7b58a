"""What can go wrong, named by what to do about it.

IngestError
 ├─ Unavailable   try again later (network, server busy, primary stepping down)
 │   ├─ StoreUnavailable   the same, of the store: no account can go on without it
 │   ├─ Unreachable        a mail server is away: no connection, turned away before login, or nothing that makes sense
 │   └─ PutOff             the mail server has enough of us for now: nothing is wrong with the account
 ├─ Refused       a person must act (bad password, wrong certificate, no such mailbox)
 │   └─ NeedsLogin         the same, of an OAuth 2 login: `ingestd auth login ACCOUNT`
 └─ LeaseLost     stop at once: another daemon serves the account

A message that a server would not give is not an error but a value (`message.Failed`): it must never stop the others.
"""

from __future__ import annotations

from datetime import timedelta

from .throttle import Throttle


class IngestError(Exception):
    """Base of every error ingestd raises on purpose. Its text is one line that an operator can act on."""


class Unavailable(IngestError):
    """The other side did not answer; the same call may succeed later."""


class StoreUnavailable(Unavailable):
    """MongoDB did not answer; the same call may succeed later."""


class Unreachable(Unavailable):
    """The mail server is away, as far as can be told; another way to the same mail may be open."""


class PutOff(Unavailable):
    """The other side has enough of us for now, or will have if we go on; come back later, not elsewhere."""

    def __init__(self, text: str, throttle: Throttle | None = None, wait: timedelta | None = None) -> None:
        """*throttle* is what the server said; *wait* how long to leave the account alone, once that is known."""
        super().__init__(text)
        self.throttle, self.wait = throttle, wait


class Refused(IngestError):
    """The other side said no, and will say no again until someone acts."""


class NeedsLogin(Refused):
    """A login that does not last has ended; a person must log in anew."""


class LeaseLost(IngestError):
    """Another daemon holds the account, or has taken it from us."""
