"""From live sockets to a recorder, until it is told to stop. Best effort: what was missed is counted."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from producers.recording.recorder import Recordable, Recorder
from producers.watching import Watcher

log = structlog.get_logger("recording")

TICK_MS = 50
LAST_CALL_S = 1.0
TELL_S = 60.0


@dataclass(frozen=True)
class Heard:
    """What came of it.

    Attributes:
        frames: that came.
        missed: that were published, and did not come.
    """

    frames: int
    missed: int


def listen(
    watcher: Watcher, recorder: Recorder, *, until: Callable[[int], bool], clock: Callable[[], float] = time.monotonic
) -> Heard:
    """Records what a watcher sees.

    Args:
        watcher: of whole frames.
        recorder: gets them.
        until: told how many frames there are; whether to end. What is on its way is still recorded.
        clock: monotonic, seconds.
    """
    frames, told = 0, clock()
    while not until(frames):
        frames += _take(watcher, recorder)
        if clock() - told >= TELL_S:
            told = clock()
            log.info("recording", frames=frames, missed=sum(watcher.missed.values()), **recorder.counts())
    ends = clock() + LAST_CALL_S
    while clock() < ends and (more := _take(watcher, recorder)):  # what is on its way
        frames += more
    return Heard(frames, sum(watcher.missed.values()))


def _take(watcher: Watcher, recorder: Recorder) -> int:
    """Hands on what has come. Returns how many frames."""
    seen = watcher.receive(TICK_MS)
    for frame in seen:
        recorder.offer(Recordable(frame.header, frame.text, frame.payload))
    return len(seen)
