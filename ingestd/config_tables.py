"""The tables of the configuration: every key that may be written, and its default.

Tables are frozen; paths are absolute; sizes are bytes and durations timedeltas. A secret is only a reference here:
whoever logs in resolves it. `config/ingestd.toml` shows every key; the defaults stand here and only here.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from . import units
from .breaker import Patience
from .config_file import expanded
from .config_values import (
    EMBEDDED,
    AfterStore,
    Domains,
    Duration,
    Host,
    Located,
    Mailbox,
    Mailboxes,
    Name,
    Quiet,
    Select,
    Servers,
    Since,
    Size,
    Text,
    Texts,
    Times,
    Uri,
    Url,
    Zone,
    at_least,
    between,
    encrypted,
    local,
    loopback,
    user,
)
from .cron import Cron

PORTS = {"implicit": 993, "starttls": 143, "none": 143}
SMTP_PORTS = {"implicit": 465, "starttls": 587, "none": 25}
POP3_PORTS = {"implicit": 995, "starttls": 110, "none": 110}


class Table(BaseModel):
    """What all tables share: no unknown key, no guessing of types, no change once read, no value in an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Secret(Table):
    """Where a secret is kept: exactly one of these."""

    file: Located | None = None
    credential: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$")] | None = None
    command: Texts | None = None
    env: Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _not_the_secret_itself(cls, value: object) -> object:
        if isinstance(value, str):
            raise ValueError(
                "a secret does not stand in the configuration; write it to a file that only you can read and say "
                '{ file = "..." }, or use { credential = "..." }, { command = ["..."] } or { env = "..." }'
            )
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("give exactly one of file, credential, command, env")
        return self

    @property
    def kind(self) -> Literal["file", "credential", "command", "env"]:
        if self.file is not None:
            return "file"
        if self.credential is not None:
            return "credential"
        return "command" if self.command is not None else "env"

    @property
    def value(self) -> str | tuple[str, ...]:
        """The path, name, argv or variable, by `kind`."""
        return str(self.file) if self.file else self.credential or self.command or self.env or ""


class Store(Table):
    """The database. The URI holds no secret, so it may be shown."""

    uri: Uri = Field(examples=['uri = "mongodb://db.example.org/mail?tls=true"'])
    password: Secret | None = None
    tls: Literal["required", "none"] = "required"
    allow_embedded: bool = False
    own_domains: Domains = ()

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if self.embedded and self.password:
            raise ValueError("password: the embedded server keeps one of its own; remove the key")
        if self.embedded:
            return self
        if self.password and not user(self.uri):
            raise ValueError("password: the URI names no user; write it as mongodb://USER@host/...")
        if self.tls == "required" and not encrypted(self.uri) and not local(self.uri):
            raise ValueError(
                "uri: not encrypted, or certificates are not checked; "
                'add tls=true to its options, or say tls = "none" if others may read all mail on the way'
            )
        return self

    @property
    def embedded(self) -> Path | None:
        """The directory of the embedded server, if that is the store."""
        return Path(self.uri.removeprefix(EMBEDDED)) if self.uri.startswith(EMBEDDED) else None

    @property
    def exposed(self) -> bool:
        """Whether mail travels to the database where others could read it."""
        return not self.embedded and not encrypted(self.uri) and not local(self.uri)


def _spool() -> Path:
    """$STATE_DIRECTORY is what systemd gives a service; it may name several, the first is ours."""
    if state := os.environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(state) / "spool"
    try:
        return expanded(Path("~/.local/state/ingestd/spool"))
    except ValueError:  # a user without a home directory
        return Path("/var/lib/ingestd/spool")


class Daemon(Table):
    """The process itself."""

    workers: int = Field(default_factory=lambda: min(4, os.cpu_count() or 1), ge=0, le=64)
    memory_limit: Size = units.size("1GiB")
    spool_dir: Located = Field(default_factory=_spool)
    spool_memory: Annotated[Size, at_least("1MiB")] = units.size("32MiB")
    spool_disk: Annotated[Size, at_least("16MiB")] = units.size("2GiB")
    lease: Annotated[Duration, between("3s", "10m")] = timedelta(seconds=60)
    token_key: Secret | None = None
    metrics_port: int = Field(default=0, ge=0, le=65535)  # 0: none


class OAuth(Table):
    """How to get access tokens for a mail server that takes no password."""

    provider: Literal["google", "microsoft"] | None = None
    tenant: Annotated[Text, StringConstraints(pattern=r"^[A-Za-z0-9.-]+$")] = "organizations"
    grant: Literal["refresh_token", "client_credentials"] = "refresh_token"
    client_id: Text = Field(examples=['client_id = "..."'])
    client_secret: Secret | None = None
    refresh_token: Secret | None = None
    token_url: Url | None = None
    device_url: Url | None = None
    authorize_url: Url | None = None
    scope: Text | None = None

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.provider is None and (self.token_url is None or self.scope is None):
            raise ValueError('name a provider ("google", "microsoft"), or give token_url and scope')
        if self.grant == "client_credentials" and self.client_secret is None:
            raise ValueError("client_secret: missing; a client that logs in as itself needs one")
        return self


class MailServer(Table):
    """How to reach a mail server."""

    host: Host
    tls: Literal["implicit", "starttls", "none"] = "implicit"
    ca_file: Located | None = None

    @property
    def exposed(self) -> bool:
        """Whether the password travels where others could read it."""
        return self.tls == "none" and not loopback(self.host)


class Alerts(Table):
    """The mail server that sends alerts, and to whom."""

    host: Host = Field(examples=['host = "smtp.example.org"'])
    tls: Literal["implicit", "starttls", "none"] = "starttls"
    port: int = Field(default_factory=lambda given: SMTP_PORTS[given.get("tls", "starttls")], ge=1, le=65535)
    ca_file: Located | None = None
    user: Text | None = None
    password: Secret | None = None
    oauth: OAuth | None = None
    sender: Mailbox = Field(alias="from", examples=['from = "ingestd@example.org"'])
    to: Mailboxes = Field(examples=['to = ["ops@example.org"]'])

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.password is not None and self.oauth is not None:
            raise ValueError("password: there is [alerts.oauth] too; remove one of them")
        if (self.user is None) != (self.password is None and self.oauth is None):
            raise ValueError("user: goes with a password, or with a table [alerts.oauth]; add what is missing")
        if self.tls == "none" and not loopback(self.host):
            raise ValueError('tls: "none" is for a mail server on this machine; use "starttls" or "implicit"')
        return self


class Limits(Table):
    """What an account may use of its mail server; without a key, what is known of its provider."""

    connections: int | None = Field(default=None, ge=1, le=1000)
    bytes_a_day: Annotated[Size, at_least("1MiB")] | None = None
    logins_an_hour: int | None = Field(default=None, ge=1, le=3600)


class Imap(MailServer):
    """An IMAP server, and who we are there."""

    host: Host = Field(examples=['host = "imap.example.org"'])
    port: int = Field(default_factory=lambda given: PORTS[given.get("tls", "implicit")], ge=1, le=65535)
    user: Text = Field(examples=['user = "me@example.org"'])
    password: Secret | None = None


class Pop3(MailServer):
    """A POP3 server. Where there is [account.imap] too, user and password are those, unless they stand here."""

    host: Host = Field(examples=['host = "pop.example.org"'])
    port: int = Field(default_factory=lambda given: POP3_PORTS[given.get("tls", "implicit")], ge=1, le=65535)
    user: Text | None = None
    password: Secret | None = None
    fallback_attempts: int = Field(default=3, ge=1, le=1000)
    fallback_after: Annotated[Duration, between("0s", "1d")] = timedelta(minutes=5)

    @property
    def patience(self) -> Patience:
        """What IMAP may fail before it is this that serves."""
        return Patience(self.fallback_attempts, self.fallback_after)


class Account(Table):
    """A login on a mail server, and what to keep of its mail."""

    name: Name = Field(examples=['name = "work"'])
    mailboxes: Texts = ("INBOX",)
    select: Select = "unseen"
    since: Since | None = None
    after_store: AfterStore = "none"
    authserv_ids: Servers = ()
    every: Annotated[Duration, between("1s", "7d")] = timedelta(minutes=5)
    cron: Times | None = None
    timezone: Zone = "UTC"
    quiet: Quiet = ()
    idle: bool = Field(default_factory=lambda given: given.get("cron") is None)
    reissue: Annotated[Duration, between("1s", "20m")] = timedelta(minutes=9)
    fetch_connections: int = Field(default=1, ge=1, le=16)
    imap: Imap | None = None
    pop3: Pop3 | None = None
    oauth: OAuth | None = None
    limits: Limits = Field(default_factory=Limits)

    @model_validator(mode="after")
    def _one_rhythm(self) -> Self:
        if self.cron is not None and "every" in self.model_fields_set:
            raise ValueError("every: there is cron too; remove one of them")
        return self

    @property
    def address(self) -> str:
        """Its server, and the port there."""
        place = self.imap or self.pop3
        return f"{place.host}:{place.port}" if place else ""

    @property
    def rhythm(self) -> timedelta | Cron:
        """When it is visited, beside what its server tells."""
        return Cron(self.cron, self.timezone) if self.cron else self.every

    @property
    def patience(self) -> timedelta:
        """How long a connection may wait for news before it is looked after, if no visit comes until then."""
        return self.reissue if self.cron else min(self.every * 1.25, self.reissue)

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.imap is None and self.pop3 is None:
            raise ValueError("imap: missing; add [account.imap] with host, user and password (or [account.pop3])")
        table, server = ("imap", self.imap) if self.imap else ("pop3", self.pop3)
        if not self.user:
            raise ValueError(f'{table}.user: missing; add user = "me@example.org"')
        if server and server.password is None and self.oauth is None:
            example = 'password = { file = "/etc/ingestd/work.secret" }'
            where = f"[account.{table}], or a table [account.oauth]"
            raise ValueError(f"{table}.password: missing; add {example} to {where}")
        for name, given in (("imap", self.imap), ("pop3", self.pop3)):
            if given and given.password is not None and self.oauth is not None:
                raise ValueError(f"{name}.password: there is [account.oauth] too; remove one of them")
        return self

    @model_validator(mode="after")
    def _what_pop3_can_do(self) -> Self:
        if self.imap is not None:
            if self.pop3 and self.select not in ("unseen", "all"):
                raise ValueError('pop3: nothing can be searched for there; write "unseen" or "all" for select')
            return self
        if self.pop3 and self.pop3.model_fields_set & {"fallback_attempts", "fallback_after"}:
            raise ValueError("pop3.fallback_attempts, fallback_after: there is no [account.imap] to fall back from")
        if self.mailboxes != ("INBOX",):
            raise ValueError("mailboxes: over POP3 there is only the INBOX; remove the key, or add [account.imap]")
        if "select" in self.model_fields_set and self.select != "all":
            raise ValueError('select: over POP3 nothing says what is unread; write "all", or add [account.imap]')
        if "idle" in self.model_fields_set and self.idle:
            raise ValueError("idle: over POP3 no server tells of new mail; remove the key, or add [account.imap]")
        if self.fetch_connections > 1:
            raise ValueError("fetch_connections: over POP3 there is only one; remove the key, or add [account.imap]")
        if self.after_store not in ("none", "delete"):
            raise ValueError('after_store: over POP3 only "none" and "delete"; change it, or add [account.imap]')
        return self

    @property
    def host(self) -> str:
        """The server that the name of the account stands for."""
        server = self.imap or self.pop3
        assert server is not None  # there is one of them
        return server.host

    @property
    def user(self) -> str:
        """Who we are there."""
        return (self.imap.user if self.imap else self.pop3 and self.pop3.user) or ""
