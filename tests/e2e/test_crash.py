"""Killed at any moment, a pass resumes without loss and without a double."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from ingestd.demo.mailbox import messages
from tests.e2e.conftest import Site, kill

COUNT = 500
KILLS = 10


@pytest.fixture
def full(site: Site) -> Site:
    site.deliver(messages(COUNT))
    site.select = "all"
    site.write()
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
