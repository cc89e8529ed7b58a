"""Go through all messages and blobs, or a sample of them, and read each as a whole; stop, and go on from there.

It goes by `_id`, so what is done is known by where it is. Digests are spread evenly, so a sample is a stretch of them:
that needs no look at the others, and is the same one whenever it is asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from pymongo.database import Database

from ..errors import IngestError
from ..store.database import translated
from .wholeness import Collection, Read, Reading, joined, size

Document = dict[str, Any]

PAGE = 500  # documents looked up at a time
BATCH_COUNT = 50  # of one task
BATCH_BYTES = 16 << 20  # of one task, unless one alone is larger
SPACE = 1 << 32  # where digests begin, by their first eight digits
SIZE = {"messages": "size_bytes", "blobs.files": "length"}


@dataclass(frozen=True, slots=True)
class Sample:
    """A part of the whole, beginning at a digest that follows from *seed*."""

    seed: str
    share: float = 1.0  # of the whole
    count: int | None = None  # instead, about so many messages of all accounts together, and so many blobs

    def __str__(self) -> str:
        amount = f"{100 * self.share:g} %" if self.count is None else f"about {self.count:,} messages and blobs"
        return f"{amount}, chosen by the seed {self.seed!r}"


@dataclass(frozen=True, slots=True)
class Stretch:
    """What to read: all between two `_id`s."""

    collection: Collection
    first: str
    end: str  # what comes after the last

    def after(self, id_: str | None) -> Document:
        return {"_id": {"$gt": id_, "$lt": self.end} if id_ else {"$gte": self.first, "$lt": self.end}}


@dataclass(frozen=True, slots=True)
class Position:
    """How far it has come: everything before is done."""

    stretch: int = 0
    after: str | None = None


Submit = Callable[[Reading], "Future[Read]"]


def stretches(database: Database[Document], accounts: Sequence[str], sample: Sample | None) -> list[Stretch]:
    """What there is to read: the messages of *accounts*, and all blobs, since they belong to nobody alone."""
    everything = [Stretch("messages", f"{name}:", f"{name};") for name in accounts] + [Stretch("blobs.files", "", "g")]
    if sample is None:
        return everything
    return [part for whole in everything for part in _part(whole, sample, _share(database, everything, whole, sample))]


def count(database: Database[Document], wanted: Sequence[Stretch], position: Position | None = None) -> int:
    """How many messages and blobs there are to read from *position* on."""
    total = 0
    for number, stretch in enumerate(wanted):
        if position is None or number >= position.stretch:
            after = position.after if position and number == position.stretch else None
            with translated():
                total += database[stretch.collection].count_documents(stretch.after(after))
    return total


@dataclass(frozen=True, slots=True)
class Job:
    """How to read: where, with whose help, how many batches ahead, and until when."""

    database: Database[Document]
    submit: Submit
    ahead: int = 0
    stopped: Callable[[], bool] = lambda: False

    def read(self, wanted: Sequence[Stretch], position: Position) -> Iterator[tuple[Position, Read]]:
        """Read *wanted* from *position* on; yield what came of it, in order, each with the position after it.

        Up to `ahead` + 1 batches are under way at a time; once `stopped`, those are finished, and no more is begun.
        """
        under_way: deque[tuple[Position, Reading, Future[Read]]] = deque()
        for reached, reading in _batches(self.database, wanted, position):
            if self.stopped():
                break
            under_way.append((reached, reading, self.submit(reading)))
            if len(under_way) > self.ahead:
                yield self._finished(*under_way.popleft())
        while under_way:
            yield self._finished(*under_way.popleft())

    def _finished(self, reached: Position, reading: Reading, future: Future[Read]) -> tuple[Position, Read]:
        try:
            return reached, future.result()
        except IngestError:
            raise
        except Exception as error:  # noqa: BLE001 - it lies in one of them, and is told there
            if len(reading.ids) == 1:
                return reached, reading.failed(type(error).__name__)
        alone = [Reading(reading.collection, (id_,)) for id_ in reading.ids]
        return reached, joined(self._finished(reached, each, self.submit(each))[1] for each in alone)


def _batches(
    database: Database[Document], wanted: Sequence[Stretch], position: Position
) -> Iterator[tuple[Position, Reading]]:
    for number, stretch in enumerate(wanted):
        if number < position.stretch:
            continue
        ids, held = list[str](), 0
        for id_, size_bytes in _each(database, stretch, position.after if number == position.stretch else None):
            if ids and (len(ids) == BATCH_COUNT or held + size_bytes > BATCH_BYTES):
                yield Position(number, ids[-1]), Reading(stretch.collection, tuple(ids))
                ids, held = [], 0
            ids.append(id_)
            held += size_bytes
        if ids:
            yield Position(number, ids[-1]), Reading(stretch.collection, tuple(ids))


def _each(database: Database[Document], stretch: Stretch, after: str | None) -> Iterator[tuple[str, int]]:
    """Page by page, since a cursor that is held for hours may be dropped by the server."""
    field = SIZE[stretch.collection]
    while True:
        with translated():
            found = database[stretch.collection].find(stretch.after(after), {field: 1}).sort("_id", 1).limit(PAGE)
            page = [(each["_id"], size(each.get(field))) for each in found]
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1][0]


# --- samples


def _share(database: Database[Document], everything: Sequence[Stretch], whole: Stretch, sample: Sample) -> float:
    if sample.count is None:
        return sample.share
    alike = [stretch for stretch in everything if stretch.collection == whole.collection]
    return min(1.0, sample.count / max(1, count(database, alike)))


def _part(whole: Stretch, sample: Sample, share: float) -> list[Stretch]:
    """The stretch of *whole* that begins at the digest of the seed; behind the last digest it goes on at the first."""
    if share >= 1:
        return [whole]
    start = int(sha256(sample.seed.encode()).hexdigest()[:8], 16)
    end = start + round(share * SPACE)
    spans = [(start, end)] if end <= SPACE else [(start, SPACE), (0, end - SPACE)]
    return [
        Stretch(
            whole.collection, f"{whole.first}{first:08x}", whole.end if last == SPACE else f"{whole.first}{last:08x}"
        )
        for first, last in spans
    ]
