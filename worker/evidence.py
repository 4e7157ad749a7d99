"""Evidence: the pictures of rejected parts, for people to look at. It never holds up or changes a verdict."""

import json
import threading
from collections import Counter, deque
from collections.abc import Iterable
from typing import NamedTuple

import cv2
import structlog

from model.images import Image
from worker.background import step_back
from worker.evidence_folder import EvidenceFolder
from worker.settings import WorkerSettings
from worker.verdict import Reason, Verdict

log = structlog.get_logger("evidence")

REASONS = (Reason.DEFECT, Reason.BAD_FRAME, Reason.WORKER_ERROR)
"""What a picture says something of. A frame that came late looks like any other."""
DROPS = ("queue", "size", "disk", "unforeseen")
"""Why a picture is not kept: too many wait, it is larger than all that may be kept, it can't be written, or an error
that nobody foresaw."""
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


class Evidence:
    """Writes pictures in a thread of its own, at low priority.

    Takes pictures whose verdicts are handed on. What it has no time for is dropped; what is dropped is counted by its
    reason. A disk that is full, or gone, is said once, and each picture tries anew: when there is room again it goes on
    by itself, and says how many it has lost.

    Args:
        folder: where they go; owned by this thread.
        max_frames: that wait at most.
        max_bytes: of their pixels at most; one always fits.

    Attributes:
        kept: pictures, so far.
        dropped: likewise, by reason.
    """

    def __init__(self, folder: EvidenceFolder, *, max_frames: int = QUEUE_FRAMES, max_bytes: int = QUEUE_BYTES) -> None:
        self.kept, self.dropped = 0, Counter(dict.fromkeys(DROPS, 0))
        self._folder, self._max_frames, self._max_bytes = folder, max_frames, max_bytes
        self._waiting: deque[Rejected] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._stop = False
        self._lost = 0  # since writing failed; 0: it works
        self._thread = threading.Thread(target=self._run, name="evidence", daemon=True)

    @classmethod
    def of(cls, settings: WorkerSettings) -> "Evidence | None":
        """What a worker's settings name; None: nothing."""
        if settings.evidence is None:
            return None
        return cls(EvidenceFolder(settings.evidence, settings.evidence_folder_bytes, REASONS))

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    @property
    def bytes(self) -> int:
        """What lies in the folder, as far as this worker knows. Any thread."""
        return self._folder.bytes

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
                self._keep(item)
            except OSError as error:
                self._drop("disk", f"{error.strerror or error}")
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

    def _keep(self, item: Rejected) -> None:
        verdict = item.verdict
        line = json.dumps(verdict.to_json()).encode()
        if not self._folder.keep(verdict.tag.id, verdict.reason, png=_png(item.image), line=line):
            self._drop("size", "it is larger than evidence_folder_bytes")
            return
        if self._lost:
            log.info("pictures of rejected parts are kept again", lost=self._lost)
            self._lost = 0
        self.kept += 1

    def _drop(self, reason: str, why: str) -> None:
        if not self._lost:
            log.warning("pictures of rejected parts can't be kept, the line goes on", reason=reason, error=why)
        self._lost += 1
        self.dropped[reason] += 1


def _png(image: Image) -> bytes:
    stored = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    ok, png = cv2.imencode(".png", stored, (cv2.IMWRITE_PNG_COMPRESSION, 1))
    if not ok:
        raise ValueError("the picture can't be written as PNG")
    return png.tobytes()
