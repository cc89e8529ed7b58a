"""How the memory that all processes may take together is divided among them.

The system holds a process to its share (RLIMIT_DATA): all that it allocates counts, and the stacks of its threads,
touched or not. What asks for more fails there and then. The values are measured, with some room; docs/operations.md has
the figures.
"""

from __future__ import annotations

import resource
from collections.abc import Sequence
from dataclasses import dataclass
from threading import stack_size

from .units import size_text

MIB = 1 << 20
PROGRAMS = 72 * MIB  # what is mapped from files, the fork server and its companion: no mail makes them grow
MAIN = 96 * MIB  # of the main process before the first message, and room for what mail servers answer
STACK = 2 * MIB  # of a thread; with the usual 8, those that wait for a replica set would take more than a message does
THREADS = 32  # of the main process, beside one for each worker
BATCH = 5 * MIB  # on its way to a worker
VISITS = 4  # accounts that are visited at a time
ACCOUNT = MIB // 4  # a connection that waits for news, and what is known of its mailboxes
LEAST = 80 * MIB  # of a worker, so that any single message can be parsed


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

        *beside* are the connections of each account that fetch beside its first one, all on threads of their own.
        Without workers there is only the main process. Raises `TooLittle`.
        """
        connections = accounts + sum(beside)
        threads = THREADS + sum(others + 1 for others in sorted(beside)[-VISITS:] if others)
        main = MAIN + threads * STACK + workers * (STACK + BATCH) + spool + connections * ACCOUNT
        needed = PROGRAMS + main + max(workers, 1) * LEAST
        if limit < needed:
            what = f"{workers} workers, {size_text(spool)} of spool_memory and {accounts:,} accounts"
            least = f"{-(-needed // MIB)}MiB"
            raise TooLittle(f'{size_text(limit)} is too little for {what}; write "{least}" or more, or fewer workers')
        if not workers:
            return cls(limit - PROGRAMS, 0)
        return cls(main, (limit - PROGRAMS - main) // workers)


def hold(share: int) -> None:
    """Hold this process to *share* bytes, for good. Threads that it starts from now on have smaller stacks."""
    stack_size(STACK)
    resource.setrlimit(resource.RLIMIT_DATA, (share, share))
