"""A process that does one thing after another, as it is told over a pipe."""

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Self

from worker.demo.processes import signals_put_off
from worker.errors import WorkerError

PATIENCE_S = 60.0


class Child:
    """A process of its own. Use it from one thread; a context manager.

    Args:
        name: for errors.
        run: what the process runs; it ends by `serve`.
        args: of `run`, without the pipe, which comes last.
    """

    def __init__(self, name: str, run: Callable[..., None], *args: object) -> None:
        context = multiprocessing.get_context("spawn")  # nothing of this process's memory is in the one that's measured
        self.name = name
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=run, args=(*args, theirs), daemon=True)
        with signals_put_off():
            self.process.start()
        theirs.close()  # so that the pipe breaks when the process does

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self.process.join(PATIENCE_S / 6)
        if self.process.is_alive():
            self.process.kill()
        self.process.join()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid or 0

    def tell(self, order: object) -> None:
        """Tells it what to do next.

        Raises:
            WorkerError: it has ended.
        """
        try:
            self._pipe.send(order)
        except OSError as error:
            raise self._ended() from error

    def answered(self, within_s: float) -> bool:
        """Whether it has answered, or ended, by then."""
        return self._pipe.poll(max(0.0, within_s))

    def answer(self, within_s: float = PATIENCE_S) -> Any:
        """What came of it; the first answer, None, says that it is up.

        Raises:
            WorkerError: it ended, hangs, or says that it can't.
        """
        try:
            if not self.answered(within_s):
                raise WorkerError(f"the {self.name} does not get on with what it was told")
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise self._ended() from error
        if isinstance(answer, WorkerError):
            raise answer
        return answer

    def _ended(self) -> WorkerError:
        return WorkerError(f"the {self.name} has ended: what it said is above")


def serve(pipe: Connection, do: Callable[[Any], object]) -> None:
    """Does what it is told until the other end of the pipe is closed. A `WorkerError` goes there as the answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the bench, which ends this process by its pipe
    answer: object = None
    while True:
        try:
            pipe.send(answer)
            order = pipe.recv()
        except (EOFError, OSError):
            return  # the other end has closed the pipe, or is no more
        try:
            answer = do(order)
        except WorkerError as error:
            answer = error
