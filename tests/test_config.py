"""The configuration: what may be written, what it means, and what is said about mistakes."""

import re
import tomllib
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from ingestd.budget import Budget
from ingestd.config import Account, Alerts, Config, ConfigError, Daemon, Imap, Limits, OAuth, Pop3, Secret, Store, load
from ingestd.cron import Cron
from ingestd.errors import Refused

EXAMPLE = Path(__file__).parent.parent / "config" / "ingestd.toml"
STORE = '[store]\nuri = "mongodb://localhost/mail"\n'
ACCOUNT = '[[account]]\nname = "work"\n'
IMAP = '[account.imap]\nhost = "imap.example.org"\nuser = "me"\npassword = { env = "X" }\n'

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "ingestd.toml") -> Path:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return file

    return write


def mistake(file: Path) -> str:
    """What is said about *file*, without its name."""
    with pytest.raises(ConfigError) as refusal:
        load(file)
    lines = str(refusal.value).splitlines()
    assert all(line.startswith(f"{file}: ") for line in lines), lines
    return "\n".join(line.removeprefix(f"{file}: ") for line in lines)


def account(write: Write, keys: str = "", imap: str = "") -> Account:
    return load(write(STORE + ACCOUNT + keys + "\n" + IMAP + imap)).accounts[0]


# --- the example


def all_written() -> str:
    """The example with every default written out."""
    return re.sub(r"(?m)^# (?=[a-z_]+ = |\[account\.|\[alerts\])", "", EXAMPLE.read_text())


def tables(tree: dict[str, Any]) -> list[tuple[type[BaseModel], dict[str, Any]]]:
    (account,) = tree["account"]
    return [
        (Store, tree["store"]),
        (Daemon, tree["daemon"]),
        (Account, account),
        (Imap, account["imap"]),
        (Pop3, account["pop3"]),
        (OAuth, account["oauth"]),
        (Limits, account["limits"]),
        (Alerts, {**tree["alerts"], "oauth": account["oauth"]}),  # told in words
    ]


def test_the_example_can_be_used_as_it_is() -> None:
    config = load(EXAMPLE)

    assert [account.name for account in config.accounts] == ["work"]


def test_the_example_shows_every_key_and_no_other() -> None:
    tree = tomllib.loads(all_written())

    for model, shown in tables(tree):
        assert set(shown) == {field.alias or name for name, field in model.model_fields.items()}, model
    assert set(tree) == {"include", "store", "daemon", "alerts", "account"}
    for kind in Secret.model_fields:
        assert f"{{ {kind} = " in EXAMPLE.read_text()


def test_every_default_that_the_example_shows_is_the_default(write: Write) -> None:
    lines = all_written().splitlines(keepends=True)
    depends = {"workers", "spool_dir", "ca_file", "token_key", "password"}  # told in words
    depends |= {"imap", "pop3", "oauth", "limits"}
    # There is another way in, and there is `every`.
    instead = ("include", 'password = { file = "/etc/ingestd/work.secret" }', 'cron = "0 7-19 * * mon-fri"')

    defaults, shown = load(EXAMPLE), load(write("".join(line for line in lines if not line.startswith(instead))))

    for default, written in zip(parts(defaults), parts(shown), strict=True):
        assert default.model_dump(exclude=depends) == written.model_dump(exclude=depends)


def parts(config: Config) -> list[BaseModel]:
    return [config.store, config.daemon, config.accounts[0], config.accounts[0].imap]


# --- where it is looked for


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INGESTD_CONFIG", raising=False)
    (tmp_path / "home" / ".config" / "ingestd").mkdir(parents=True)
    return tmp_path / "home"


def test_the_file_that_is_asked_for_comes_first(write: Write, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, named = write(STORE + ACCOUNT + IMAP), write("not read", "other.toml")
    monkeypatch.setenv("INGESTD_CONFIG", str(named))

    assert load(asked).file == asked


def test_the_environment_comes_before_the_home_directory(
    write: Write, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = write(STORE + ACCOUNT + IMAP)
    (home / ".config/ingestd/ingestd.toml").write_text("not read")
    monkeypatch.setenv("INGESTD_CONFIG", str(named))

    assert load().file == named


def test_the_home_directory_is_looked_at(home: Path) -> None:
    file = home / ".config/ingestd/ingestd.toml"
    file.write_text(STORE + ACCOUNT + IMAP)

    assert load().file == file


@pytest.mark.skipif(Path("/etc/ingestd/ingestd.toml").exists(), reason="this machine has a configuration")
def test_the_working_directory_is_never_looked_at(home: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(STORE + ACCOUNT + IMAP).parent)

    with pytest.raises(
        ConfigError, match=r"no configuration found; looked at --config, \$INGESTD_CONFIG, .*/etc/"
    ) as r:
        load()

    assert str(r.value).endswith("write one with: ingestd init")


def test_a_missing_file_is_said_with_the_mend(tmp_path: Path) -> None:
    file = tmp_path / "nowhere.toml"

    assert mistake(file) == f"no such file; write one with: ingestd init --config {file}"


def test_an_error_of_configuration_is_for_a_person_to_mend(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        load(tmp_path / "nowhere.toml")


def test_a_file_that_everyone_may_change_is_refused(write: Write) -> None:
    file = write(STORE + ACCOUNT + IMAP)
    file.chmod(0o666)

    assert mistake(file) == f"everyone may write to it; run: chmod o-w {file}"


def test_broken_toml_is_told_with_line_and_column(write: Write) -> None:
    assert re.fullmatch(r"not TOML: .*\(at line 2, column 7\)", mistake(write("[store]\nuri = \n")))


def test_other_encodings_than_utf8_are_refused(write: Write) -> None:
    file = write("")
    file.write_bytes(b'[store]\nuri = "caf\xe9"\n')

    assert mistake(file).startswith("not UTF-8 text")


# --- values


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

    assert said.startswith("[daemon] memory_limit: 256.0 MiB is too little for 4 workers, 32.0 MiB of spool_memory and")
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


# --- mistakes


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


# --- secrets


@pytest.mark.parametrize("where", ["store", "imap"])
def test_a_password_in_the_file_is_refused_and_not_repeated(write: Write, where: str) -> None:
    plain = 'password = "hunter2"\n'
    text = (
        STORE + plain + ACCOUNT + IMAP
        if where == "store"
        else STORE + ACCOUNT + IMAP.replace('{ env = "X" }', '"hunter2"')
    )

    said = mistake(write(text))

    assert "a secret does not stand in the configuration; write it to a file that only you can read" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("secret", ["{}", '{ env = "X", file = "y" }', "{ command = [] }", '{ command = "pass mail" }'])
def test_a_secret_is_exactly_one_reference(write: Write, secret: str) -> None:
    said = mistake(write(STORE + ACCOUNT + IMAP.replace('{ env = "X" }', secret)))

    assert said.startswith("[account.imap.password] ")


@pytest.mark.parametrize(
    ("secret", "kind", "value"),
    [
        ({"file": "/x"}, "file", "/x"),
        ({"credential": "work"}, "credential", "work"),
        ({"command": ["pass", "mail"]}, "command", ("pass", "mail")),
        ({"env": "X"}, "env", "X"),
    ],
)
def test_a_secret_is_read_as_what_it_refers_to(secret: dict[str, Any], kind: str, value: object) -> None:
    read = Secret.model_validate(secret)

    assert (read.kind, read.value) == (kind, value)


# --- the store


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://localhost/mail",
        "mongodb://127.0.0.1:27017,[::1]:27018/mail?replicaSet=a",
        "mongodb://%2Frun%2Fmongodb.sock/mail",
        "mongodb://me@db.example.org/mail?tls=true",
        "mongodb://db.example.org?ssl=TRUE",
        "mongodb+srv://db.example.org/mail",
        "embedded:var/store",
    ],
)
def test_a_store_that_nobody_can_overhear_is_accepted(uri: str) -> None:
    store = Store(uri=uri)

    assert not store.exposed


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://db.example.org/mail",
        "mongodb://localhost,db.example.org/mail",
        "mongodb://localhost.example.org/mail",
        "mongodb://db.example.org/mail?tls=false",
        "mongodb://db.example.org/mail?tls=true&tlsInsecure=true",
        "mongodb://db.example.org/mail?tls=true&tlsAllowInvalidCertificates=true",
        "mongodb+srv://db.example.org/mail?tls=false",
    ],
)
def test_a_store_that_others_can_overhear_has_to_be_asked_for(write: Write, uri: str) -> None:
    text = f'[store]\nuri = "{uri}"\n'

    said = mistake(write(text + ACCOUNT + IMAP))

    assert said.startswith("[store] uri: not encrypted, or certificates are not checked; add tls=true")
    assert load(write(text + 'tls = "none"\n' + ACCOUNT + IMAP)).store.exposed


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("mongodb://me:hunter2@localhost/mail", "a password does not stand in the URI"),
        ("mongodb://me:hunter2/x@localhost/mail", 'holds an "@" that is not written as %40'),
        ("mongodb://localhost/?tls=true&tlsCertificateKeyFilePassword=hunter2", "a password does not stand in the URI"),
        ("mongodb://", "names no host"),
        ("mongodb:///mail", "names no host"),
        ("postgres://hunter2", "must begin with mongodb://, mongodb+srv:// or embedded:"),
        ("embedded:", "must be a path"),
    ],
)
def test_a_uri_that_cannot_be_used_is_refused_and_not_repeated(write: Write, uri: str, said: str) -> None:
    told = mistake(write(f'[store]\nuri = "{uri}"\n{ACCOUNT}{IMAP}'))

    assert told.startswith("[store] uri: ")
    assert said in told
    assert "hunter2" not in told


def test_a_password_needs_a_user(write: Write) -> None:
    said = mistake(write(STORE + 'password = { env = "X" }\n' + ACCOUNT + IMAP))

    assert said == "[store] password: the URI names no user; write it as mongodb://USER@host/..."


def test_the_embedded_server_takes_no_password(write: Write) -> None:
    said = mistake(write('[store]\nuri = "embedded:x"\npassword = { env = "X" }\n' + ACCOUNT + IMAP))

    assert said == "[store] password: the embedded server keeps one of its own; remove the key"


# --- when

RHYTHM = 'cron = "0 7-19 *  * mon-fri"\nquiet = ["22:00-06:00", "12:00-13:00"]\ntimezone = "Europe/Berlin"'


def test_an_account_may_be_visited_at_times_of_the_day_and_left_alone_at_others(write: Write) -> None:
    timed = account(write, RHYTHM)
    pushed = account(write, RHYTHM + "\nidle = true")
    usual = account(write, 'every = "1h"')

    assert timed.rhythm == Cron("0 7-19 * * mon-fri", "Europe/Berlin")
    assert [hours.begin.hour for hours in timed.quiet] == [22, 12]
    assert (timed.idle, pushed.idle, usual.idle) == (False, True, True)
    assert (pushed.patience, usual.patience) == (timedelta(minutes=9), timedelta(minutes=9))
    assert usual.rhythm == timedelta(hours=1)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('cron = "0 7 * * mon"\nevery = "1h"', "every: there is cron too; remove one of them"),
        ('cron = "0 7 * *"', "cron: must be minute, hour, day of month, month and day of week"),
        ('cron = "0 7 * * 1-5"', "cron: name the days of the week: mon, tue"),
        ('cron = "61 7 * * mon"', "cron: Error validating expression"),
        ('cron = "0 7 * * someday"', "cron: "),
        ('timezone = "Europe/Bärlin"', "timezone: must be a time zone that this machine knows"),
        ('timezone = "../etc/passwd"', "timezone: must be a time zone that this machine knows"),
        ('quiet = "22:00-06:00"', 'quiet: must be a list: write ["...", "..."]'),
        ('quiet = ["22-6"]', 'quiet.0: each must be hours such as "22:00-06:00"'),
        ('quiet = ["06:00-06:00"]', "and not the whole day"),
        ('quiet = ["22:00-24:30"]', "each must be hours"),
        ("quiet = [22]", "must be hours"),
        ('reissue = "30m"', 'reissue: must be between "1s" and "20m"'),
        ("idle = 1", "idle: must be a valid boolean"),
    ],
)
def test_what_is_wrong_with_a_rhythm_is_said(write: Write, keys: str, said: str) -> None:
    assert said in mistake(write(STORE + ACCOUNT + keys + "\n" + IMAP))


# --- POP3

POP3 = '[account.pop3]\nhost = "pop.example.org"\nuser = "me"\npassword = { env = "X" }\n'


def test_an_account_may_have_pop3_alone(write: Write) -> None:
    read = load(write(STORE + ACCOUNT + 'after_store = "delete"\n' + POP3)).accounts[0]

    assert (read.imap, read.host, read.user) == (None, "pop.example.org", "me")
    assert read.pop3 is not None
    assert (read.pop3.port, read.pop3.tls) == (995, "implicit")


def test_beside_imap_the_user_and_password_of_that_serve(write: Write) -> None:
    read = load(write(STORE + ACCOUNT + IMAP + '[account.pop3]\nhost = "pop.example.org"\n')).accounts[0]

    assert (read.host, read.user) == ("imap.example.org", "me")


@pytest.mark.parametrize(
    ("keys", "pop3", "said"),
    [
        ('mailboxes = ["INBOX", "Sent"]', POP3, "mailboxes: over POP3 there is only the INBOX"),
        ('select = "unseen"', POP3, "select: over POP3 nothing says what is unread"),
        ("idle = true", POP3, "idle: over POP3 no server tells of new mail"),
        ("fetch_connections = 2", POP3, "fetch_connections: over POP3 there is only one"),
        ('after_store = "seen"', POP3, 'after_store: over POP3 only "none" and "delete"'),
        ("", POP3.replace('user = "me"\n', ""), "pop3.user: missing"),
        ("", POP3.replace('password = { env = "X" }\n', ""), "pop3.password: missing"),
    ],
)
def test_what_pop3_alone_cannot_do_is_refused(write: Write, keys: str, pop3: str, said: str) -> None:
    assert said in mistake(write(f"{STORE}{ACCOUNT}{keys}\n{pop3}"))


# --- OAuth 2

OAUTH = '[account.imap]\nhost = "imap.example.org"\nuser = "me@example.org"\n[account.oauth]\nclient_id = "x"\n'


def test_a_login_without_a_password_needs_a_provider_or_its_addresses(write: Write) -> None:
    known = load(write(STORE + ACCOUNT + OAUTH + 'provider = "microsoft"\n')).accounts[0]
    other = load(write(STORE + ACCOUNT + OAUTH + 'token_url = "https://login.example.org/t"\nscope = "mail"\n'))

    assert known.oauth is not None
    assert (known.imap.password, known.oauth.grant) == (None, "refresh_token")
    assert other.accounts[0].oauth is not None


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("", '[account.oauth] name a provider ("google", "microsoft"), or give token_url and scope'),
        ('provider = "google"\ngrant = "client_credentials"', "client_secret: missing"),
        ('token_url = "http://login.example.org/t"\nscope = "x"', "token_url: must begin with https://"),
        ('provider = "goggle"', 'provider: must be "google" or "microsoft"'),
    ],
)
def test_what_is_wrong_with_a_login_is_said(write: Write, keys: str, said: str) -> None:
    assert said in mistake(write(STORE + ACCOUNT + OAUTH + keys + "\n"))


def test_there_is_one_way_to_log_in(write: Write) -> None:
    neither = STORE + ACCOUNT + OAUTH.partition("[account.oauth]")[0]
    both = STORE + ACCOUNT + OAUTH.replace("user", 'password = { env = "X" }\nuser') + 'provider = "google"\n'

    assert "imap.password: missing" in mistake(write(neither))
    assert "imap.password: there is [account.oauth] too" in mistake(write(both))


# --- alerts

MAIL = '[alerts]\nhost = "smtp.example.org"\nfrom = "ingestd@example.org"\nto = ["ops@example.org"]\n'


def test_a_mail_server_for_alerts_needs_a_host_and_two_addresses(write: Write) -> None:
    said = load(write(STORE + ACCOUNT + IMAP + MAIL)).alerts

    assert said is not None
    assert (said.host, said.tls, said.port) == ("smtp.example.org", "starttls", 587)
    assert (said.user, said.sender, said.to) == (None, "ingestd@example.org", ("ops@example.org",))


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (MAIL.replace("from", "form"), '[alerts] form: unknown key; did you mean "from"?'),
        (MAIL.replace("from", "form"), '[alerts] from: missing; add from = "ingestd@example.org"'),
        (MAIL.replace('"ingestd@', '"Ingestd <ingestd@'), "[alerts] from: must be an address alone"),
        (MAIL.replace("ops@", "ops\\r\\n@"), "[alerts] to.0: must not be empty or hold control characters"),
        (MAIL + 'user = "me"\n', "[alerts] user: goes with a password, or with a table [alerts.oauth]"),
        (MAIL + 'tls = "none"\n', '[alerts] tls: "none" is for a mail server on this machine'),
    ],
)
def test_a_mistake_about_alerts_is_told_with_its_mend(write: Write, written: str, why: str) -> None:
    assert why in mistake(write(STORE + ACCOUNT + IMAP + written))
