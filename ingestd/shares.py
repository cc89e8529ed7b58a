"""Which accounts a daemon serves when several could: each takes its fair share, and nobody leaves one alone.

Every daemon decides for itself, from the same facts. A share is the number of accounts that a daemon is configured for,
each divided by the daemons that are, rounded up. What a daemon has it keeps, unless that is more than its share and
somebody has room for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from hashlib import sha256
from math import ceil

from .store.daemons import View


@dataclass(frozen=True)
class Shares:
    """What follows from a *view*, which holds the daemon that asks among those that live."""

    view: View

    def to_take(self) -> list[str]:
        """The free accounts that are ours to take: up to our share, and what nobody else has room for."""
        mine = self.view.daemons[self.view.me] - self.view.holders.keys() - self.view.asked
        room, taken = self._room(self.view.me), list[str]()
        for account in sorted(mine, key=lambda each: (len(self._candidates[each]), self._order(each))):
            if len(taken) < room or not self._takers(account):
                taken.append(account)
        return taken

    def to_give(self, most: int) -> list[str]:
        """What is not for us to hold: what is asked for or not ours to serve, and above our share at most *most*."""
        mine = {account for account, holder in self.view.holders.items() if holder == self.view.me}
        given = mine & self.view.asked | mine - self.view.daemons[self.view.me]
        rooms = {daemon: self._room(daemon) for daemon in self.view.daemons}
        surplus = min(-rooms[self.view.me] - len(given), most)
        moved: list[str] = []
        for account in sorted(mine - given, key=self._order):
            if len(moved) < surplus and (takers := [each for each in self._takers(account) if rooms[each] > 0]):
                rooms[max(takers, key=lambda each: rooms[each])] -= 1
                moved.append(account)
        return [*sorted(given), *moved]

    def _takers(self, account: str) -> Collection[str]:
        """The others who could take *account* and have room for it."""
        return [each for each in self._candidates[account] if each != self.view.me and self._room(each) > 0]

    def _room(self, daemon: str) -> int:
        """How many more accounts *daemon* may take; below 0, how many it has too many."""
        return self._share[daemon] - self._load[daemon]

    @cached_property
    def _candidates(self) -> dict[str, list[str]]:
        candidates: dict[str, list[str]] = {}
        for daemon, accounts in self.view.daemons.items():
            for account in accounts:
                candidates.setdefault(account, []).append(daemon)
        return candidates

    @cached_property
    def _share(self) -> dict[str, int]:
        # As fractions: three thirds of floating point may be more than one.
        parts = {account: Fraction(1, len(daemons)) for account, daemons in self._candidates.items()}
        return {daemon: ceil(sum(parts[each] for each in accounts)) for daemon, accounts in self.view.daemons.items()}

    @cached_property
    def _load(self) -> Counter[str]:
        return Counter(self.view.holders.values())

    def _order(self, account: str) -> bytes:
        """Another order for each daemon, so that they do not all reach for the same account."""
        return sha256(f"{self.view.me} {account}".encode()).digest()
