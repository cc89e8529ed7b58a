"""A mailbox made of files, one message each: what there is to take in where no mail server is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ..message import Arrival, Metadata, Numbers, Place, RawMessage, Removal, Twins, Vanished
from ..raw import OnDisk, pieces
from ..spool import Lane
from ..uidset import UIDSet


class FilesMailbox:
    """Messages numbered in the order of *paths*. Their bytes are taken as they are; nothing is ever written there."""

    def __init__(self, account: str, name: str, paths: Sequence[Path]) -> None:
        self.account, self.name = account, name
        self.numbers = Numbers(uidvalidity=1, uidnext=len(paths) + 1, exists=len(paths))
        self._paths = dict(enumerate(paths, 1))

    def listed(self) -> UIDSet:
        return UIDSet.span(1, len(self._paths))

    def look(self, uids: UIDSet) -> dict[int, Metadata]:
        """Say nothing: a file is what it is."""
        return {}

    def flags(self, uids: UIDSet, since: int | None) -> dict[int, Metadata]:
        """Say nothing: a file has none."""
        return {}

    def search(self, program: str, within: UIDSet | None = None) -> UIDSet:
        """Return every UID: files have neither flags nor an INTERNALDATE to search by."""
        return self.listed() if within is None else self.listed() & within

    def fetch(
        self, uids: UIDSet, lane: Lane, *, epoch: int, since: datetime | None = None, twins: Twins | None = None
    ) -> Iterator[Arrival]:
        for uid in uids:
            place = Place(self.account, self.name, epoch, self.numbers.uidvalidity, uid)
            try:
                yield self._read(place, lane)
            except FileNotFoundError:
                yield Vanished(place)

    def acknowledge(self, uids: UIDSet, action: str) -> None:
        raise NotImplementedError("files are never marked")

    def remove(self, known: Mapping[int, Metadata], action: str, announce: Callable[[UIDSet], None]) -> Removal:
        raise NotImplementedError("files are never deleted")

    def abort(self) -> None:
        """Nothing to do: reading a file ends by itself."""

    def _read(self, place: Place, lane: Lane) -> RawMessage:
        path = self._paths[place.uid]
        facts = path.stat()
        writer = lane.reserve(facts.st_size)
        assert writer is not None
        with OnDisk(path, facts.st_size).open() as raw:
            for piece in pieces(raw, 0, facts.st_size):
                writer.write(piece)
        content, digest = writer.keep()
        date = datetime.fromtimestamp(facts.st_mtime, UTC)
        return RawMessage(place, content, digest, date, via="import", server_size_bytes=facts.st_size)
