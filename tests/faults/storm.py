"""The kill storm: ingestd is killed hundreds of times while people use the mailboxes, and its archive is reckoned up.

Everything is drawn from one seed: what people do, when ingestd is killed, and how. What coincides is left to the
machine, so a seed repeats a storm broadly, not to the instruction.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from time import monotonic

import psutil

from tests.faults.conftest import Trial
from tests.faults.people import People
from tests.faults.zygote import Life

KILLED = -9
CALM_EVERY = 8  # cycles; one pass comes to its end, so that no backlog makes all kills alike
BEYOND = 1.4  # times as long as a pass takes: until then it may be killed
WORKERS = 2
WORKERS_KILLED = 6  # at most, in the life of one daemon
MOMENTS = {  # and how often they may be come to before it is the last time
    "checkpoint": 12,
    "searched": 3,
    "literal": 6,
    "spooled": 6,
    "parsed": 3,
    "chunks": 3,
    "blobs": 3,
    "originals": 3,
    "messages": 3,
    "placements": 3,
    "sealed": 3,
    "told": 3,
}


class Storm:
    """Kills, and counts."""

    def __init__(self, trial: Trial, people: People, draw: Random) -> None:
        self._trial, self._people, self._draw = trial, people, draw
        self._pass_seconds = 0.5
        self.kills: Counter[str] = Counter()

    def rage(self, kills: int) -> None:
        """Go on until *kills* processes were killed."""
        kinds = (self._at_a_moment, self._at_any_time, self._its_workers)
        cycle = 0
        while self.kills.total() < kills:
            cycle += 1
            self._people.act(self._draw.randint(1, 4))
            if cycle % CALM_EVERY == 0:
                self._calm()
            else:
                self._draw.choices(kinds, (9, 9, 1))[0]()

    def _calm(self) -> None:
        began = monotonic()
        code = self._trial.once()
        assert code == 0, self._trial.said()
        self._pass_seconds = monotonic() - began

    def _at_a_moment(self) -> None:
        moment = self._draw.choice(list(MOMENTS))
        times = self._draw.randint(1, MOMENTS[moment])
        code = self._trial.once(INGESTD_FAIL_AT=f"{moment}:{times}")
        assert code in (0, KILLED), self._trial.said()
        self.kills[moment] += code == KILLED

    def _at_any_time(self) -> None:
        life = self._trial.start("once")
        if life.wait(self._draw.uniform(0, BEYOND * self._pass_seconds)) is None:
            life.kill()
            self.kills["at any time"] += 1

    def _its_workers(self) -> None:
        """One daemon with workers, which are killed one by one, and then all of it."""
        self._trial.configure(workers=WORKERS)
        life = self._trial.start("run")
        for _ in range(self._draw.randint(1, WORKERS_KILLED)):
            life.wait(self._draw.uniform(0, 2 * self._pass_seconds))
            self._people.act(self._draw.randint(0, 2))
            self.kills["a worker"] += self._one_worker(life)
        life.kill()
        self.kills["a daemon with its workers"] += 1
        self._trial.configure()

    def _one_worker(self, life: Life) -> bool:
        """Kill one of the processes that the daemon has started, if it has."""
        try:
            children = psutil.Process(life.pid).children(recursive=True)
            alive = [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
            for child in self._draw.sample(alive, min(len(alive), 1)):
                child.kill()
        except psutil.NoSuchProcess:  # it ended by itself
            return False
        return bool(alive)
