"""How the memory that all processes may take together is divided among them.

The system holds a process to its share (RLIMIT_DATA): all that it allocates counts, and the stacks of its threads,
touched or not. What asks for more fails there and then. The values are measured, with some room; docs/operations.md has
the figures.
"""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from .units import size_text

MIB = 1 << 20
PROGRAMS = 84 * MIB  # what is mapped from files, and the nursery: no mail makes them grow
MAIN = 128 * MIB  # of the main process before the first message, and room for what mail servers answer
STACK = 2 * MIB  # of a thread; with the usual 8, those that watch a replica set would take more than a message does
THREADS = 32  # of the main process, beside one for each worker
BATCH = 5 * MIB  # on its way to a worker
LANE = MIB  # of a mailbox that is read ahead although the spool is full: each may hold one message in memory
VISITS = 4  # accounts that are visited at a time
ACCOUNT = MIB // 4  # a connection that waits for news, and what is known of its mailboxes
LEAST = 104 * MIB  # of a worker, so that any single message can be parsed
OUT_OF_MEMORY = b"ingestd: out of memory; raise daemon.memory_limit\n"
FAILED = 1  # the exit code


class TooLittle(ValueError):
    """There is no room to work. The text says how much there has to be."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes: of the main process, and of each worker."""

    main: int
    worker: int

    @classmethod
    def of(cls, limit: int, workers: int, spool: int, accounts: int, beside: Sequence[int] = ()) -> Budget:
        """Divide *limit*: the main process gets what it needs to hold *spool* bytes of mail, workers get the rest.

        *beside* are the connections of each account that fetch beside its first one. Each has a thread that serves
        mailboxes, and one that reads ahead.
        Without workers there is only the main process. Raises `TooLittle`.
        """
        connections = accounts + sum(beside)
        others = sum(sorted(beside)[-VISITS:])
        threads = THREADS + 2 * others
        main = MAIN + threads * STACK + workers * (STACK + BATCH) + spool + others * LANE + connections * ACCOUNT
        needed = PROGRAMS + main + max(workers, 1) * LEAST
        if limit < needed:
            what = f"workers = {workers}, {size_text(spool)} of spool_memory and {accounts:,} account(s)"
            least = f"{-(-needed // MIB)}MiB"
            raise TooLittle(f'{size_text(limit)} is too little for {what}; write "{least}" or more, or fewer workers')
        if not workers:
            return cls(limit - PROGRAMS, 0)
        return cls(main, (limit - PROGRAMS - main) // workers)


@contextmanager
def held(share: int) -> Iterator[None]:
    """Hold this process to *share* bytes during the block, and for good what it starts there, unless that is released.

    Whoever asks for more gets a MemoryError. When a thread ends by one, the process ends at once, as if it was killed:
    what that thread was for would never be done again. Threads begin within the block, and have smaller stacks.
    """
    stack, hook, limits = threading.stack_size(STACK), threading.excepthook, resource.getrlimit(resource.RLIMIT_DATA)
    threading.excepthook = _ended
    resource.setrlimit(resource.RLIMIT_DATA, (share, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, limits)
        threading.excepthook = hook
        threading.stack_size(stack)


def release(pid: int = 0) -> None:
    """Let the process *pid*, another program that a process of ours has become or started, have what it likes."""
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    with suppress(OSError):  # it is another user's by now, as sudo is: then it has to do with what we have
        resource.prlimit(pid, resource.RLIMIT_DATA, (most, most))


def _ended(thread: threading.ExceptHookArgs) -> None:
    if issubclass(thread.exc_type, MemoryError):
        os.write(2, OUT_OF_MEMORY)  # which needs none
        os._exit(FAILED)
    threading.__excepthook__(thread)
