"""What may be written, and what it means."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path

import pytest

from ingestd.budget import Budget
from ingestd.config import ConfigError, Imap, load
from tests.config.writing import ACCOUNT, IMAP, STORE, Write, account, mistake


def test_an_account_needs_only_a_name_and_a_login(write: Write) -> None:
    read = account(write)

    assert read.model_dump(exclude={"imap"}) == {
        "name": "work",
        "mailboxes": ("INBOX",),
        "select": "unseen",
        "since": None,
        "after_store": "none",
        "authserv_ids": (),
        "every": timedelta(minutes=5),
        "cron": None,
        "timezone": "UTC",
        "quiet": (),
        "idle": True,
        "fetch_connections": 1,
        "reissue": timedelta(minutes=9),
        "pop3": None,
        "oauth": None,
        "limits": {"connections": None, "bytes_a_day": None, "logins_an_hour": None},
    }
    assert (read.imap.port, read.imap.tls) == (993, "implicit")


@pytest.mark.parametrize(("tls", "port"), [("implicit", 993), ("starttls", 143), ("none", 143)])
def test_the_port_follows_from_tls(write: Write, tls: str, port: int) -> None:
    assert account(write, imap=f'tls = "{tls}"').imap.port == port


@pytest.mark.parametrize(
    ("host", "tls", "exposed"),
    [
        ("mail.example.org", "none", True),
        ("mail.example.org", "implicit", False),
        ("127.0.0.1", "none", False),
        ("::1", "none", False),
        ("localhost", "none", False),
    ],
)
def test_a_login_without_tls_is_exposed_unless_it_stays_on_the_machine(host: str, tls: str, exposed: bool) -> None:
    imap = Imap.model_validate({"host": host, "tls": tls, "user": "me", "password": {"env": "X"}})

    assert imap.exposed == exposed


def test_own_domains_are_read_as_domains_are_stored(write: Write) -> None:
    read = load(
        write(f'{STORE}own_domains = ["Example.ORG", "müller.example", "corp", "a_b.x-y.example"]\n{ACCOUNT}{IMAP}')
    )

    assert read.store.own_domains == ("example.org", "xn--mller-kva.example", "corp", "a_b.x-y.example")


@pytest.mark.parametrize(
    "domain", ["", ".example.org", "*.example.org", "@example.org", "a@b.c", "a b", "-a.b", "a..b", "b."]
)
def test_what_is_no_domain_is_not_our_own(write: Write, domain: str) -> None:
    said = mistake(write(f"{STORE}own_domains = ['{domain}']\n{ACCOUNT}{IMAP}"))

    assert said.startswith("[store] own_domains")


def test_since_is_a_day_or_an_age(write: Write) -> None:
    assert account(write, "since = 2026-01-01").since == date(2026, 1, 1)
    assert account(write, 'since = "90d"').since == timedelta(days=90)
    assert account(write, 'since = "2w"').since == timedelta(weeks=2)


@pytest.mark.parametrize("since", ['"2026-01-01"', '"5m"', "90", "2026-01-01T00:00:00Z", '"999999999w"', "true"])
def test_since_is_nothing_else(write: Write, since: str) -> None:
    said = mistake(write(f"{STORE}{ACCOUNT}since = {since}\n{IMAP}"))

    assert said.startswith("[[account]] since: must be a")


@pytest.mark.parametrize("select", ["unseen", "all", "UNSEEN", "OR (FROM a) (NOT SEEN)", r'SUBJECT "a (\" b"'])
def test_select_is_a_word_or_a_search_program(write: Write, select: str) -> None:
    read = account(write, f"select = '{select}'").select

    assert read == ("unseen" if select == "UNSEEN" else select)


@pytest.mark.parametrize(
    "select",
    ["", "(FROM a", "FROM a)", ")(", 'SUBJECT "a', "SUBJECT ü", "SUBJECT {3}", "charset utf-8 ALL", "A\\r\\nB"],
)
def test_a_search_program_that_could_become_another_command_is_refused(write: Write, select: str) -> None:
    quote = '"' if "\\r" in select else "'"

    assert mistake(write(f"{STORE}{ACCOUNT}select = {quote}{select}{quote}\n{IMAP}")).startswith("[[account]] select: ")


@pytest.mark.parametrize(
    "action", ["none", "seen", "flag:$Archived", r"flag:\Flagged", "move:Done", "move:Été/2026", "delete"]
)
def test_after_store_may_be(write: Write, action: str) -> None:
    assert account(write, f"after_store = '{action}'").after_store == action


@pytest.mark.parametrize(
    "action", ["move", "move:", "delete:", "flag:", "flag:a b", r"flag:\Deleted", "flag:a)", "expunge", ""]
)
def test_after_store_may_not_be(write: Write, action: str) -> None:
    assert mistake(write(f"{STORE}{ACCOUNT}after_store = '{action}'\n{IMAP}")).startswith("[[account]] after_store: ")


def test_sizes_are_bytes(write: Write) -> None:
    daemon = load(write(f'{STORE}[daemon]\nspool_memory = "8MiB"\nspool_disk = "1 GiB"\n{ACCOUNT}{IMAP}')).daemon

    assert (daemon.spool_memory, daemon.spool_disk) == (8 << 20, 1 << 30)


def test_memory_is_divided_by_what_is_configured(write: Write) -> None:
    config = load(write(f'{STORE}[daemon]\nworkers = 2\nmemory_limit = "768MiB"\n{ACCOUNT}{IMAP}'))

    assert config.budget() == Budget.of(768 << 20, workers=2, spool=32 << 20, accounts=1)
    assert config.budget(workers=1).worker > 2 * config.budget().worker


def test_memory_that_is_too_little_is_refused_with_what_would_do(write: Write) -> None:
    text = f'{STORE}[daemon]\nworkers = 4\nmemory_limit = "256MiB"\n{ACCOUNT}{IMAP}'

    said = mistake(write(text))

    assert said.startswith("[daemon] memory_limit: 256.0 MiB is too little for workers = 4, 32.0 MiB of spool_memory")
    least = said.partition('write "')[2].partition('"')[0]
    assert load(write(text.replace("256MiB", least))).daemon.workers == 4


def test_a_key_that_was_replaced_leads_to_its_successor(write: Write) -> None:
    said = mistake(write(f'{STORE}[daemon]\nworker_memory = "1GiB"\n{ACCOUNT}{IMAP}'))

    assert said == '[daemon] worker_memory: unknown key; did you mean "memory_limit"?'


def test_relative_paths_start_at_the_file(write: Write, tmp_path: Path) -> None:
    text = STORE.replace("mongodb://localhost/mail", "embedded:var/store") + '[daemon]\nspool_dir = "var/spool"\n'
    config = load(write(text + ACCOUNT + IMAP.replace('env = "X"', 'file = "../x.secret"') + 'ca_file = "ca.pem"'))

    assert config.store.embedded == tmp_path / "var/store"
    assert config.store.uri == f"embedded:{tmp_path}/var/store"
    assert config.daemon.spool_dir == tmp_path / "var/spool"
    assert config.accounts[0].imap.ca_file == tmp_path / "ca.pem"
    assert config.accounts[0].imap.password.value == str(tmp_path.parent / "x.secret")


def test_the_spool_lies_where_systemd_says(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/ingestd:/var/lib/other")

    assert load(write(STORE + ACCOUNT + IMAP)).daemon.spool_dir == Path("/var/lib/ingestd/spool")


def test_the_spool_lies_in_the_home_directory_otherwise(
    write: Write, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)

    assert load(write(STORE + ACCOUNT + IMAP)).daemon.spool_dir == home / ".local/state/ingestd/spool"


def test_accounts_may_stand_in_files_of_their_own(write: Write, tmp_path: Path) -> None:
    file = write('include = "accounts.d/*.toml"\n' + STORE + ACCOUNT + IMAP)
    write(ACCOUNT.replace("work", "b") + IMAP, "accounts.d/2.toml")
    write(ACCOUNT.replace("work", "a") + IMAP + 'ca_file = "ca.pem"', "accounts.d/1.toml")

    accounts = load(file).accounts

    assert [account.name for account in accounts] == ["work", "a", "b"]
    assert accounts[1].imap.ca_file == tmp_path / "accounts.d/ca.pem"


def test_a_home_directory_that_is_not_known_is_a_mistake(write: Write) -> None:
    said = mistake(write(f"{STORE}[daemon]\nspool_dir = '~nobody-of-that-name/x'\n{ACCOUNT}{IMAP}"))

    assert said == "[daemon] spool_dir: begins with a home directory that is not known here; write it out"


def test_a_service_without_a_home_directory_has_a_spool_and_looks_elsewhere(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless(path: Path) -> Path:
        if str(path).startswith("~"):
            raise RuntimeError("Could not determine home directory.")
        return path

    file = write(STORE + ACCOUNT + IMAP)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.delenv("INGESTD_CONFIG", raising=False)
    monkeypatch.setattr(Path, "expanduser", homeless)

    assert load(file).daemon.spool_dir == Path("/var/lib/ingestd/spool")
    if not Path("/etc/ingestd/ingestd.toml").exists():
        with pytest.raises(ConfigError, match="write one with: ingestd init"):
            load()


@pytest.mark.parametrize("pattern", ["3", '""', '"a\\nb"', '"~nobody-of-that-name/*.toml"'])
def test_an_include_that_names_no_files_is_a_mistake(write: Write, pattern: str) -> None:
    assert re.search("include|home directory", mistake(write(f"include = {pattern}\n{STORE}{ACCOUNT}{IMAP}")))
