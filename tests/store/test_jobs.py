from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pymongo.database import Database

from ingestd.errors import LeaseLost
from ingestd.store import jobs
from ingestd.store.database import server_time

Document = dict[str, Any]
DAY = timedelta(days=1)


def test_a_job_is_done_by_one_process_at_a_time(database: Database[Document]) -> None:
    with jobs.taken(database, "sweep"), pytest.raises(LeaseLost, match="at it"), jobs.taken(database, "sweep"):
        pass

    with jobs.taken(database, "sweep"):
        pass


def test_a_job_goes_on_where_another_process_left_it(database: Database[Document]) -> None:
    with jobs.taken(database, "sweep") as first:
        first.reached("4f2a")

    with jobs.taken(database, "sweep") as second:
        assert second.after == "4f2a"
        second.done({"seen": 7})

    with jobs.taken(database, "sweep") as third:
        assert third.after == ""


def test_who_does_not_get_on_is_believed_dead_and_cannot_go_on(database: Database[Document]) -> None:
    with jobs.taken(database, "sweep") as stale:
        database.jobs.update_one({"_id": "sweep"}, {"$set": {"until": server_time(database) - timedelta(seconds=1)}})

        with jobs.taken(database, "sweep"), pytest.raises(LeaseLost, match="goes on with it"):
            stale.reached("4f2a")


def test_a_job_is_due_once_in_its_time_and_when_nobody_is_at_it(database: Database[Document]) -> None:
    never_done = jobs.due(database, "sweep", DAY)
    with jobs.taken(database, "sweep") as job:
        under_way = jobs.due(database, "sweep", DAY)
        job.done({})

    assert (never_done, under_way, jobs.due(database, "sweep", DAY)) == (True, False, False)
    database.jobs.update_one({"_id": "sweep"}, {"$set": {"done_at": server_time(database) - DAY}})
    assert jobs.due(database, "sweep", DAY)
