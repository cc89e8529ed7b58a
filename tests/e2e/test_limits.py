"""A cap on what an account may fetch, as an operator meets it."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

from pymongo.database import Database

from ingestd.demo.mailbox import messages
from tests.e2e.conftest import Site

COUNT, SIZE_BYTES = 40, 100_000
CAPPED = """port = {port}
ca_file = "{ca}"
[account.limits]
bytes_a_day = "1MiB"
"""


def test_a_pass_that_reaches_the_cap_of_a_day_stops_with_all_it_fetched_stored_and_goes_on_when_it_may(
    site: Site, database: Database[dict[str, Any]]
) -> None:
    unseen = (letter for letter in messages(200) if "\\Seen" not in letter.flags)
    padding = b"It goes on and on.\r\n" * (SIZE_BYTES // 20)
    site.deliver(replace(letter, content=letter.content + padding) for letter in itertools.islice(unseen, COUNT))
    site.write(imap=CAPPED.format(port=site.server.imaps_port, ca=site.server.ca_file))

    stopped = site.run("once")
    again = site.run("once")
    shown, status = site.run("status").stdout, json.loads(site.run("status", "--json").stdout)

    assert (stopped.returncode, again.returncode) == (1, 1)
    assert "MiB fetched within a day, the cap is 1.0 MiB" in stopped.stderr
    assert "put off until" in again.stderr
    state = site.state()
    assert 0 < len(state["messages"]) < COUNT
    assert state["sealed"] == sorted(uid for uid, *_ in state["places"])
    assert "put off by localhost until" in shown
    assert "failing" not in shown
    assert status["accounts"][0]["put_off"][0]["provider"] == "localhost"
    database.usage.update_many({}, {"$set": {"hold": None, "fetched": []}})
    site.write()
    assert site.once()["stored"] == COUNT - len(state["messages"])
