"""The connection to MongoDB: what we ask of every write and read, and what its errors mean to us.

Every write waits for a majority and the journal; every read is from the primary, majority-committed, whatever the URI
says: the ledger decides what is fetched and what may be deleted, so it must not be read from yesterday.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pymongo
from pymongo import MongoClient, UpdateOne
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    OperationFailure,
    PyMongoError,
)
from pymongo.uri_parser import parse_uri

from ..errors import IngestError, Refused, StoreUnavailable

Document = dict[str, Any]

DEFAULT_DATABASE = "ingestd"
GOODBYE = 2.0  # seconds in which a client tells the server that it goes
DUPLICATE_KEY = 11000
# DuplicateKey, BadValue, and a document that is too large, in the words of several versions.
DOCUMENT_FAULTS = frozenset({DUPLICATE_KEY, 2, 10334, 17280, 17419, 17420})
# What reading a document comes to that somebody has altered: it may have any shape.
NONSENSE = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError)
NOT_AUTHORISED = {13: "is not allowed to do this", 18: "was refused"}  # Unauthorized, AuthenticationFailed


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How to reach MongoDB. Can be pickled, so that worker processes open connections of their own."""

    uri: str
    password: str | None = field(default=None, repr=False)
    allow_plain: bool = False  # a connection without TLS beyond loopback
    select_timeout: float = 10.0  # seconds to find a primary
    socket_timeout: float = 60.0  # seconds for one answer
    operation_timeout: float | None = None  # seconds for all of one operation, instead of the above

    @property
    def shown(self) -> str:
        """The URI without its secrets."""
        return redacted(self.uri)


@contextmanager
def connected(settings: StoreSettings, listeners: Sequence[Any] = ()) -> Iterator[Database[Document]]:
    """Give the database of *settings* until the block ends.

    Connecting is lazy: use `ping` to find out now. Raises Refused for a URI that cannot or must not be used.
    """
    _check_transport(settings)
    secret: dict[str, Any] = {"password": settings.password} if settings.password is not None else {}
    with translated(settings):
        client: MongoClient[Document] = MongoClient(
            settings.uri,
            **secret,
            appname="ingestd",
            w="majority",
            journal=True,
            readConcernLevel="majority",
            readPreference="primary",
            retryWrites=True,
            tz_aware=True,
            **_patience(settings),
            event_listeners=list(listeners),
        )
    try:
        yield client.get_default_database(DEFAULT_DATABASE)
    finally:
        with pymongo.timeout(GOODBYE):
            client.close()


def ping(database: Database[Document], settings: StoreSettings) -> None:
    """Make sure that the store answers and lets us in; raise StoreUnavailable or Refused."""
    with translated(settings):
        database.list_collection_names()  # unlike ping, this needs our rights


def server_time(database: Database[Document]) -> datetime:
    """The time by the clock of the server, which all writers share."""
    with translated():
        told: datetime = database.command("hello")["localTime"]
    return told.replace(tzinfo=UTC)


@contextmanager
def translated(settings: StoreSettings | None = None) -> Iterator[None]:
    """Turn what pymongo raises into what to do about it."""
    where = f"store {settings.shown}" if settings else "store"
    try:
        yield
    except PyMongoError as error:
        meant = _meant(error, where)
        if meant is None:
            raise
        raise meant from error


def _meant(error: PyMongoError, where: str) -> IngestError | None:
    """What to do about *error*; None when it lies in a document, which is for the caller to tell.

    A store in trouble has many codes, and taking one for a fault of the mail would leave good mail unparsed. So what is
    not known to be something else is an outage.
    """
    code = getattr(error, "code", None)
    if isinstance(error, OperationFailure) and code in DOCUMENT_FAULTS:
        return None
    if isinstance(error, BulkWriteError) and _faulty(error):
        return None
    if code in NOT_AUTHORISED:
        return Refused(
            f"{where}: the login {NOT_AUTHORISED[code]} (code {code}); check store.uri, store.password"
            " and the roles of that user"
        )
    if isinstance(error, ConfigurationError) and not _from_dns(error):
        return Refused(f"{where}: {_brief(error)}; check store.uri and store.password")
    if isinstance(error, OperationFailure):
        return StoreUnavailable(f"{where}: refused for now (code {code}, {(error.details or {}).get('codeName', '')})")
    return StoreUnavailable(f"{where}: no answer ({_brief(error)}); is MongoDB running there?")


def _faulty(error: BulkWriteError) -> bool:
    return any(failure["code"] in DOCUMENT_FAULTS for failure in error.details.get("writeErrors", ()))


def _from_dns(error: ConfigurationError) -> bool:
    """Whether the name of a mongodb+srv:// URI could not be looked up just now."""
    return type(error.__cause__).__module__.startswith("dns.")


def upsert(collection: Collection[Document], operations: Sequence[UpdateOne]) -> set[int]:
    """Run *operations* unordered; return the indexes of those that inserted a document.

    Two writers that upsert one `_id` at the same moment make one of them fail with a duplicate key; sent again, it
    finds the other's document. An operation whose filter excludes the document that is there stays without effect.
    """
    inserted: set[int] = set()
    result: Mapping[str, Any]
    waiting = list(range(len(operations)))
    for _ in range(2):
        if not waiting:
            break
        try:
            with translated():
                result = collection.bulk_write([operations[i] for i in waiting], ordered=False).bulk_api_result
            clashed: list[int] = []
        except BulkWriteError as error:
            result = error.details
            clashed = [waiting[index] for index in duplicates(error)]
        inserted.update(waiting[entry["index"]] for entry in result["upserted"])
        waiting = clashed
    return inserted


def insert_missing(collection: Collection[Document], documents: Sequence[Document]) -> list[int]:
    """Insert *documents*, leaving alone those whose `_id` is there; return the indexes of those."""
    if not documents:
        return []
    try:
        with translated():
            collection.insert_many(documents, ordered=False)
    except BulkWriteError as error:
        return duplicates(error)
    return []


def duplicates(error: BulkWriteError) -> list[int]:
    """Return the indexes that failed because their `_id` exists.

    Raises StoreUnavailable when some of the rest may succeed later, else *error* again when a document is at fault.
    """
    failures = error.details["writeErrors"]
    others = {failure["code"] for failure in failures} - {DUPLICATE_KEY}
    if error.details.get("writeConcernErrors") or others - DOCUMENT_FAULTS:
        codes = ", ".join(map(str, sorted(others))) or "not confirmed by a majority"
        raise StoreUnavailable(f"store: writes failed for now ({codes})") from error
    if others:
        raise error
    return [failure["index"] for failure in failures]


def redacted(uri: str) -> str:
    """Show *uri* without a password."""
    parts = urlsplit(uri)
    user, at, hosts = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    return f"{parts.scheme}://{name}{at}{hosts}{parts.path}" if parts.scheme else uri


def _patience(settings: StoreSettings) -> dict[str, Any]:
    """How long to wait, in milliseconds, for what the URI does not say itself."""
    defaults = {
        "serverSelectionTimeoutMS": settings.select_timeout,
        "connectTimeoutMS": settings.select_timeout,
        "socketTimeoutMS": settings.socket_timeout,
    }
    if settings.operation_timeout is not None:
        defaults["timeoutMS"] = settings.operation_timeout
    said = settings.uri.lower()
    return {name: int(seconds * 1000) for name, seconds in defaults.items() if f"{name.lower()}=" not in said}


def _check_transport(settings: StoreSettings) -> None:
    if settings.allow_plain or settings.uri.startswith("mongodb+srv://"):
        return
    try:
        parsed = parse_uri(settings.uri, warn=False)
    except (ConfigurationError, ValueError) as error:
        raise Refused(f"store {settings.shown}: {_brief(error)}; check store.uri") from error
    if not parsed["options"].get("tls") and not all(_is_local(host) for host, _ in parsed["nodelist"]):
        raise Refused(
            f"store {settings.shown}: no TLS to a host beyond loopback; add tls=true to store.uri,"
            ' or say store.tls = "none" aloud'
        )


def _is_local(host: str) -> bool:
    if host == "localhost" or host.endswith(".sock"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _brief(error: Exception) -> str:
    """The first sentence of a driver's message: the rest repeats itself and the topology."""
    text = str(error).split(", Timeout:")[0].split(" (configured timeouts")[0]
    return text[:200] or type(error).__name__
