"""Several daemons on one store, as processes: they share, take over, and are refused when they were overtaken."""

from __future__ import annotations

import json
import os
import signal
from datetime import UTC, datetime, timedelta

import psutil

from tests.faults import state
from tests.faults.office import LEASE, Office
from tests.waiting import until

ACCOUNTS = [f"account{number}" for number in range(30)]
THREADS = 16  # of a daemon between its visits, however many accounts it holds


def test_three_daemons_share_thirty_accounts_and_those_of_a_killed_one_are_served_within_the_lease(
    office: Office,
) -> None:
    office.deliver(ACCOUNTS)
    lives = [office.start(daemon, ACCOUNTS) for daemon in "abc"]
    until(lambda: sorted(office.holders().values()) == [10, 10, 10] and office.all_is_stored())
    victim, *others = lives
    until(lambda: max(psutil.Process(life.pid).num_threads() for life in lives) <= THREADS)
    orphans = [name for name, lease in office.leases().items() if lease["owner"]["pid"] == victim.pid]

    victim.kill()
    killed_at = datetime.now(UTC)
    office.deliver(ACCOUNTS)
    until(office.all_is_stored)
    until(lambda: office.holders() == {life.pid: 15 for life in others})

    taken = [office.leases()[name]["since"] - killed_at for name in orphans]
    assert len(orphans) == 10
    assert max(taken) <= LEASE
    for life in others:
        os.kill(life.pid, signal.SIGTERM)
        assert life.wait() == 0
    assert office.holders() == {}
    office.check()


def test_a_stopped_holder_that_goes_on_after_its_lease_doubles_nothing_and_serves_its_other_accounts(
    office: Office,
) -> None:
    office.deliver(["common"], 250)
    stopped = office.start("a", ["common", "own"], lease=timedelta(seconds=3), workers=1)
    until(lambda: office.database.seals.find_one({"account": "common"}))
    os.killpg(stopped.pid, signal.SIGSTOP)
    sealed = office.database.seals.count_documents({"account": "common", "kind": "stored"})
    other = office.start("b", ["common"], lease=timedelta(seconds=3))
    until(office.all_is_stored)
    until(lambda: len(state.state(office.database)["sealed"]) == 250)

    os.killpg(stopped.pid, signal.SIGCONT)
    office.deliver(["own", "common"])
    until(office.all_is_stored)
    until(lambda: "lost leases" in office.said("a"))

    assert sealed < 3
    assert office.holders() == {stopped.pid: 1, other.pid: 1}
    assert [seal["kind"] for seal in office.database.seals.find({"account": "common"})].count("taken_over") == 1
    assert "Traceback" not in office.said("a")
    office.check()


def test_a_command_beside_a_daemon_is_told_who_serves_the_account_or_borrows_it(office: Office) -> None:
    office.deliver(["work"])
    daemon = office.start("a", ["work"], lease=timedelta(seconds=3))
    until(office.all_is_stored)
    office.host = "127.0.0.1"
    office.configured("b", ["work"])

    refused, said = office.run("b", "once", "work")
    rebound, _ = office.run("b", "account", "rebind", "work")
    until(lambda: office.holders() == {daemon.pid: 1})

    assert refused == 1
    assert f"(pid {daemon.pid})" in said
    assert "stop it first" in said
    assert rebound == 0
    office.check()


def test_status_says_who_serves_what_why_one_fails_and_what_nobody_serves(office: Office) -> None:
    office.deliver(["home", "work"])
    office.configured("a", ["home", "work"])
    wrong = office.configured("b", ["home", "work"], lease=timedelta(seconds=3))
    secret = office.directory / "wrong"
    secret.touch(mode=0o600)
    secret.write_text("not-the-password")
    head, name, tail = wrong.read_text().rpartition(str(office.directory / "secret"))
    wrong.write_text(head + str(secret) + tail)
    assert name
    daemon = office.start_with(wrong)

    until(lambda: (office.database.accounts.find_one({"_id": "work"}) or {}).get("trouble"))
    _, running = office.run("a", "--json", "status")
    _, shown = office.run("a", "status")
    os.kill(daemon.pid, signal.SIGTERM)
    daemon.wait()
    _, afterwards = office.run("a", "-v", "status")

    home, work = json.loads(running)["accounts"]
    assert home["served_by"].endswith(f"(pid {daemon.pid})")
    assert home["trouble"] is None
    assert home["daemons"] == work["daemons"] == 1
    assert "login refused by localhost" in work["trouble"]["error"]
    assert work["trouble"]["next_try"] > work["trouble"]["failed_at"]
    assert json.loads(running)["daemons"][0]["serving"] == 2
    assert "failing since" in shown
    assert "served by nobody for" in afterwards
    assert "no daemon is running for it; run: ingestd run" in afterwards
    assert "not-the-password" not in running + shown + office.said("b")
