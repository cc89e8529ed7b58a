"""What a poll of a large mailbox costs when nothing has happened there."""

from __future__ import annotations

from typing import Any

import pytest
from bson import Int64
from pymongo.database import Database

from tests.e2e.conftest import Site
from tests.fakes import mail
from tests.imap_script import ImapScript

COUNT = 100_000


@pytest.mark.parametrize("counting", ["", " CONDSTORE"], ids=["nothing counted", "CONDSTORE"])
def test_a_poll_of_a_hundred_thousand_known_messages_is_one_round_trip(
    site: Site, database: Database[dict[str, Any]], counting: str
) -> None:
    with ImapScript({1: mail(1)}, capabilities=f"IMAP4rev1 AUTH=PLAIN{counting}") as script:
        site.select = "all"
        site.write(imap=f'port = {script.port}\ntls = "none"')
        site.once()
        known = {"done": f"1:{COUNT}", "uidnext": Int64(COUNT + 1)}
        looked = {"looked.exists": Int64(COUNT), "looked.uidnext": Int64(COUNT + 1)}
        database.mailboxes.update_one({}, {"$set": {**known, **looked}})
        script.messages, script.uidnext = dict.fromkeys(range(1, COUNT + 1), b""), COUNT + 1
        script.commands.clear()

        summary = site.once()

    asked = [command.split()[0] for command in script.commands]
    assert asked[asked.index("LIST") :] == ["LIST", "EXAMINE", "LOGOUT"]
    assert summary["on_server"] == summary["known_before"] == COUNT
