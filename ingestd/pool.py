"""Processes that do tasks, and are replaced when they die, whenever that is.

Each has a pipe of its own, and a thread here that hands it one task at a time. They share nothing: a lock that one of
them held when it was killed would stop all the others. That rules out the pools of the standard library and of pebble,
which a process that is killed between two tasks, or the death of what forks them, breaks for good.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pickle import PicklingError
from queue import SimpleQueue
from threading import Lock, Thread
from time import sleep
from types import TracebackType
from typing import Any, Self

from .errors import StoreUnavailable, Unavailable
from .nursery import Child, Nursery

STARTS = 5  # attempts to start a process
PAUSE = 0.1  # seconds before the next
ENDING = 3.0  # seconds for a process to end by itself when it is needed no more

Do = Callable[[Any], Any]


class Died(Exception):
    """The process died over the task."""

    def __init__(self, exitcode: int | None) -> None:
        super().__init__(exitcode)
        self.exitcode = exitcode


@dataclass(frozen=True, slots=True)
class _Job:
    task: Any
    future: Future[Any] = field(default_factory=Future)


class Pool:
    """*count* processes within the `with` block; *make*, called in each of them, gives what does the tasks there.

    A process that takes more than *seconds* over a task is killed. One that runs out of memory is replaced, and its
    successor does the task again, unless it was the first of that process.
    """

    def __init__(self, count: int, make: Callable[[], Do], seconds: float) -> None:
        self.count = count
        self._nursery = Nursery(partial(_live, make))
        self._hands = [_Hand(self._nursery, seconds) for _ in range(count)]
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = [Thread(target=self._tend, args=(hand,), name="worker", daemon=True) for hand in self._hands]

    def __enter__(self) -> Self:
        with suppress(OSError):  # it is tried again, and told, when there is something to do
            self._nursery.start()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        """Finish what is under way, unless an error ends the block."""
        if error is not None:
            self.give_up()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        self._nursery.stop()

    def submit(self, task: Any) -> Future[Any]:
        """Have *task* done. Safe to use from several threads.

        The future raises what the task raises, `Died`, TimeoutError, or Unavailable when no process could be started;
        and StoreUnavailable after `give_up`.
        """
        job = _Job(task)
        self._jobs.put(job)
        return job.future

    def give_up(self) -> None:
        """End what is under way and do nothing more."""
        for hand in self._hands:
            hand.give_up()

    def _tend(self, hand: _Hand) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                if not job.future.set_running_or_notify_cancel():
                    continue
                try:
                    job.future.set_result(hand.do(job.task))
                except BaseException as error:  # noqa: BLE001 - raised again by whoever asks the future
                    job.future.set_exception(error)
        finally:
            hand.end()


class _Hand:
    """One process after the other, for one thread; `give_up` may be called by another."""

    def __init__(self, nursery: Nursery, seconds: float) -> None:
        self._nursery, self._seconds = nursery, seconds
        self._process: Child | None = None
        self._pipe: Connection | None = None
        self._given_up = False
        self._lock = Lock()

    def do(self, task: Any) -> Any:
        used = self._process is not None
        pipe = self._begun()
        try:
            pipe.send(task)
            done, result = pipe.recv() if pipe.poll(self._seconds) else (False, TimeoutError())
        except (EOFError, OSError):
            done, result = False, Died(self.end())
        if done:
            return result
        if isinstance(result, (TimeoutError, MemoryError)):
            self.end()
        if isinstance(result, MemoryError) and used and not self._given_up:
            return self.do(task)
        raise _stopped() if self._given_up else result

    def give_up(self) -> None:
        """Kill the process over what it does; its writes are there or not, as after any crash. Start no other."""
        with self._lock:
            self._given_up = True
            if self._process:
                self._process.kill()

    def end(self) -> int | None:
        """End the process, if there is one, and return its exit code. It ends by itself when its pipe is closed."""
        with self._lock:
            process, self._process = self._process, None
            pipe, self._pipe = self._pipe, None
        if process is None or pipe is None:
            return None
        pipe.close()
        if process.lives(ENDING):
            process.kill()
        return process.bury()

    def _begun(self) -> Connection:
        """The pipe to a process that lives, as far as can be known."""
        if self._process and not self._process.lives():
            self.end()
        with self._lock:
            if self._given_up:
                raise _stopped()
            if self._pipe is None:
                self._process, self._pipe = self._started()
            return self._pipe

    def _started(self, attempts: int = STARTS) -> tuple[Child, Connection]:
        try:
            return self._nursery.bear()
        except OSError as error:
            if attempts > 1:  # the nursery may just have died
                sleep(PAUSE)
                return self._started(attempts - 1)
            raise Unavailable(f"workers: none can be started now ({type(error).__name__})") from error


def _stopped() -> StoreUnavailable:
    return StoreUnavailable("store: a batch was not stored by the time we had to stop")


def _live(make: Callable[[], Do], pipe: Connection) -> None:
    """The life of a process: do one task after the other, until nobody is there to give any."""
    do: Do | Exception
    try:
        do = make()
    except Exception as error:  # noqa: BLE001 - told over each task
        do = error
    while True:
        try:
            answer = _done(do, pipe.recv())
            try:
                pipe.send(answer)
            except (AttributeError, PicklingError, TypeError) as error:
                pipe.send((False, error))
        except (EOFError, OSError):
            return


def _done(do: Do | Exception, task: Any) -> tuple[bool, Any]:
    if isinstance(do, Exception):
        return False, do
    try:
        return True, do(task)
    except BaseException as error:  # noqa: BLE001 - raised again by whoever gave the task
        return False, error
