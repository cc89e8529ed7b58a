"""Parse and write in worker processes, so that a message that hangs or kills its parser costs only itself.

A worker does tasks. The usual one takes a batch, parses it, writes it, and returns receipts; when it dies or fails for
a reason that lies in the messages, the batch is tried again message by message, and what fails alone is stored raw,
with `parse.status: "failed"`.
A watchdog (SIGALRM, which ends even a loop in C) limits the parsing of one message, and RLIMIT_DATA the memory.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, Protocol, TypeVar

from pymongo.database import Database

from .budget import held
from .errors import IngestError, Unavailable
from .message import Arrival, Message, RawMessage, Receipt
from .mime.parse import parse, unparsed
from .pool import Died, Pool
from .raw import Raw
from .steps import step
from .store import messages, originals
from .store.database import StoreSettings, connected
from .store.messages import Parse, Terms

PARSE_SECONDS = 30  # for one message
BATCH_SECONDS = 900.0  # for one batch, store outages and all; a worker that takes longer is stopped, not slow

Batches = Iterable[list[Arrival]]
Stored = tuple[list[Arrival], list[Receipt]]


Document = dict[str, Any]
Step = Callable[[str], None]
T = TypeVar("T")
Done = TypeVar("Done", covariant=True)


class Task(Protocol[Done]):
    """What a worker does, with a connection of its own and a parser that is watched. Can be pickled, and its result."""

    def __call__(self, database: Database[Document], parse: Parse, step: Step) -> Done: ...


@dataclass(frozen=True, slots=True)
class Job:
    """The task of storing a batch."""

    batch: tuple[RawMessage, ...]
    terms: Terms
    give_up: str | None = None  # why these messages are not to be parsed

    def __call__(self, database: Database[Document], parse: Parse, step: Step) -> list[Receipt]:
        read = parse if self.give_up is None else partial(unparsed, reason=self.give_up)
        return messages.write(database, self.batch, read, self.terms, step)


@dataclass(frozen=True, slots=True)
class ReadBack:
    """The task of finding out which messages, by `_id`, can be had back with their digests."""

    digests: Mapping[str, str]

    def __call__(self, database: Database[Document], parse: Parse, step: Step) -> set[str]:
        return originals.proven(database, self.digests)


class Workers(Protocol):
    """A place to send tasks to."""

    @property
    def count(self) -> int: ...

    def submit(self, task: Task[T]) -> Future[T]: ...

    def give_up(self) -> None:
        """End what is under way and do nothing more; whoever waits for it gets StoreUnavailable."""


@dataclass(frozen=True, slots=True)
class Sink:
    """Stores the batches of one mailbox with the help of *workers*."""

    workers: Workers
    terms: Terms

    def store(self, batches: Batches) -> Iterator[Stored]:
        """Yield each batch, in order, once it is stored; one more than there are workers is under way at a time.

        What *batches* fails with is raised after all that it gave: attempts that failed must count, or a mailbox that
        fails again and again never gets beyond them.
        """
        under_way: deque[tuple[list[Arrival], Future[list[Receipt]]]] = deque()
        failure: Exception | None = None
        for batch in _given(batches):
            if isinstance(batch, Exception):
                failure = batch
                break
            if batch:
                under_way.append((batch, self.workers.submit(Job(_messages(batch), self.terms))))
            if under_way and (not batch or len(under_way) > self.workers.count):
                yield self._finished(*under_way.popleft())
        while under_way:
            yield self._finished(*under_way.popleft())
        if failure:
            raise failure

    def proven(self, digests: Mapping[str, str]) -> set[str]:
        """Return which messages, by `_id`, can be had back with their SHA-256 in *digests*, byte for byte."""
        count = max(self.workers.count, 1)
        parts = [dict(list(digests.items())[start::count]) for start in range(min(count, len(digests)))]
        found = [self.workers.submit(ReadBack(part)) for part in parts]
        return set[str]().union(*map(self._proven, found))

    def _proven(self, future: Future[set[str]]) -> set[str]:
        try:
            return future.result()
        except IngestError:
            raise
        except Exception:  # noqa: BLE001 - a worker that died over them has proven none of them
            return set()

    def _finished(self, batch: list[Arrival], future: Future[list[Receipt]]) -> Stored:
        try:
            return batch, future.result()
        except IngestError:
            raise
        except Exception:  # noqa: BLE001 - it lies in one of the messages: each is tried alone, and told there
            return batch, list(chain.from_iterable(map(self._alone, _messages(batch))))

    def _alone(self, raw: RawMessage) -> list[Receipt]:
        job = Job((raw,), self.terms)
        try:
            return self.workers.submit(job).result()
        except IngestError:
            raise
        except Exception as error:  # noqa: BLE001 - kept in the document, and the mailbox goes on
            return self._unparsed(replace(job, give_up=_reason(error)))

    def _unparsed(self, job: Job) -> list[Receipt]:
        try:
            return self.workers.submit(job).result()
        except IngestError:
            raise
        except Exception as error:
            raise Unavailable(f"workers: not even the raw message could be stored: {_reason(error)}") from error


def _given(batches: Batches) -> Iterator[list[Arrival] | Exception]:
    """Yield *batches*, and last what they failed with, if they did."""
    try:
        yield from batches
    except Exception as error:  # noqa: BLE001 - raised again
        yield error


@contextmanager
def started(count: int, settings: StoreSettings, memory_bytes: int, parse: Parse = parse) -> Iterator[Workers]:
    """Give *count* worker processes until the block ends; with 0, everything happens in this one, unwatched.

    Best called before there is any thread: then they need no imports of their own. A worker may use *memory_bytes* for
    its data; *parse* must be a function of a module, since a worker may import it.
    """
    with ExitStack() as stack:
        if not count:
            yield InProcess(_Worker(stack, settings, parse))
            return
        yield stack.enter_context(Pool(count, partial(_worker, settings, memory_bytes, parse), BATCH_SECONDS))


class InProcess:
    """No processes: a task is done when it is submitted."""

    count = 0

    def __init__(self, do: Callable[[Any], Any]) -> None:
        self._do = do

    def give_up(self) -> None:
        """Nothing is ever under way here."""

    def submit(self, task: Task[T]) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(self._do(task))
        except Exception as error:  # noqa: BLE001 - raised again by whoever asks the future
            future.set_exception(error)
        return future


class _Worker:
    """Does tasks with a connection of its own."""

    def __init__(self, stack: ExitStack, settings: StoreSettings, parse: Parse) -> None:
        self._database = stack.enter_context(connected(settings))
        self._stack, self._parse = stack, parse  # the connection ends with the stack

    def __call__(self, task: Task[T]) -> T:
        return task(self._database, self._parse, step)


def _worker(settings: StoreSettings, memory_bytes: int, parse: Parse) -> _Worker:
    """Make this process a worker."""
    stack = ExitStack()
    stack.enter_context(held(memory_bytes))
    return _Worker(stack, settings, partial(_watched, parse))


def _watched(parse: Parse, raw: Raw) -> Message:
    """Parse *raw*, or let this process die of SIGALRM."""
    signal.alarm(PARSE_SECONDS)
    try:
        return parse(raw)
    finally:
        signal.alarm(0)


def _messages(batch: Sequence[Arrival]) -> tuple[RawMessage, ...]:
    return tuple(arrival for arrival in batch if isinstance(arrival, RawMessage))


def _reason(error: Exception) -> str:
    if isinstance(error, Died):
        return f"the parser died (exit code {error.exitcode})"
    if isinstance(error, TimeoutError):
        return f"not done in {BATCH_SECONDS:.0f} s"
    return f"{type(error).__name__} while parsing or writing"
