"""Killed at a named moment while POP3 stands in for IMAP, the archive ends as one that was left in peace meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ingestd.demo.dovecot import Dovecot
from tests.e2e.conftest import Site
from tests.e2e.test_fallback import Note, configure, notes
from tests.faults import state
from tests.faults.conftest import Trial
from tests.faults.proxy import Proxy

MOMENTS = (
    *("searched", "literal:3", "spooled:2", "parsed", "originals"),
    *("messages", "placements", "sealed", "checkpoint"),
)


@pytest.fixture
def imap(dovecot: Dovecot) -> Iterator[Proxy]:
    with Proxy(("127.0.0.1", dovecot.imap_port)) as proxy:
        yield proxy


def both_ways(site: Site, imap: Proxy) -> None:
    configure(site, f'port = {imap.port}\ntls = "none"', workers=0)


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_while_pop3_stands_in_nothing_is_lost_and_every_letter_counts_once(
    trial: Trial, imap: Proxy, moment: str
) -> None:
    site, calm = trial.site, trial.calm()
    for each in (site, calm):
        both_ways(each, imap)
    site.deliver(notes(1, 3))
    assert [trial.once(), trial.once(at=calm)] == [0, 0]

    with imap.down():
        site.deliver([*notes(11, 12), Note(13)])
        killed, peaceful = trial.once(INGESTD_FAIL_AT=moment), trial.once(at=calm)
    for each in (site, calm):
        trial.once(at=each)  # the first probe
        assert trial.once(at=each) == 0, trial.said()

    assert (killed, peaceful) == (-9, 1)
    assert state.of(site) == state.of(calm)
