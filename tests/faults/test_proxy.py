"""The proxy itself: each fault does what it says, once, and only where it is told to."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from threading import Thread
from time import monotonic
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect, ConnectionFailure, NotPrimaryError

from tests.faults import proxy as faults
from tests.faults.mongodb_wire import MongoProxy, command, refused
from tests.faults.proxy import Proxy, after, on
from tests.waiting import DEADLINE

Document = dict[str, Any]


def echo(listener: socket.socket) -> None:
    with suppress(OSError):  # the test is over
        while True:
            connection, _ = listener.accept()
            Thread(target=repeat, args=(connection,), daemon=True).start()


def repeat(connection: socket.socket) -> None:
    with suppress(OSError), connection:
        while data := connection.recv(65536):
            connection.sendall(data.upper())


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy before a server that repeats in capitals what it hears."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=echo, args=(listener,), daemon=True).start()
        with Proxy(listener.getsockname()) as made:
            yield made
        listener.shutdown(socket.SHUT_RDWR)


def ask(proxy: Proxy, said: bytes, seconds: float = DEADLINE) -> bytes:
    """What comes back to *said* until as much has come, or the end."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=seconds) as client:
        client.sendall(said)
        heard = b""
        while len(heard) < len(said) and (piece := client.recv(65536)):
            heard += piece
        return heard


def test_by_default_all_is_forwarded(proxy: Proxy) -> None:
    assert ask(proxy, b"x" * 1_000_000) == b"X" * 1_000_000


def test_a_cut_lets_so_many_bytes_through_and_comes_once(proxy: Proxy) -> None:
    proxy.towards_client = after(3, faults.cut)

    assert [ask(proxy, b"hello"), ask(proxy, b"hello")] == [b"HEL", b"HELLO"]
    assert (proxy.strikes, proxy.connections) == (1, 2)


def test_a_reset_is_one(proxy: Proxy) -> None:
    proxy.towards_client = after(0, faults.reset)

    with pytest.raises(ConnectionResetError):
        ask(proxy, b"hello")


def test_silence_is_all_that_is_left_of_a_connection_that_hangs(proxy: Proxy) -> None:
    proxy.towards_server = after(2, faults.silent)

    with pytest.raises(TimeoutError):
        ask(proxy, b"hello", seconds=0.1)
    assert ask(proxy, b"hello") == b"HELLO"


def test_one_bit_is_wrong(proxy: Proxy) -> None:
    proxy.towards_client = after(1, faults.corrupted)

    assert ask(proxy, b"hello") == b"HDLLO"


def test_a_lost_answer_was_an_answer(proxy: Proxy) -> None:
    proxy.towards_server = on(b"two", faults.answer_lost)

    assert [ask(proxy, b"one"), ask(proxy, b"two"), ask(proxy, b"two")] == [b"ONE", b"", b"TWO"]


def test_what_is_late_is_late_and_what_is_slow_takes_its_time(proxy: Proxy) -> None:
    began = monotonic()
    proxy.towards_client = faults.late(0.05)
    late = ask(proxy, b"hello")
    proxy.towards_client = faults.throttled(100)
    slow = ask(proxy, b"hello, hello")

    assert (late, slow) == (b"HELLO", b"HELLO, HELLO")
    assert monotonic() - began >= 0.15


def test_during_a_failure_connections_are_refused_and_then_accepted_again(proxy: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=DEADLINE) as held:
        held.sendall(b"a")
        assert held.recv(1) == b"A"
        with proxy.down():
            cut = held.recv(1)
            with pytest.raises(ConnectionRefusedError):
                ask(proxy, b"hello")

        assert cut == b""
    assert ask(proxy, b"hello") == b"HELLO"


# --- MongoDB


@pytest.fixture
def mongodb(mongodb_uri: str) -> Iterator[tuple[MongoProxy, MongoClient[Document]]]:
    with MongoClient[Document](mongodb_uri) as client:
        client.admin.command("ping")
        assert client.address is not None
        login, at, _ = mongodb_uri.partition("://")[2].rpartition("@")
        with MongoProxy(client.address) as proxy:
            uri = f"mongodb://{login}{at}127.0.0.1:{proxy.port}/?directConnection=true"
            with MongoClient[Document](uri, retryWrites=False) as through:
                yield proxy, through
        client.drop_database("test_proxy")


def test_a_command_is_meant_by_its_name_its_collection_and_its_turn(
    mongodb: tuple[MongoProxy, MongoClient[Document]],
) -> None:
    proxy, client = mongodb
    proxy.towards_server = command("insert", "letters", faults.answer_lost, nth=2)
    client.test_proxy.stamps.insert_one({"_id": 1})
    client.test_proxy.letters.insert_one({"_id": 1})

    with pytest.raises(ConnectionFailure):
        client.test_proxy.letters.insert_one({"_id": 2})

    assert [letter["_id"] for letter in client.test_proxy.letters.find()] == [1, 2]
    assert proxy.strikes == 1


def test_a_command_can_be_refused_as_by_a_server_that_steps_down(
    mongodb: tuple[MongoProxy, MongoClient[Document]],
) -> None:
    proxy, client = mongodb
    proxy.towards_server = command("insert", "letters", refused(10107, "NotWritablePrimary", "RetryableWriteError"))

    with pytest.raises(NotPrimaryError):
        client.test_proxy.letters.insert_one({"_id": 1})

    assert client.test_proxy.letters.count_documents({}) == 0


def test_of_a_torn_command_nothing_is_done(mongodb: tuple[MongoProxy, MongoClient[Document]]) -> None:
    proxy, client = mongodb
    proxy.towards_server = command("insert", "letters", faults.torn)

    with pytest.raises(AutoReconnect):
        client.test_proxy.letters.insert_one({"_id": 1})

    assert client.test_proxy.letters.count_documents({}) == 0
