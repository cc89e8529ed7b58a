"""How `ingestd init` comes from an address to an account: it finds the server, and tries the login."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

import typer

from .. import config_edit
from ..errors import IngestError, Refused
from ..sources.discovery import discover
from ..sources.imap import ImapAccount, Server
from ..sources.offer import Offer
from .command import Session
from .draft import Draft, content, place, write
from .init import Given

TRIES = 3  # of a password
MANY_NAMES = 1000


def told(session: Session, given: Given) -> None:
    """Write down what was said on the command line, and ask nothing. Raises Refused for what is missing or amiss."""
    file = place(session)
    offer = _given(given) or next(discover(given.address), None)
    if offer is None:
        raise Refused(f"no mail server is found for {_domain(given.address)}; name it: --imap-host HOST")
    offer = replace(offer, user=given.user or offer.user)
    session.output.note(_shown(offer))
    if offer.strange(given.address):
        raise Refused(
            f"{offer.host} is no host of {_domain(given.address)}, and DNS can lie; if it is right, say so:"
            f" --imap-host {offer.host} --imap-port {offer.port} --tls {offer.tls}"
        )
    if given.password_file is None and given.client_id is None:
        raise Refused("a login needs a password; say where it is: --password-file FILE")
    name = given.name or _free(_suggested(given.address), file)
    draft = Draft(name, offer, given.ca_file, given.password_file, client_id=given.client_id)
    if given.test and given.client_id is None:
        _try(draft)
    write(session, file, draft, given.store)


def asked(session: Session, given: Given) -> bool:
    """Ask a person for what has to be known, and write it down; return False when there is no address to begin with."""
    file = place(session)
    address = _ask("Mail address (nothing: a commented configuration to edit)", default="").strip()
    if not address:
        return False
    offer = _given(replace(given, address=address)) or _chosen(session, address)
    offer = replace(offer, user=_ask("User name there", default=given.user or offer.user))
    client_id = given.client_id or (_client(session, offer) if offer.oauth else None)
    draft = Draft(given.name or _free(_suggested(address), file), offer, given.ca_file, client_id=client_id)
    if client_id is None:
        draft = _with_password(session, draft, given)
    draft = replace(draft, name=given.name or _ask("Name of the account, for ever", default=draft.name))
    store = given.store if file.exists() else _ask("Where to store mail (a MongoDB URI)", default=given.store)
    write(session, file, draft, store)
    return True


# --- questions


def _chosen(session: Session, address: str) -> Offer:
    """The server that a person says yes to, or names."""
    session.output.note(f"Looking for the mail server of {_domain(address)} ...")
    for offer in discover(address):
        session.output.note(_shown(offer))
        if typer.confirm("Is that yours?", default=True, err=True):
            return offer
    host = _ask("IMAP server")
    tls: Literal["implicit", "starttls"] = "implicit"
    if not typer.confirm("Is it encrypted from the start (port 993)?", default=True, err=True):
        tls = "starttls"
    return Offer(host, int(_ask("Port", default="993" if tls == "implicit" else "143")), tls, address, "you say so")


def _client(session: Session, offer: Offer) -> str | None:
    session.output.note(f"{offer.host} is best logged in to with OAuth 2 (docs/operations.md); few passwords do there.")
    return _ask("Client id of your registration there (nothing: a password)", default="").strip() or None


def _with_password(session: Session, draft: Draft, given: Given) -> Draft:
    """*draft* with a password that works, or that is to be written down all the same."""
    if given.password_file:
        kept = replace(draft, password_file=given.password_file)
        if given.test:
            _try(kept)
        return kept
    for _ in range(TRIES):
        draft = replace(draft, password=typer.prompt("Password", hide_input=True, err=True))
        try:
            if given.test:
                _try(draft)
                session.output.note("It lets us in.")
        except IngestError as error:
            session.output.complain(str(error))
            if not typer.confirm("Write it down all the same?", default=False, err=True):
                continue
        return draft
    raise Refused("no password that does; nothing was written")


def _ask(question: str, default: str | None = None) -> str:
    return str(typer.prompt(question, default=default, show_default=bool(default), err=True))


# --- what follows


def _given(given: Given) -> Offer | None:
    """The server that was named on the command line."""
    if given.host is None:
        return None
    port = given.port or (143 if given.tls == "starttls" else 993)
    return Offer(given.host, port, given.tls, given.user or given.address, "you say so")


def _shown(offer: Offer) -> str:
    return f"{offer.host} port {offer.port} ({offer.tls}): {offer.by}"


def _domain(address: str) -> str:
    return address.rpartition("@")[2]


def _suggested(address: str) -> str:
    """A name from the domain: it will be part of every document, so it is no place for an address."""
    return re.sub(r"[^a-z0-9_-]", "", _domain(address).lower().partition(".")[0])[:40] or "mail"


def _free(name: str, file: Path) -> str:
    """*name*, or with a number behind it, as no account in *file* is called."""
    taken = config_edit.names(content(file) or "")
    candidates = (name, *(f"{name}-{number}" for number in range(2, MANY_NAMES)))
    return next(each for each in candidates if each not in taken)


def _try(draft: Draft) -> None:
    """Log in, and open the INBOX; raise Unavailable or Refused."""
    offer = draft.offer
    server = Server(offer.host, offer.port, offer.tls, offer.user, draft.resolved, draft.ca_file)
    with ImapAccount(draft.name, server) as imap:
        imap.open("INBOX")
