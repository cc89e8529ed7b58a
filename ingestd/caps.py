"""How much of a mail server an account may use, how much it has used, and so: whether it may go on, or when.

Pure decisions. A provider's caps are known beforehand, said by the operator, or learned from what its server answers;
what was used is counted in slots of time, which are forgotten when they are older than what they are counted for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from .throttle import Throttle, backoff
from .units import size_text

LEARNED_FOR = timedelta(days=1)  # then it is tried whether the server still minds
LEARNED_SHARE = 0.9  # of what had gone well until the server said no
LEAST_LEARNED_BYTES = 64 << 20  # a cap below that would be somebody else's doing
LEAST_LEARNED_LOGINS = 4
REFUSED_LOGINS = 4  # an hour: with a wrong password, more would lock the account
SPARE_LOGINS = 0.5  # of a cap: what is left of it is for visits, not for making one of them faster
FREE_AGAIN = 0.9  # of a cap: an account does not come back for the first byte that it may have


@dataclass(frozen=True, slots=True)
class Caps:
    """What an account may use of its provider; None where nobody has said a bound."""

    connections: int | None = None
    bytes_a_day: int | None = None
    logins_an_hour: int | None = None


# Google documents 15 connections and 2,500 MB a day over IMAP, of which we leave some to people's own programs. The
# others are bounds of our own: careful, and nothing that the providers promise.
GENERIC = Caps(connections=8)
PROVIDERS = {
    "gmail": Caps(12, 2_250_000_000, 240),
    "microsoft365": Caps(8, None, 240),
    "yahoo": Caps(4, None, 120),
    "icloud": Caps(4, None, 120),
    "fastmail": Caps(8, None, 240),
}
HOSTS = {
    "gmail.com": "gmail",
    "googlemail.com": "gmail",
    "office365.com": "microsoft365",
    "outlook.com": "microsoft365",
    "yahoo.com": "yahoo",
    "aol.com": "yahoo",
    "mail.me.com": "icloud",
    "fastmail.com": "fastmail",
}


def provider(host: str) -> str:
    """Who runs *host*: a provider that we know, else the host itself."""
    labels = host.lower().rstrip(".").split(".")
    parents = (".".join(labels[start:]) for start in range(len(labels)))
    return next((HOSTS[parent] for parent in parents if parent in HOSTS), host.lower())


def allowed(host: str, own: Caps) -> Caps:
    """What an account may use of *host*: what the operator said (*own*), else what is known of its provider."""
    usual = PROVIDERS.get(provider(host), GENERIC)
    return Caps(
        own.connections or usual.connections,
        own.bytes_a_day or usual.bytes_a_day,
        own.logins_an_hour or usual.logins_an_hour,
    )


# --- counting


@dataclass(frozen=True, slots=True)
class Period:
    """A time that is counted for, and the slots in which it is."""

    lasts: timedelta
    slot: timedelta

    def start(self, now: datetime) -> datetime:
        """When the slot of *now* began."""
        return now - (now - datetime.fromtimestamp(0, now.tzinfo)) % self.slot

    def over(self, start: datetime) -> datetime:
        """When nothing of a slot counts any more."""
        return start + self.slot + self.lasts


DAY = Period(timedelta(days=1), timedelta(hours=1))
HOUR = Period(timedelta(hours=1), timedelta(minutes=1))


@dataclass(frozen=True, slots=True)
class Tally:
    """How much there was of something within a period, by the slot in which it was, oldest first."""

    period: Period
    slots: tuple[tuple[datetime, int], ...] = ()

    def add(self, count: int, now: datetime) -> Tally:
        start, slots = self.period.start(now), dict(self._counted(now))
        slots[start] = slots.get(start, 0) + count
        return replace(self, slots=tuple(sorted(slots.items())))

    def total(self, now: datetime) -> int:
        return sum(count for _, count in self._counted(now))

    def until(self, most: float, now: datetime) -> datetime:
        """When there will be *most* or less of it, if nothing comes."""
        left = self.total(now)
        for start, count in self._counted(now):
            if left <= most:
                break
            left, now = left - count, self.period.over(start)
        return now

    def _counted(self, now: datetime) -> Iterator[tuple[datetime, int]]:
        return ((start, count) for start, count in self.slots if self.period.over(start) > now)


# --- what was used, and what follows


@dataclass(frozen=True, slots=True)
class Hold:
    """Until when an account is left alone, and why."""

    until: datetime
    why: str  # for an operator; holds no address


@dataclass(frozen=True, slots=True)
class Learned:
    """What a server's answers have taught, for a while."""

    caps: Caps
    until: datetime


@dataclass(frozen=True, slots=True)
class Usage:
    """What an account has used of its provider."""

    fetched: Tally = field(default_factory=lambda: Tally(DAY))  # bytes
    logins: Tally = field(default_factory=lambda: Tally(HOUR))
    refused: Tally = field(default_factory=lambda: Tally(HOUR))  # of the logins
    hold: Hold | None = None
    in_a_row: int = 0  # visits that the server put off
    learned: Learned | None = None

    def caps(self, said: Caps, now: datetime) -> Caps:
        """What holds by what was *said* and what was learned."""
        if self.learned is None or self.learned.until <= now:
            return said
        own = self.learned.caps
        return Caps(
            _least(said.connections, own.connections),
            _least(said.bytes_a_day, own.bytes_a_day),
            _least(said.logins_an_hour, own.logins_an_hour),
        )

    def held(self, now: datetime) -> Hold | None:
        return self.hold if self.hold and self.hold.until > now else None

    def fetch(self, size_bytes: int, said: Caps, now: datetime) -> Usage:
        """After so many bytes of messages; held when that is enough for a day."""
        fetched = self.fetched.add(size_bytes, now) if size_bytes else self.fetched
        used, most = replace(self, fetched=fetched), self.caps(said, now).bytes_a_day
        if most is None or used.fetched.total(now) < most:
            return used
        why = f"{size_text(used.fetched.total(now))} fetched within a day, the cap is {size_text(most)}"
        return replace(used, hold=Hold(used.fetched.until(most * FREE_AGAIN, now), why))

    def log_in(self, said: Caps, now: datetime) -> Usage:
        """Before a login; held, and not counted, when it would be one too many."""
        if self.held(now):
            return self
        most, refused = self.caps(said, now).logins_an_hour, self.refused.total(now)
        if refused >= REFUSED_LOGINS:
            why = f"{refused} logins refused within an hour; mend it and run: ingestd check"
            return replace(self, hold=Hold(self.refused.until(REFUSED_LOGINS - 1, now), why))
        if most is not None and self.logins.total(now) >= most:
            why = f"{self.logins.total(now)} logins within an hour, the cap is {most}"
            return replace(self, hold=Hold(self.logins.until(most * FREE_AGAIN, now), why))
        return replace(self, logins=self.logins.add(1, now))

    def spares_login(self, said: Caps, now: datetime) -> bool:
        """Whether there is one for a connection that would only make a visit faster."""
        if self.held(now) or self.refused.total(now):
            return False
        most = self.caps(said, now).logins_an_hour
        return most is None or self.logins.total(now) < most * SPARE_LOGINS

    def refuse(self, now: datetime) -> Usage:
        """After a login that the server refused."""
        return replace(self, refused=self.refused.add(1, now))

    def welcome(self, now: datetime) -> Usage:
        """After a login that went well."""
        locked = self.refused.total(now) >= REFUSED_LOGINS
        return replace(self, refused=Tally(HOUR), hold=None if locked else self.hold)

    def put_off(self, throttle: Throttle, still_open: int, now: datetime) -> Usage:
        """After an answer that names a limit of ours: held, for longer each time in a row, and wiser.

        *still_open* are the connections that the server has not minded.
        """
        row, learned = self.in_a_row + 1, self._learned(throttle, still_open, now)
        hold = Hold(now + backoff(throttle, row), f"the server says: {throttle}")
        return replace(self, hold=hold, in_a_row=row, learned=learned)

    def warned(self, throttle: Throttle, still_open: int, now: datetime) -> Usage:
        """After such an answer to a connection that would only have made a visit faster: wiser, and not held."""
        return replace(self, learned=self._learned(throttle, still_open, now))

    def well(self) -> Usage:
        """After a visit that nothing stopped."""
        return replace(self, in_a_row=0)

    def _learned(self, throttle: Throttle, still_open: int, now: datetime) -> Learned | None:
        caps = self.learned.caps if self.learned and self.learned.until > now else Caps()
        match throttle.kind:
            case "connections":
                caps = replace(caps, connections=max(1, still_open))
            case "traffic":
                went_well = int(self.fetched.total(now) * LEARNED_SHARE)
                caps = replace(caps, bytes_a_day=max(LEAST_LEARNED_BYTES, went_well))
            case "logins":
                went_well = int(self.logins.total(now) * LEARNED_SHARE)
                caps = replace(caps, logins_an_hour=max(LEAST_LEARNED_LOGINS, went_well))
            case _:
                return self.learned
        return Learned(caps, now + LEARNED_FOR)


def _least(*bounds: int | None) -> int | None:
    return min((bound for bound in bounds if bound is not None), default=None)
