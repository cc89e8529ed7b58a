"""The kinds of values a configuration holds: what each may look like, and what to say when it does not.

Each check returns the value as the program uses it or raises ValueError with the mend; the text never repeats what was
written, since that may be a secret in the wrong place.
"""

from __future__ import annotations

import os
import re
from datetime import date, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qsl, unquote, urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from . import units
from .config_file import expanded
from .cron import Cron
from .quiet import Hours

EMBEDDED = "embedded:"


def _text(text: str) -> str:
    # A control character in a name would end an IMAP command and begin another.
    if not text.strip() or not text.isprintable():
        raise ValueError("must not be empty or hold control characters")
    return text


def _list(value: object) -> object:
    if isinstance(value, str):
        raise ValueError('must be a list: write ["...", "..."]')
    return tuple(value) if isinstance(value, list) else value


def _beside_the_file(value: object, info: ValidationInfo) -> Path:
    """A relative path starts at the file it is written in."""
    if not isinstance(value, str | Path) or not str(value) or not str(value).isprintable():
        raise ValueError("must be a path")
    path = expanded(Path(value))
    return Path(os.path.normpath(info.context["directory"] / path)) if info.context else path


def at_least(smallest: str) -> AfterValidator:
    def check(size_bytes: int) -> int:
        if size_bytes < units.size(smallest):
            raise ValueError(f'must be at least "{smallest}"')
        return size_bytes

    return AfterValidator(check)


def between(shortest: str, longest: str) -> AfterValidator:
    def check(time: timedelta) -> timedelta:
        if not units.duration(shortest) <= time <= units.duration(longest):
            raise ValueError(f'must be between "{shortest}" and "{longest}"')
        return time

    return AfterValidator(check)


def _since(value: object) -> object:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, timedelta) or (isinstance(value, str) and value.endswith(("d", "w"))):
        return units.duration(value) if isinstance(value, str) else value
    raise ValueError('must be a date such as 2026-01-01, without quotes, or an age such as "90d"')


def _cron(fields: str) -> str:
    fields = " ".join(fields.split())
    if len(fields) > 200 or fields.count(" ") != 4:
        raise ValueError('must be minute, hour, day of month, month and day of week, e.g. "0 7-19 * * mon-fri"')
    _ = Cron(fields).trigger
    return fields


def _zone(name: str) -> str:
    try:
        return ZoneInfo(name).key
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(
            'must be a time zone that this machine knows (package tzdata), e.g. "Europe/Berlin"'
        ) from error


def _hours(text: object) -> Hours:
    if not isinstance(text, str):
        raise ValueError('must be hours such as "22:00-06:00"')
    return Hours.parse(text)


Text = Annotated[str, AfterValidator(_text)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_list), Field(min_length=1)]
Servers = Annotated[tuple[Annotated[Text, AfterValidator(str.lower)], ...], BeforeValidator(_list)]
Located = Annotated[Path, BeforeValidator(_beside_the_file)]
Size = Annotated[int, BeforeValidator(units.size)]
Times = Annotated[Text, AfterValidator(_cron)]
Zone = Annotated[Text, AfterValidator(_zone)]
Quiet = Annotated[tuple[Annotated[Hours, BeforeValidator(_hours)], ...], BeforeValidator(_list), Field(max_length=24)]
Duration = Annotated[timedelta, BeforeValidator(units.duration)]
Since = Annotated[date | timedelta, BeforeValidator(_since)]


# --- accounts and their mail servers


def _name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9._-]{1,64}", name) or not re.search(r"[a-z0-9]", name):
        raise ValueError('must be made of a-z, 0-9, ".", "_" and "-", at most 64 of them, e.g. "work"')
    return name


def _host(host: str) -> str:
    if re.search(r"[\s/@\[\]]", host) or (":" in host and not _address(host)):
        raise ValueError('must be a name or an address alone, e.g. "imap.example.org"; the port has a key of its own')
    return host


_DOMAIN = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")


def _domain(domain: str) -> str:
    """In lower case and in ASCII form (IDNA), as domains are stored."""
    try:
        domain = domain.lower().encode("idna").decode("ascii")
    except UnicodeError:
        domain = ""
    if not _DOMAIN.fullmatch(domain):
        raise ValueError('each must be a domain alone, e.g. "example.org"; it stands for those below it too')
    return domain


def _select(program: str) -> str:
    """`unseen`, `all`, or keys as in RFC 9051, section 6.4.4."""
    if program.lower() in ("unseen", "all"):
        return program.lower()
    if not program.isascii() or len(program) > 4000:
        raise ValueError("an IMAP search program is ASCII, and at most 4,000 characters")
    # A literal would need a line of its own, and the character set is ours to choose.
    if re.search(r"\{\d+\+?\}|^\s*(CHARSET|RETURN)\b", program, re.IGNORECASE):
        raise ValueError("an IMAP search program here has no literals, CHARSET or RETURN")
    if not _balanced(program):
        raise ValueError("must be an IMAP search program with its quotes and parentheses closed")
    return program


def _balanced(program: str) -> bool:
    unquoted = re.sub(r'"(?:[^"\\]|\\.)*"', "", program)
    depth = 0
    for character in unquoted:
        depth += (character == "(") - (character == ")")
        if depth < 0:
            return False
    return depth == 0 and '"' not in unquoted


# RFC 9051: flag-keyword is an atom. \Seen is "seen", and \Deleted would be a deletion by another name.
_FLAG = re.compile(r'flag:(?:\\(?:Flagged|Answered)|[^\x00-\x20(){%*"\\\]\x7f-\U0010ffff]+)')


def _after_store(action: str) -> str:
    kind, _, target = action.partition(":")
    if action in ("none", "seen", "delete") or (kind == "move" and target.strip()) or _FLAG.fullmatch(action):
        return action
    if kind == "flag":
        raise ValueError(r'a flag is a keyword such as "flag:$Archived", or "flag:\\Flagged"')
    raise ValueError('must be "none", "seen", "flag:<keyword>", "move:<mailbox>" or "delete"')


def _mailbox(address: str) -> str:
    """An address alone; what else an RFC allows would need quoting in a header or a command."""
    if not re.fullmatch(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}", address):
        raise ValueError('must be an address alone, such as "ops@example.org"')
    return address


def _url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback(parts.hostname or "")):
        raise ValueError("must begin with https://")
    if not parts.hostname or "@" in parts.netloc:
        raise ValueError("must name a host, and no user")
    return url


Name = Annotated[str, AfterValidator(_name)]
Url = Annotated[Text, AfterValidator(_url)]
Host = Annotated[Text, AfterValidator(_host)]
Mailbox = Annotated[Text, AfterValidator(_mailbox)]
Mailboxes = Annotated[tuple[Mailbox, ...], BeforeValidator(_list), Field(min_length=1, max_length=50)]
Domains = Annotated[tuple[Annotated[Text, AfterValidator(_domain)], ...], BeforeValidator(_list)]
Select = Annotated[Text, AfterValidator(_select)]
AfterStore = Annotated[Text, AfterValidator(_after_store)]


def loopback(host: str) -> bool:
    """Whether *host* is this machine, as far as its name tells."""
    address = _address(host.strip("[]"))
    return address.is_loopback if address else host.lower().rstrip(".") == "localhost"


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


# --- the store's URI


def _uri(uri: str, info: ValidationInfo) -> str:
    """A MongoDB URI without secrets, or `embedded:` and an absolute path."""
    if uri.startswith(EMBEDDED):
        return f"{EMBEDDED}{_beside_the_file(uri.removeprefix(EMBEDDED), info)}"
    if not uri.startswith(("mongodb://", "mongodb+srv://")):
        raise ValueError("must begin with mongodb://, mongodb+srv:// or embedded:")
    user, hosts, rest = _split(uri)
    if ":" in user:
        raise ValueError("a password does not stand in the URI; remove it there and use the key password")
    if not hosts or "@" in rest:
        raise ValueError('names no host, or holds an "@" that is not written as %40')
    if "tlscertificatekeyfilepassword" in options(uri):
        raise ValueError("a password does not stand in the URI; use a key file without one, readable by you alone")
    return uri


def encrypted(uri: str) -> bool:
    """Whether nobody between us and the server of *uri* can read along or pretend to be it."""
    given = options(uri)
    tls = given.get("tls", given.get("ssl", str(uri.startswith("mongodb+srv:")))).lower() == "true"
    careless = ("tlsinsecure", "tlsallowinvalidcertificates", "tlsallowinvalidhostnames")
    return tls and not any(given.get(option, "").lower() == "true" for option in careless)


def local(uri: str) -> bool:
    """Whether *uri* leads to this machine only: to loopback addresses or sockets of the file system."""
    hosts = [unquote(re.sub(r":\d+$", "", host)) for host in _split(uri)[1].split(",")]
    return not uri.startswith("mongodb+srv:") and all(host.startswith("/") or loopback(host) for host in hosts)


def user(uri: str) -> str:
    """The user that *uri* names, or "" for none."""
    return unquote(_split(uri)[0])


def options(uri: str) -> dict[str, str]:
    return {key.lower(): value for key, value in parse_qsl(uri.partition("?")[2], keep_blank_values=True)}


def _split(uri: str) -> tuple[str, str, str]:
    """The user, the hosts, and the rest of a MongoDB URI."""
    authority, *rest = re.split(r"(?=[/?])", uri.partition("://")[2], maxsplit=1)
    name, _, hosts = authority.rpartition("@")
    return name, hosts, "".join(rest)


Uri = Annotated[Text, AfterValidator(_uri)]
