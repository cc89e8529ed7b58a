"""Delete or move those messages on a server that are certainly the ones we know, and no other.

All of it happens in one session: a UID keeps its meaning for as long as the mailbox stays open, and only for so long.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..message import Metadata, Removal
from ..steps import step
from ..uidset import UIDSet
from .imap_answers import Answer, found_uids, refusal
from .imap_look import Connection, look
from .imap_session import Session

Announce = Callable[[UIDSet], None]


def remove(
    connection: Connection, known: Mapping[int, Metadata], commands: Sequence[bytes], announce: Announce
) -> Removal:
    """Send *commands* for those messages that are there, and what is *known* of them; return what became of each.

    *announce* is told which, before the first command. When it raises, nothing was done.
    """
    session = connection.session()
    there = _there(connection, session, UIDSet.of(known))
    same = UIDSet.of(uid for uid, said in look(connection, there).items() if _same(said, known[uid]))
    if same:
        announce(same)
        for command in commands:
            _done(connection, session, command % str(same).encode())
            step("marked")
    left = _there(connection, session, same) if same else UIDSet()
    return Removal(removed=same - left, left=left, other=there - same, absent=UIDSet.of(known) - there)


def _same(said: Metadata, known: Metadata) -> bool:
    """Whether both tell the date and the size, and the same ones. Where one is silent, there is no certainty."""
    facts = (said.internal_date, said.size_bytes)
    return None not in facts and facts == (known.internal_date, known.size_bytes)


def _there(connection: Connection, session: Session, uids: UIDSet) -> UIDSet:
    # By SEARCH: a FETCH may say nothing about a message that is there.
    return found_uids(_done(connection, session, b"UID SEARCH UID %s" % str(uids).encode())) & uids


def _done(connection: Connection, session: Session, command: bytes) -> Answer:
    answer = session.ask(command)
    if answer.status != "OK" and answer.code != "EXPUNGEISSUED":  # some are gone; which, is looked at afterwards
        raise refusal(f"{connection.what}: after_store", session.server.host, answer, "check account.after_store")
    return answer
