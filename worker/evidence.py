"""Evidence: the pictures of rejected parts, for people to look at. It never holds up or changes a verdict."""

import json
import threading
from collections import Counter, deque
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import cv2
import structlog

from model.images import Image
from producers.frame import FrameId
from worker.background import step_back
from worker.errors import ResultsUnavailable
from worker.evidence_folder import EvidenceFolder
from worker.evidence_stream import EvidenceStream
from worker.settings import WorkerSettings
from worker.verdict import Reason, Verdict

log = structlog.get_logger("evidence")

REASONS = (Reason.DEFECT, Reason.BAD_FRAME, Reason.WORKER_ERROR)
"""What a picture says something of. A frame that came late looks like any other."""
DROPS = ("queue", "size", "disk", "redis", "unforeseen")
"""Why a picture is not kept: too many wait, it is larger than all that may be kept, it can't be written to the disk or
to Redis, or an error that nobody foresaw."""
QUEUE_FRAMES = 64
QUEUE_BYTES = 128 * 1024 * 1024
PATIENCE_S = 5.0


class Rejected(NamedTuple):
    """One picture that waits.

    Attributes:
        image: `(H, W)` grey or `(H, W, 3)` RGB, uint8 or uint16.
        verdict: what was said of it.
    """

    image: Image
    verdict: Verdict


class Place(Protocol):
    """Where pictures go: a folder, or Redis. Its `fault` is what it counts as when it fails."""

    fault: str

    def keep(self, frame: FrameId, reason: Reason, *, png: bytes, line: bytes) -> bool:
        """See `EvidenceFolder.keep`."""

    def close(self) -> None:
        """Ends whatever is open."""


class Evidence:
    """Writes pictures in a thread of its own, at low priority.

    Takes pictures whose verdicts are handed on. What it has no time for is dropped; what is dropped is counted by its
    reason. A disk that is full, or a Redis that is away, is said once, and each picture tries anew: when there is room
    again it goes on by itself, and says how many it has lost.

    Args:
        places: where each of them goes; owned by this thread.
        max_frames: that wait at most.
        max_bytes: of their pixels at most; one always fits.

    Attributes:
        kept: pictures, so far, one for each place that has it.
        dropped: likewise, by reason.
    """

    def __init__(self, *places: Place, max_frames: int = QUEUE_FRAMES, max_bytes: int = QUEUE_BYTES) -> None:
        self.kept, self.dropped = 0, Counter(dict.fromkeys(DROPS, 0))
        self._places, self._max_frames, self._max_bytes = places, max_frames, max_bytes
        self._waiting: deque[Rejected] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._stop = False
        self._lost: Counter[str] = Counter()  # by fault, since writing failed; 0: it works
        self._thread = threading.Thread(target=self._run, name="evidence", daemon=True)

    @classmethod
    def of(cls, settings: WorkerSettings) -> "Evidence | None":
        """What a worker's settings name; None: nothing."""
        places: list[Place] = []
        if settings.evidence is not None:
            places.append(EvidenceFolder(settings.evidence, settings.evidence_folder_bytes, REASONS))
        if settings.evidence_max_bytes:
            places.append(EvidenceStream.of(settings))
        return cls(*places) if places else None

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def offer(self, judged: Iterable[tuple[Image, Verdict]]) -> None:
        """Pictures whose verdicts are handed on; those of rejects are kept. Never waits but for a moment's lock."""
        rejected = [Rejected(image, verdict) for image, verdict in judged if verdict.reason in REASONS]
        if not rejected:
            return
        with self._changed:
            for item in rejected:
                self._put(item)
            self._changed.notify()

    def close(self) -> None:
        """Writes what waits, and ends the thread; a disk that hangs is left to itself."""
        with self._changed:
            self._stop = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(PATIENCE_S)
        for place in self._places:
            place.close()

    def _put(self, item: Rejected) -> None:
        size = item.image.nbytes
        if len(self._waiting) >= self._max_frames or (self._waiting and self._bytes + size > self._max_bytes):
            self.dropped["queue"] += 1
            return
        self._waiting.append(item)
        self._bytes += size

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        step_back()
        while (item := self._next()) is not None:
            try:
                png, line = _png(item.image), json.dumps(item.verdict.to_json()).encode()
                for place in self._places:
                    self._keep(place, item.verdict, png=png, line=line)
            except Exception as error:  # whatever it is, it must not end the thread
                self._drop("unforeseen", f"{type(error).__name__}: {error}")

    def _next(self) -> Rejected | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stop)
            if not self._waiting:
                return None
            item = self._waiting.popleft()
            self._bytes -= item.image.nbytes
            return item

    def _keep(self, place: Place, verdict: Verdict, *, png: bytes, line: bytes) -> None:
        try:
            fits = place.keep(verdict.tag.id, verdict.reason, png=png, line=line)
        except (OSError, ResultsUnavailable) as error:
            self._drop(place.fault, getattr(error, "strerror", None) or str(error))
            return
        if not fits:
            self._drop("size", "it is larger than all that may be kept")
            return
        if lost := self._lost.pop(place.fault, 0):
            log.info("pictures of rejected parts are kept again", reason=place.fault, lost=lost)
        self.kept += 1

    def _drop(self, reason: str, why: str) -> None:
        if not self._lost[reason]:
            log.warning("pictures of rejected parts can't be kept, the line goes on", reason=reason, error=why)
        self._lost[reason] += 1
        self.dropped[reason] += 1


def _png(image: Image) -> bytes:
    stored = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    ok, png = cv2.imencode(".png", stored, (cv2.IMWRITE_PNG_COMPRESSION, 1))
    if not ok:
        raise ValueError("the picture can't be written as PNG")
    return png.tobytes()
