"""One account in trouble among many: the others are served as if it were not there."""

from __future__ import annotations

import socket
from time import monotonic

from pymongo.database import Database

from tests.faults.conftest import Trial
from tests.faults.letters import mixed
from tests.waiting import until

BLACK_HOLES = """
[[account]]
name = "hole{number}"
every = "1s"
[account.imap]
host = "localhost"
port = {port}
tls = "none"
user = "me"
password = {{ file = "secret" }}
"""
HOLES = 8  # more than are visited at a time
PATIENCE = 60.0  # seconds that a silent mail server is given: what one account would wait for another


def test_black_holed_accounts_delay_nobody_else(trial: Trial, database: Database[dict[str, object]]) -> None:
    letters = mixed()
    with socket.create_server(("127.0.0.1", 0)) as hole:
        trial.configure(account='every = "1s"')
        port = hole.getsockname()[1]
        holes = "".join(BLACK_HOLES.format(number=number, port=port) for number in range(HOLES))
        trial.site.config.write_text(trial.site.config.read_text() + holes)
        daemon, began = trial.start("run"), monotonic()

        for count, letter in enumerate(letters[:4], 1):
            trial.site.deliver([letter])
            until(lambda expected=count: database.placements.count_documents({"state": "stored"}) == expected)

        assert monotonic() - began < PATIENCE / 2
        daemon.kill()
