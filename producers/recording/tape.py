"""What a publisher's frames go onto: a recorder, or nothing. Needs no library."""

from typing import Protocol

from producers.dispatch import Taken


class Tape(Protocol):
    """Takes every frame that a publisher takes."""

    def published(self, item: Taken) -> None:
        """Takes one; never waits."""

    def counts(self) -> dict[str, int]:
        """So far, by name; empty where nothing is recorded. Any thread."""


class NoTape:
    """Records nothing."""

    def published(self, item: Taken) -> None:
        """Lets it pass."""

    def counts(self) -> dict[str, int]:
        """Nothing to count."""
        return {}
