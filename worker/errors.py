"""What can go wrong on the line, as names. The command maps each root to an exit code."""

from worker.faults import UNKNOWN, Fault


class WorkerError(Exception):
    """Root of every error that `worker` raises on purpose; its text is one sentence for a person."""


class ResultsUnavailable(WorkerError):
    """Redis can't be reached, or refuses what the line needs of it.

    Args:
        text: one sentence.
        fault: what it is.
        node: host (empty: the same one) and port of the node that has the line, if a cluster said so.
    """

    def __init__(self, text: str, *, fault: Fault = UNKNOWN, node: tuple[str, int] | None = None) -> None:
        super().__init__(text)
        self.fault, self.node = fault, node


class RecipeMissing(WorkerError):
    """A camera names a recipe for which there is no bundle."""


class EngineBroken(WorkerError):
    """The engine fails on one frame after another: a broken GPU must not draw all the work."""


class StageFailed(WorkerError):
    """A thread of the pipeline has ended by an error that nobody foresaw."""


class ResultError(WorkerError):
    """An entry in the result stream can't be read as a verdict."""
