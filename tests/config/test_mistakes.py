"""What is said about mistakes: all of them, each with its mend."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ingestd.config import ConfigError, load
from tests.config.writing import ACCOUNT, IMAP, STORE, Write, mistake


def test_a_mistyped_key_is_told_with_the_nearest_known_one(write: Write) -> None:
    said = mistake(write(f"{STORE}{ACCOUNT}{IMAP}prot = 1\n"))

    assert said == '[account.imap] prot: unknown key; did you mean "port"? (account "work")'


def test_a_mistyped_table_is_told(write: Write) -> None:
    said = mistake(write(f"{STORE}[deamon]\n{ACCOUNT}{IMAP}"))

    assert said == 'deamon: unknown key; did you mean "daemon"?'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ACCOUNT + IMAP, '[store] uri: missing; add uri = "mongodb://db.example.org/mail?tls=true"'),
        (STORE, "no account; add [[account]] with a name, and [account.imap] with host, user and password"),
        (
            STORE + ACCOUNT,
            "[[account]] imap: missing; add [account.imap] with host, user and password (or [account.pop3])"
            ' (account "work")',
        ),
        (STORE + "[account]\nname = 'work'", "account: must be a list of tables; write [[account]], with two brackets"),
        ("store = 3\n" + ACCOUNT + IMAP, "[store] must be a table"),
        ("account = [3]\n" + STORE, "[[account]] must be a table"),
        (
            STORE + "own_domains = 'example.org'\n" + ACCOUNT + IMAP,
            '[store] own_domains: must be a list: write ["...", "..."]',
        ),
        (STORE + "[daemon]\nworkers = '2'\n" + ACCOUNT + IMAP, "[daemon] workers: must be a valid integer"),
        (STORE + "[daemon]\nworkers = true\n" + ACCOUNT + IMAP, "[daemon] workers: must be a valid integer"),
        (STORE + "[daemon]\nworkers = -1\n" + ACCOUNT + IMAP, "[daemon] workers: must be greater than or equal to 0"),
        (
            STORE + "[daemon]\nspool_memory = '64'\n" + ACCOUNT + IMAP,
            '[daemon] spool_memory: must be a size such as "64MiB" or "2GiB"',
        ),
        (
            STORE + "[daemon]\nspool_memory = '64KiB'\n" + ACCOUNT + IMAP,
            '[daemon] spool_memory: must be at least "1MiB"',
        ),
        (
            STORE + ACCOUNT + "every = '500ms'\n" + IMAP,
            '[[account]] every: must be a duration such as "30s", "5m", "2h" or "90d" (account "work")',
        ),
        (
            STORE + ACCOUNT + "every = '0s'\n" + IMAP,
            '[[account]] every: must be between "1s" and "7d" (account "work")',
        ),
        (
            STORE + ACCOUNT + "mailboxes = 'INBOX'\n" + IMAP,
            '[[account]] mailboxes: must be a list: write ["...", "..."] (account "work")',
        ),
        (
            STORE + ACCOUNT + IMAP + "tls = 'ssl'",
            '[account.imap] tls: must be "implicit", "starttls" or "none" (account "work")',
        ),
        (
            STORE + ACCOUNT + IMAP.replace("imap.example.org", "imap.example.org:993"),
            '[account.imap] host: must be a name or an address alone, e.g. "imap.example.org"; '
            'the port has a key of its own (account "work")',
        ),
        (
            STORE + ACCOUNT.replace("work", "Work Mail") + IMAP,
            '[[account]] name: must be made of a-z, 0-9, ".", "_" and "-", at most 64 of them, e.g. "work" '
            '(account "Work Mail")',
        ),
    ],
)
def test_a_mistake_names_the_key_and_the_mend(write: Write, text: str, said: str) -> None:
    assert mistake(write(text)) == said


def test_all_mistakes_are_told_at_once(write: Write) -> None:
    said = mistake(write(f"{STORE}tsl = 'none'\n[daemon]\nworker = 1\n{ACCOUNT}evry = '5m'\n{IMAP}"))

    assert re.findall(r'did you mean "(\w+)"', said) == ["tls", "workers", "every"]


def test_no_more_mistakes_are_told_than_a_screen_holds(write: Write) -> None:
    file = write(STORE + "\n".join(f"[[account]]\nname = 'a{i}'" for i in range(100)))

    with pytest.raises(ConfigError, match=r"\nand 80 more mistakes$") as refusal:
        load(file)

    assert len(str(refusal.value).splitlines()) == 21


def test_a_strange_key_is_told_on_one_line(write: Write) -> None:
    said = mistake(write(f'{STORE}"a\\nb\\u001b[2J" = 1\n{ACCOUNT}{IMAP}'))

    assert said.startswith("[store] a?b?[2J: unknown key")


def test_two_accounts_of_one_name_are_refused(write: Write, tmp_path: Path) -> None:
    other = write(ACCOUNT + IMAP, "b.toml")
    file = write(f'include = "b.toml"\n{STORE}{ACCOUNT}{IMAP}')

    said = mistake(file)

    assert said == f'[[account]] name: 2 accounts are called "work" (in {other}, {file}); give each its own'


def test_a_mistake_in_an_included_file_names_that_file(write: Write) -> None:
    other = write(ACCOUNT + IMAP + "prot = 1", "b.toml")
    file = write(f'include = "b.toml"\n{STORE}')

    with pytest.raises(ConfigError, match="^" + re.escape(f"{other}: [account.imap] prot: ")):
        load(file)


def test_a_pattern_that_matches_the_file_itself_includes_the_others(write: Write) -> None:
    write(ACCOUNT.replace("work", "b") + IMAP, "b.toml")

    config = load(write(f'include = "*.toml"\n{STORE}{ACCOUNT}{IMAP}'))

    assert [account.name for account in config.accounts] == ["work", "b"]


def test_an_included_file_holds_only_accounts(write: Write) -> None:
    write(STORE + ACCOUNT + IMAP, "b.toml")

    with pytest.raises(ConfigError, match=r"b\.toml: store: an included file holds \[\[account\]\] only"):
        load(write(f'include = "b.toml"\n{STORE}'))


def test_an_included_file_that_is_missing_is_told_and_an_empty_directory_is_not_a_mistake(write: Write) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(write(f'include = "b.toml"\n{STORE}{ACCOUNT}{IMAP}'))

    assert load(write(f'include = "accounts.d/*.toml"\n{STORE}{ACCOUNT}{IMAP}')).accounts
