"""A step of the pipeline in a thread of its own."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

PATIENCE_S = 5.0


class Stage(Generic[T]):
    """Does one thing to whatever it is handed, in order. What is handed to it is bounded by whoever hands it on.

    Args:
        name: of the thread.
        work: what it does. If it raises, the stage is over: `failure` says why, and nothing more is done.
    """

    def __init__(self, name: str, work: Callable[[T], None]) -> None:
        self.failure: Exception | None = None
        self._work = work
        self._items: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def put(self, item: T) -> None:
        """Hands it something. Any thread; never blocks."""
        self._items.put(item)

    @property
    def waiting(self) -> int:
        """What it was handed and has not begun. Any thread."""
        return self._items.qsize()

    def stuck_s(self, now: float) -> float:
        """For how long it has been at one thing, at `now` (monotonic seconds). Any thread."""
        since = self._busy_since
        return 0.0 if since is None else now - since

    def close(self) -> None:
        """Ends the thread once it has done what it was handed; one that hangs is left behind."""
        self._items.put(None)
        if self._thread.ident is not None:
            self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        while (item := self._items.get()) is not None:
            self._busy_since = time.monotonic()
            try:
                self._work(item)
            except Exception as error:  # the work loop raises it: a worker with a broken part leaves
                self.failure = error
                return
            self._busy_since = None
            item = None  # while it waits for the next it must not be the last to hold a frame, and a bundle with it
