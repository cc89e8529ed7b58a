"""A POP3 server, or the way to it, that fails in the middle of a pass: the archive ends as if nothing had been."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo.database import Database

from ingestd.demo.dovecot import Dovecot
from tests.e2e.conftest import on_the_wire
from tests.faults.conftest import Trial
from tests.faults.letters import large, mixed
from tests.faults.proxy import Fault, Proxy, after, answer_lost, corrupted, cut, each, on, reset
from tests.faults.test_maildrop_kills import attested, kept, lying

Document = dict[str, Any]

IN_THE_LARGE_ONE = 3_000_000  # bytes from the server


@pytest.fixture
def pop3_proxy(dovecot: Dovecot) -> Iterator[Proxy]:
    """A proxy before the POP3 server."""
    with Proxy(("127.0.0.1", dovecot.pop3_port)) as made:
        yield made


@pytest.fixture
def filled(trial: Trial) -> Trial:
    trial.site.protocol = "pop3"
    trial.site.deliver([*mixed(), large()])
    trial.configure()
    return trial


@pytest.mark.parametrize("fault", [cut, reset])
@pytest.mark.parametrize("count", [300, 20_000, IN_THE_LARGE_ONE])
def test_a_connection_that_breaks_is_made_anew_or_the_next_pass_goes_on(
    filled: Trial, pop3_proxy: Proxy, fault: Fault, count: int
) -> None:
    filled.behind(pop3_proxy)
    pop3_proxy.towards_client = after(count, fault)

    filled.once()
    found = filled.finish()

    assert pop3_proxy.strikes == 1
    assert found == filled.undisturbed()


def test_connections_that_all_live_for_a_fifth_of_a_megabyte_bring_everything(trial: Trial, pop3_proxy: Proxy) -> None:
    trial.site.protocol = "pop3"
    trial.site.deliver(letter for letter in mixed(60) if len(letter.content) < 100_000)
    trial.behind(pop3_proxy)
    pop3_proxy.towards_client = each(200_000, cut)

    for _ in range(5):
        trial.once()
    pop3_proxy.heal()

    assert trial.finish() == trial.undisturbed()


def test_a_bit_that_tips_over_within_tls_ends_the_connection_and_no_more(filled: Trial) -> None:
    server = filled.site.server
    with Proxy(("127.0.0.1", server.pop3s_port)) as proxy:
        filled.configure(imap=f'port = {proxy.port}\nca_file = "{server.ca_file}"')
        proxy.towards_client = after(IN_THE_LARGE_ONE, corrupted)

        found = filled.finish()

    assert (proxy.strikes, proxy.connections) == (1, 2)
    assert found == filled.undisturbed()


@pytest.mark.parametrize("command", [b"DELE 1\r\n", b"DELE 3\r\n", b"QUIT"])
@pytest.mark.parametrize("fault", [cut, answer_lost])
def test_a_deletion_that_breaks_off_is_done_and_told_once(
    filled: Trial, pop3_proxy: Proxy, database: Database[Document], command: bytes, fault: Fault
) -> None:
    delivered = Counter(map(on_the_wire, [*mixed(), large()]))
    filled.behind(pop3_proxy, account='after_store = "delete"')
    pop3_proxy.towards_server = on(command, fault)

    filled.once()
    between = lying(filled.site) + kept(database)
    filled.finish()
    filled.finish()

    assert pop3_proxy.strikes == 1
    assert set(between) == set(delivered)
    assert kept(database) == delivered
    assert lying(filled.site) == Counter()
    assert attested(database, "deleted") == attested(database, "stored")
