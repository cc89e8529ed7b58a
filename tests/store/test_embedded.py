"""The embedded store, with real processes: they start, share, crash and come back."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from threading import Barrier

import psutil  # type: ignore[import-untyped]  # ships no types
import pytest
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import OperationFailure

from ingestd.errors import Refused, StoreUnavailable
from ingestd.store.embedded import embedded
from ingestd.store.embedded_directory import Directory, Running, is_locked
from tests.mongodb import OPTIONS, Document, missing_server
from tests.waiting import until

DEADLINE = 30  # seconds for a process to end

HOLDER = """
import sys
from pathlib import Path
from ingestd.store.embedded import embedded
with embedded(Path(sys.argv[1])) as uri:
    print(uri, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module", autouse=True)
def no_service() -> Iterator[None]:
    """Whatever runs the tests may be a service itself."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("NOTIFY_SOCKET", "INVOCATION_ID", "SYSTEMD_EXEC_PID"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that has been made and used, and stands still: copies of it start in a third of the time."""
    if not importlib.util.find_spec("secantus"):
        missing_server("SecantusDB is not installed: pip install 'ingestd[embedded]'")
    path = tmp_path_factory.mktemp("made") / "store"
    with embedded(path) as uri, _database(uri) as database:
        database.kept.insert_one({"_id": 0})
    _until_stopped(path)
    return path


@pytest.fixture
def new(made: Path, tmp_path: Path) -> Iterator[Path]:
    """A place for a store, where nothing is yet. Whatever runs there is gone when the test is over."""
    path = tmp_path / "store"
    yield path
    if (path / "running.lock").exists():
        _until_stopped(path)


@pytest.fixture
def path(made: Path, new: Path) -> Path:
    """A store of the test's own, with one document in it."""
    shutil.copytree(made, new)
    return new


def test_the_server_stops_with_its_last_holder_and_keeps_the_data(path: Path) -> None:
    with embedded(path) as uri, _database(uri) as database:
        database.kept.insert_one({"_id": 1})

    _until_stopped(path)
    until(lambda: not _processes_of(path))
    with embedded(path) as uri, _database(uri) as database:
        assert database.kept.count_documents({}) == 2


def test_everyone_shares_one_server_and_the_first_may_leave_first(path: Path) -> None:
    with _holder(path) as (first, first_uri), _holder(path) as (_, second_uri):
        first.communicate()

        assert first_uri == second_uri
        with _database(second_uri) as database:
            assert database.command("ping")["ok"]


def test_starters_at_once_get_one_server(new: Path) -> None:
    together = Barrier(4, timeout=60)

    def uri_of_a_holder(_: int) -> str:
        together.wait()
        with embedded(new) as uri:
            together.wait()
            return uri

    with ThreadPoolExecutor(4) as threads:
        uris = set(threads.map(uri_of_a_holder, range(4)))

    assert len(uris) == 1
    assert (new / "server.log").read_text().count("listening on") == 3  # two while it was made, one since


def test_a_killed_holder_lets_the_server_go(path: Path) -> None:
    with _holder(path) as (holder, _):
        holder.kill()
        holder.wait(DEADLINE)

        _until_stopped(path)


def test_ctrl_c_in_the_terminal_of_the_first_holder_does_not_reach_the_server(path: Path) -> None:
    with _holder(path) as (first, uri), embedded(path):
        os.killpg(first.pid, signal.SIGINT)
        first.wait(DEADLINE)

        with _database(uri) as database:
            assert database.command("ping")["ok"]


def test_what_was_acknowledged_survives_killing_everyone_at_once(path: Path) -> None:
    with _holder(path) as (holder, uri), _database(uri) as database:
        database.kept.insert_many([{"_id": number} for number in range(1, 100)])
        everyone = [holder.pid, *_processes_of(path)]

        for pid in everyone:
            os.kill(pid, signal.SIGKILL)

    assert len(everyone) == 3
    with embedded(path) as uri, _database(uri) as database:
        assert database.kept.count_documents({}) == 100


def test_the_server_dies_with_the_process_beside_it(path: Path) -> None:
    with _holder(path):
        server = _running(path).pid
        beside = psutil.Process(server).parent()
        assert beside is not None

        beside.kill()

        until(lambda: not psutil.pid_exists(server))
        with embedded(path) as uri, _database(uri) as database:
            assert database.command("ping")["ok"]


def test_a_server_that_dies_under_its_holders_comes_back_where_they_look_for_it(path: Path) -> None:
    with embedded(path) as uri, _database(uri) as database:
        first = _running(path).pid

        os.kill(first, signal.SIGKILL)

        until(lambda: _running(path).pid != first)
        assert database.kept.count_documents({}) == 1


def test_a_starter_that_is_killed_leaves_nothing_in_the_way(new: Path) -> None:
    with _starter(new) as starter:
        until((new / "data.new").exists)
        for pid in [starter.pid, *_processes_of(new)]:
            os.kill(pid, signal.SIGKILL)
    assert not (new / "data").exists()

    with embedded(new) as uri, _database(uri) as database:
        assert database.command("ping")["ok"]


def test_a_stale_server_json_is_not_believed(path: Path) -> None:
    Directory(path).publish(Running(os.getpid(), 1, "ingestd", "wrong", "2026-01-01T00:00:00+00:00"))

    with embedded(path) as uri, _database(uri) as database:
        assert database.command("ping")["ok"]


def test_nobody_gets_in_without_the_password(path: Path) -> None:
    with embedded(path) as uri, _database(f"mongodb://{uri.partition('@')[2]}") as database:
        with pytest.raises(OperationFailure) as refused:
            database.kept.find_one()

        assert refused.value.code == 13  # Unauthorized


def test_nothing_of_it_can_be_read_by_others(new: Path) -> None:
    with embedded(new) as uri, _database(uri) as database:
        database.kept.insert_one({"_id": 1})
        found = [new, *new.rglob("*")]

    assert [each for each in found if each.stat().st_mode & 0o077] == []


@pytest.mark.parametrize("name", ["", "password"])
def test_a_store_that_others_may_read_is_refused(new: Path, name: str) -> None:
    new.mkdir(mode=0o700)
    (new / "start.lock").touch()
    (new / "password").touch(0o600)
    (new / name).chmod(0o755)

    with pytest.raises(Refused, match="chmod"), embedded(new):
        pass


def test_a_directory_with_other_things_in_it_is_refused(new: Path) -> None:
    new.mkdir(mode=0o700)
    (new / "letter.txt").touch()

    with pytest.raises(Refused, match="holds no store"), embedded(new):
        pass
    assert [each.name for each in new.iterdir()] == ["letter.txt"]


def test_a_foreign_user_is_refused(path: Path) -> None:
    with embedded(path) as uri, _database(uri) as database:
        database.command("createUser", "mallory", pwd="x", roles=["read"])
    _until_stopped(path)

    with pytest.raises(Refused, match="did not make"), embedded(path):
        pass
    _until_stopped(path)


def test_a_lost_password_is_refused_and_costs_no_data(path: Path) -> None:
    (path / "password").rename(path / "mislaid")

    with pytest.raises(Refused, match="restore it"), embedded(path):
        pass
    assert (path / "data").exists()


def test_a_wrong_password_is_refused(path: Path) -> None:
    (path / "password").write_text("wrong")

    with pytest.raises(Refused, match="does not open the data"), embedded(path):
        pass


def test_data_that_cannot_be_opened_names_the_log(new: Path) -> None:
    new.mkdir(mode=0o700)
    (new / "start.lock").touch()
    (new / "password").touch(0o600)
    (new / "data").touch()  # a file where a directory should be

    with pytest.raises(StoreUnavailable, match=r"server\.log"), embedded(new):
        pass


def test_waiting_for_another_start_is_bounded(new: Path) -> None:
    new.mkdir(mode=0o700)

    with _start_locked(new), pytest.raises(StoreUnavailable, match="another start"), embedded(new, timeout=0.2):
        pass


def test_the_log_is_bounded(new: Path) -> None:
    new.mkdir(mode=0o700)
    (new / "start.lock").touch()
    (new / "server.log").write_bytes(b"x" * (1 << 20))

    with embedded(new):
        sizes = [each.stat().st_size for each in new.glob("server.log*")]

    assert len(sizes) == 2
    assert max(sizes) < (1 << 20) + 65536


@pytest.mark.parametrize("environment", [{"NOTIFY_SOCKET": "/run/x"}, {"INVOCATION_ID": "0"}])
def test_under_systemd_it_must_be_allowed_aloud(
    path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(Refused, match="allow_embedded"), embedded(path):
        pass
    with embedded(path, allow_embedded=True) as uri:
        assert uri.startswith("mongodb://")


def test_a_shell_in_a_desktop_terminal_is_no_service(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVOCATION_ID", "0")
    monkeypatch.setenv("SYSTEMD_EXEC_PID", "4194305")  # the terminal's, not ours, nor of whoever started us

    with embedded(path) as uri:
        assert uri.startswith("mongodb://")


def test_without_the_package_it_says_what_to_install(new: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    monkeypatch.setattr("sys.meta_path", [PathFinder])

    with pytest.raises(Refused, match=r"pip install '\.\[embedded\]'"), embedded(new):
        pass


@contextmanager
def _holder(path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process that holds the server, until it is told to end or is killed."""
    with _starter(path) as holder:
        assert holder.stdout is not None
        yield holder, holder.stdout.readline().strip()


@contextmanager
def _starter(path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(
        command,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def _start_locked(path: Path) -> Iterator[None]:
    """Keep everyone from starting the server until the block ends."""
    directory = Directory(path)
    with directory.locked(directory.starting, 0, "nobody"):
        yield


@contextmanager
def _database(uri: str) -> Iterator[Database[Document]]:
    client: MongoClient[Document] = MongoClient(uri, **OPTIONS)
    try:
        yield client["ingestd"]
    finally:
        client.close()


def _running(path: Path) -> Running:
    running = Directory(path).published()
    assert running is not None
    return running


def _processes_of(path: Path) -> list[int]:
    """The server and the process beside it, by the path on their command lines."""
    names = {str(path), str(path / "data"), str(path / "data.new")}
    found = psutil.process_iter(["cmdline"])
    return [each.pid for each in found if names & set(each.info["cmdline"] or ()) and HOLDER not in each.cmdline()]


def _until_stopped(path: Path) -> None:
    until(lambda: not is_locked(path / "running.lock"))
