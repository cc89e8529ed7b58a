"""A mail server, or the way to it, that fails in the middle of a pass: the archive ends as if nothing had been."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from imapclient import IMAPClient

from ingestd.demo.dovecot import Dovecot
from ingestd.errors import Unavailable
from tests.dovecot import private_dovecot, renumber
from tests.faults import state
from tests.faults.conftest import Trial
from tests.faults.letters import large, mixed
from tests.faults.proxy import (
    Fault,
    Flow,
    Proxy,
    after,
    answer_lost,
    corrupted,
    cut,
    each,
    first,
    on,
    reset,
    silent,
    throttled,
)

Document = dict[str, Any]

IN_THE_LARGE_ONE = 3_000_000  # bytes from the server


@pytest.fixture
def filled(trial: Trial) -> Trial:
    trial.site.deliver([*mixed(), large()])
    return trial


def someone(trial: Trial, mailbox: str, act: Callable[[IMAPClient], object]) -> Callable[[], None]:
    """What a person does to *mailbox* with another program."""

    def do() -> None:
        client = trial.site.client()
        client.select_folder(mailbox)
        act(client)
        client.logout()

    return do


def without(found: Document, *keys: str) -> Document:
    return {key: value for key, value in found.items() if key not in keys}


def uid_of(place: str) -> int:
    return int(place.rpartition("=")[2])


# --- connections


@pytest.mark.parametrize("fault", [cut, reset])
def test_a_connection_that_breaks_in_the_middle_of_a_message_is_made_anew(
    filled: Trial, imap_proxy: Proxy, fault: Fault
) -> None:
    filled.behind(imap_proxy)
    imap_proxy.towards_client = after(IN_THE_LARGE_ONE, fault)

    filled.once_here()

    assert (imap_proxy.strikes, imap_proxy.connections) == (1, 2)
    assert state.of(filled.site) == filled.undisturbed()


@pytest.mark.parametrize("fault", [silent, throttled(500)], ids=["silent", "crawling"])
def test_a_connection_that_stalls_in_the_middle_of_a_message_is_given_up_in_time(
    filled: Trial, imap_proxy: Proxy, fault: Fault
) -> None:
    filled.behind(imap_proxy)
    imap_proxy.towards_client = after(IN_THE_LARGE_ONE, fault)

    filled.once_here(timeout=2.0)

    assert imap_proxy.strikes == 1
    assert imap_proxy.connections >= 2
    assert state.of(filled.site) == filled.undisturbed()


def test_a_bit_that_tips_over_within_tls_ends_the_connection_and_no_more(filled: Trial) -> None:
    server = filled.site.server
    with Proxy(("127.0.0.1", server.imaps_port)) as proxy:
        filled.configure(imap=f'port = {proxy.port}\nca_file = "{server.ca_file}"')
        proxy.towards_client = after(IN_THE_LARGE_ONE, corrupted)

        filled.once_here()

    assert (proxy.strikes, proxy.connections) == (1, 2)
    assert state.of(filled.site) == filled.undisturbed()


def test_connections_that_all_live_for_a_fifth_of_a_megabyte_bring_everything(trial: Trial, imap_proxy: Proxy) -> None:
    trial.site.deliver(letter for letter in mixed(120) if len(letter.content) < 100_000)
    trial.behind(imap_proxy)
    imap_proxy.towards_client = each(200_000, cut)

    trial.once_here()

    assert imap_proxy.strikes >= 3
    assert state.of(trial.site) == trial.undisturbed()


def test_an_action_whose_answer_is_lost_is_done_again_to_the_same_effect(trial: Trial, imap_proxy: Proxy) -> None:
    trial.site.deliver(mixed())
    trial.behind(imap_proxy, account='after_store = "flag:$Archived"')
    imap_proxy.towards_server = on(b"STORE", answer_lost)

    with pytest.raises(Unavailable):
        trial.once_here()
    found = trial.finish()

    assert imap_proxy.strikes == 1
    assert found == trial.undisturbed()
    assert all("$Archived" in flags for flags in state.flags(trial.site)["INBOX"].values())


def test_a_mail_server_that_is_started_again_in_the_middle_of_a_pass_loses_nothing(trial: Trial) -> None:
    with private_dovecot() as server:
        trial.site.server = server
        trial.site.deliver([*mixed(), large()])
        with Proxy(("127.0.0.1", server.imap_port)) as proxy:
            trial.behind(proxy)
            proxy.towards_client = after(IN_THE_LARGE_ONE, stopped(server))

            with pytest.raises(Unavailable):
                trial.once_here()
            server.start()
            found = trial.finish()

        assert proxy.strikes == 1
        assert found == trial.undisturbed()


def stopped(server: Dovecot) -> Fault:
    """The machine of *server* goes down, with what it had sent but nobody had read yet."""

    def fault(flow: Flow, piece: bytes) -> None:
        server.stop()
        flow.end()

    return fault


# --- people at the same time


def test_mail_expunged_between_search_and_fetch_is_noted_and_the_rest_is_stored(
    trial: Trial, imap_proxy: Proxy
) -> None:
    trial.site.deliver(mixed())
    trial.behind(imap_proxy)
    remove = someone(trial, "INBOX", lambda client: (client.delete_messages([3, 4]), client.expunge()))
    imap_proxy.towards_server = on(b"UID FETCH", first(remove))

    trial.once_here()

    found, expected = state.of(trial.site), trial.undisturbed()
    gone = {place: found["places"].pop(place) for place in found["places"].keys() - expected["places"].keys()}
    assert [place.rpartition("=")[2] for place in sorted(gone)] == ["3", "4"]
    assert set(gone.values()) == {("vanished", None, False)}
    assert without(found, "mailboxes") == without(expected, "mailboxes")


def test_mail_that_is_expunged_while_it_is_fetched_is_vanished_or_stored_whole(trial: Trial, imap_proxy: Proxy) -> None:
    trial.site.deliver(mixed())
    trial.behind(imap_proxy)
    remove = someone(trial, "INBOX", lambda client: (client.delete_messages([3, 4]), client.expunge()))
    imap_proxy.towards_client = on(b" BODY[] ", first(remove))

    trial.once_here()

    found = trial.finish()
    assert imap_proxy.strikes == 1
    assert len(found["places"]) == 12
    assert {uid_of(place) for place, (kept, _, _) in found["places"].items() if kept == "vanished"} <= {3, 4}


def test_mail_that_is_moved_while_its_mailbox_is_read_is_one_message(trial: Trial, imap_proxy: Proxy) -> None:
    trial.site.deliver(mixed())
    trial.site.deliver(mixed(1), "Archive")
    trial.behind(imap_proxy, account='mailboxes = ["INBOX", "Archive"]')
    move = someone(trial, "INBOX", lambda client: client.move([2, 3, 11], "Archive"))
    imap_proxy.towards_server = on(b"UID FETCH", first(move))

    trial.once_here()

    found, expected = state.of(trial.site), trial.undisturbed()
    there = {place: kept for place, kept in found["places"].items() if kept[0] == "stored"}
    assert len(there) == 13
    assert there == expected["places"]
    assert without(found, "places", "mailboxes") == without(expected, "places", "mailboxes")


def test_mail_that_a_person_reads_and_flags_during_a_pass_is_stored_all_the_same(
    trial: Trial, imap_proxy: Proxy
) -> None:
    trial.site.select = "unseen"
    trial.site.deliver(mixed())
    trial.behind(imap_proxy)
    read = someone(trial, "INBOX", lambda client: client.add_flags(client.search("UNSEEN"), [rb"\Seen", rb"\Flagged"]))
    unseen = {uid for uid, flags in state.flags(trial.site)["INBOX"].items() if "\\Seen" not in flags}
    imap_proxy.towards_server = on(b"UID FETCH", first(read))

    trial.once_here()

    assert imap_proxy.strikes == 1
    assert {uid_of(place) for place in state.of(trial.site)["places"]} == unseen
    assert len(unseen) >= 3


def test_uids_that_lose_their_meaning_in_the_middle_of_a_pass_begin_a_new_epoch(
    trial: Trial, imap_proxy: Proxy
) -> None:
    trial.site.deliver([*mixed(), large()])
    trial.behind(imap_proxy)

    def renumbered(flow: Flow, piece: bytes) -> None:
        renumber(trial.site.server, trial.site.user)
        cut(flow, piece)

    imap_proxy.towards_client = after(IN_THE_LARGE_ONE, renumbered)
    with pytest.raises(Unavailable, match="UIDVALIDITY changed"):
        trial.once_here()

    found, expected = trial.finish(), trial.undisturbed()

    assert without(found, "places", "sealed", "mailboxes") == without(expected, "places", "sealed", "mailboxes")
    present = {uid_of(place): digest for place, (_, digest, there) in found["places"].items() if there}
    assert present == {uid_of(place): digest for place, (_, digest, _) in expected["places"].items()}
    assert all(";EPOCH=2" in place for place, (_, _, there) in found["places"].items() if there)
