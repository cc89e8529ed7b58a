"""What our commands may look like, so that they hold on a real MongoDB whatever server the tests run on."""

from __future__ import annotations

from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent


class CommandRules(CommandListener):
    """Watches the commands of every client it is given to, and remembers those that leave the rules."""

    def __init__(self) -> None:
        self.violations: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        """Check one command as it is sent."""

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """The answer is not ours to judge."""

    def failed(self, event: CommandFailedEvent) -> None:
        """The answer is not ours to judge."""

    def check(self) -> None:
        """Raise AssertionError when a command has left the rules."""
        assert not self.violations, "commands left the rules:\n" + "\n".join(self.violations)
