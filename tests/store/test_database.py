"""What the errors of the driver mean to us."""

from __future__ import annotations

import dns.resolver
import pytest
from bson.errors import InvalidDocument
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    CursorNotFound,
    DuplicateKeyError,
    OperationFailure,
    ServerSelectionTimeoutError,
)

from ingestd.errors import Refused, StoreUnavailable
from ingestd.store.database import StoreSettings, connected, duplicates, redacted, translated

OUTAGES = (6, 43, 91, 112, 133, 134, 189, 262, 11601, 14031)


@pytest.mark.parametrize("code", OUTAGES)
def test_a_store_in_trouble_is_unavailable_whatever_its_code(code: int) -> None:
    with pytest.raises(StoreUnavailable, match=str(code)), translated():
        raise OperationFailure("text that may hold mail", code)


@pytest.mark.parametrize(
    "error", [AutoReconnect("gone"), ServerSelectionTimeoutError("nobody"), CursorNotFound("gone", 43)]
)
def test_a_lost_connection_is_unavailable(error: Exception) -> None:
    with pytest.raises(StoreUnavailable), translated():
        raise error


@pytest.mark.parametrize("code", [13, 18])
def test_a_refused_login_is_for_a_person(code: int) -> None:
    with pytest.raises(Refused, match=r"store\.password"), translated():
        raise OperationFailure("no", code)


@pytest.mark.parametrize("error", [DuplicateKeyError("twice", 11000), OperationFailure("too large", 10334)])
def test_a_fault_of_a_document_is_told_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)), translated():
        raise error


def test_a_document_that_cannot_be_encoded_is_told_as_it_is() -> None:
    with pytest.raises(InvalidDocument), translated():
        raise InvalidDocument("lone surrogate")


def failures(*codes: int) -> BulkWriteError:
    return BulkWriteError({"writeErrors": [{"index": n, "code": code} for n, code in enumerate(codes)]})


def test_duplicates_are_found_in_a_batch() -> None:
    assert duplicates(failures(11000, 11000)) == [0, 1]


def test_an_outage_within_a_batch_is_an_outage() -> None:
    with pytest.raises(StoreUnavailable, match="112"):
        duplicates(failures(11000, 112))


def test_a_write_that_no_majority_confirmed_is_an_outage() -> None:
    with pytest.raises(StoreUnavailable, match="majority"):
        duplicates(BulkWriteError({"writeErrors": [], "writeConcernErrors": [{"code": 64}]}))


def test_a_name_that_dns_does_not_know_just_now_is_waited_for() -> None:
    with pytest.raises(StoreUnavailable), translated():
        raise ConfigurationError("no such name") from dns.resolver.NXDOMAIN()


def test_a_plain_connection_beyond_loopback_has_to_be_asked_for() -> None:
    with pytest.raises(Refused, match="no TLS"), connected(StoreSettings("mongodb://db.example.org/mail")):
        pass


def test_a_uri_is_shown_without_its_password() -> None:
    assert redacted("mongodb://me:secret@db.example.org/mail") == "mongodb://me@db.example.org/mail"
