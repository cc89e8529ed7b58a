"""A clock that jumps by an hour under a running daemon: mail is stored as if it had not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from tests.e2e.conftest import kill
from tests.faults import state
from tests.faults.clock import Clock
from tests.faults.conftest import Trial
from tests.faults.letters import mixed
from tests.waiting import until

HOUR = 3600


@pytest.mark.parametrize("jump", [-HOUR, HOUR], ids=["back", "ahead"])
def test_a_clock_that_jumps_by_an_hour_delays_nothing(
    trial: Trial, database: Database[dict[str, Any]], tmp_path: Path, jump: int
) -> None:
    clock, letters = Clock(tmp_path), mixed()
    trial.configure(account='every = "1s"')
    trial.site.deliver(letters[:6])
    stored = {"state": "stored"}
    daemon = trial.site.start("run", **clock.environment)
    try:
        until(lambda: database.placements.count_documents(stored) == 6)
        clock.set(jump)
        trial.site.deliver(letters[6:])

        until(lambda: database.placements.count_documents(stored) == 12)
        until(lambda: database.mailboxes.count_documents({"done": "1:12"}) == 1)
    finally:
        kill(daemon)

    assert state.of(trial.site) == trial.undisturbed()
