"""Actors that share a database, in every order of their commands that can make a difference.

An actor is a function that gets a database; each command on it waits for its turn. `every` lets the actors act again
and again, each time in another order, and leaves out orders that only swap neighbours which do not concern each other:
two reads, or commands on two collections (sleep sets, after Godefroid).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from threading import Semaphore, Thread
from typing import Any

READS = frozenset({"find", "find_one", "count_documents", "command"})
WRITES = frozenset({"insert_many", "bulk_write", "update_one", "update_many", "delete_many"})


@dataclass(frozen=True, slots=True)
class Command:
    """What an actor is about to do."""

    collection: str
    method: str

    def concerns(self, other: Command) -> bool:
        return self.collection == other.collection and not {self.method, other.method} <= READS


Actor = Callable[[Any], object]  # gets a database
Actors = Mapping[str, Actor]
Begin = Callable[[], Any]  # gives a database
Look = Callable[[Any], None]
Ready = Mapping[str, Command]  # whose turn it could be, and what they would do
Choose = Callable[[Ready, int], str]  # whose turn it is at that moment; "" gives up


@dataclass
class Run:
    """One order: the database at its end, who went on at each moment, and which actors ended with an error."""

    database: Any
    order: list[str] = field(default_factory=list)
    errors: dict[str, Exception] = field(default_factory=dict)


def every(begin: Begin, actors: Actors, look: Look) -> Iterator[Run]:
    """Let *actors* act in every order; yield each run when it is over. After each command *look* may look."""
    choices: list[Choice] = []

    def choose(ready: Ready, moment: int) -> str:
        if moment == len(choices):
            choices.append(choices[-1].then(ready) if choices else Choice(ready, {}))
            choices[-1].choose()
        return choices[moment].chosen

    while True:
        if run := _run(begin(), actors, choose, look):
            yield run
        while choices and not choices[-1].choose():
            choices.pop()
        if not choices:
            return


def drawn(begin: Begin, actors: Actors, look: Look, count: int) -> Iterator[Run]:
    """The same in *count* orders that are drawn at random, always the same ones; with 0, in every order."""
    if not count:
        yield from every(begin, actors, look)
    for number in range(count):
        if run := _run(begin(), actors, _turning(Random(number)), look):
            yield run


def mortal(actor: Actor, commands: int) -> Actor:
    """*actor*, which dies when it has done so many commands."""

    def go(database: Stepped) -> None:
        left = iter(range(commands))

        def turn(command: Command) -> None:
            if next(left, None) is None:
                raise Stopped
            database.turn(command)

        actor(Stepped(database.real, turn))

    return go


def stopped(actor: Actor, commands: int) -> Actor:
    """The same, for whoever calls it with a database of its own."""

    def go(database: Any) -> None:
        Running(mortal(actor, commands), database).finish()

    return go


def _run(database: Any, actors: Actors, choose: Choose, look: Look) -> Run | None:
    """Run *actors*; return None when nobody is chosen, since that would only repeat another run."""
    running = {name: Running(actor, database) for name, actor in actors.items()}
    run = Run(database)
    try:
        while ready := {name: each.next for name, each in running.items() if each.next}:
            if not (chosen := choose(ready, len(run.order))):
                return None
            run.order.append(chosen)
            running[chosen].go_on()
            look(database)
    finally:
        for each in running.values():
            each.stop()
    run.errors = {name: each.error for name, each in running.items() if each.error}
    return run


def _turning(draw: Random) -> Choose:
    """Turn from one to the other now and then: doing it all the time finds less."""
    chance, last = draw.choice((0.1, 0.3, 0.6)), ""

    def choose(ready: Ready, moment: int) -> str:
        nonlocal last
        if last not in ready or draw.random() < chance:
            last = draw.choice(sorted(ready))
        return last

    return choose


@dataclass
class Choice:
    """A moment at which somebody has to go on."""

    ready: Ready
    asleep: dict[str, Command]  # who need not go on here: that was tried, or comes to the same as what was
    chosen: str = ""

    def choose(self) -> bool:
        """Choose somebody else; return False when nobody is left."""
        if self.chosen:
            self.asleep[self.chosen] = self.ready[self.chosen]
        self.chosen = next((name for name in self.ready if name not in self.asleep), "")
        return bool(self.chosen)

    def then(self, ready: Ready) -> Choice:
        """The moment after that, at which those are *ready*."""
        done = self.ready[self.chosen]
        return Choice(ready, {name: each for name, each in self.asleep.items() if not each.concerns(done)})


class Stopped(BaseException):
    """Ends an actor where it stands, as a crash would."""


class Running:
    """An actor in a thread of its own, which waits before each command until it is let go on."""

    def __init__(self, actor: Actor, database: Any) -> None:
        self.next: Command | None = None
        self.error: Exception | None = None
        self._go, self._paused, self._ending = Semaphore(0), Semaphore(0), False
        self._thread = Thread(target=self._act, args=(actor, Stepped(database, self._turn)), daemon=True)
        self._thread.start()
        self._paused.acquire()

    def go_on(self) -> None:
        """Do the next command, and whatever comes up to the one after it."""
        self._go.release()
        self._paused.acquire()

    def finish(self) -> None:
        """Let it go on to its end."""
        while self.next:
            self.go_on()
        self._thread.join()

    def stop(self) -> None:
        """End it before its next command."""
        self._ending = True
        if self.next:
            self.go_on()
        self._thread.join()

    def _act(self, actor: Actor, database: Stepped) -> None:
        try:
            actor(database)
        except Stopped:
            pass
        except Exception as error:  # noqa: BLE001 - for whoever looks at the run
            self.error = error
        self.next = None
        self._paused.release()

    def _turn(self, command: Command) -> None:
        self.next = command
        self._paused.release()
        self._go.acquire()
        if self._ending:
            raise Stopped


@dataclass(frozen=True, slots=True)
class Stepped:
    """A database, or a collection of it, whose commands wait for their turn."""

    real: Any
    turn: Callable[[Command], None]

    def __getitem__(self, name: str) -> Stepped:
        return Stepped(self.real[name], self.turn)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.real, name)
        if name not in READS | WRITES:
            return Stepped(found, self.turn) if hasattr(found, "find") else found

        def call(*args: Any, **options: Any) -> Any:
            self.turn(Command(self.real.name, name))
            return found(*args, **options)

        return call
