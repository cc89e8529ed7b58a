"""Killed at any moment, a pass resumes without loss and without a double."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import psutil
import pytest

from ingestd.demo.mailbox import messages
from tests.e2e.conftest import Site, kill
from tests.waiting import until

COUNT = 500
SMALL = 40
KILLS = 10


@pytest.fixture
def full(site: Site) -> Site:
    site.deliver(messages(COUNT))
    site.select = "all"
    site.write()
    return site


@pytest.fixture
def small(site: Site) -> Site:
    site.deliver(messages(SMALL))
    site.select = "all"
    site.write(daemon="workers = 1")
    return site


def uninterrupted(site: Site, directory: Path) -> Site:
    """The same mailbox, taken into another store in one go."""
    directory.mkdir()
    other = Site(directory, site.server, site.user, select=site.select)
    other.write()
    other.once()
    return other


def test_ten_kills_at_random_moments_lose_and_double_nothing(full: Site, tmp_path: Path) -> None:
    draw = random.Random(7)
    expected = uninterrupted(full, tmp_path / "other").state()
    killed = 0
    for _ in range(KILLS):
        process = full.start("once", "--limit", "200")
        try:
            process.communicate(timeout=draw.uniform(0.5, 3.0))
        except subprocess.TimeoutExpired:
            kill(process)
            killed += 1

    full.once()

    assert killed >= KILLS // 2
    assert full.state() == expected


@pytest.mark.parametrize("step", ["parsed", "blobs", "originals", "messages", "placements"])
def test_workers_that_die_at_a_step_lose_and_double_nothing(small: Site, step: str) -> None:
    died = small.run("once", INGESTD_FAIL_AT=step)

    small.once()

    assert died.returncode == 1
    assert "not even the raw message could be stored" in died.stderr
    state = small.state()
    assert len(state["places"]) == len(state["sealed"]) == SMALL
    assert {digest for _, _, digest in state["places"]} == set(state["messages"])


def test_no_process_outlives_a_killed_pass(full: Site) -> None:
    process = full.start("once")
    ours = psutil.Process(process.pid)
    until(lambda: len(ours.children(recursive=True)) >= 3)
    workers = ours.children(recursive=True)

    kill(process)

    _, alive = psutil.wait_procs(workers, timeout=30)
    assert [p for p in alive if "embedded_server" not in " ".join(p.cmdline())] == []
