"""Shadow mode: another bundle judges the frames that the line has judged already, and no gate ever hears of it."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from model.errors import ContractError
from model.images import Image
from worker.background import step_back
from worker.batcher import ReceivedFrame
from worker.errors import ResultsUnavailable
from worker.judge import judge, refusal
from worker.preparing import PreparedFrame
from worker.recipes import EngineBuilder, Recipe
from worker.settings import WorkerSettings
from worker.sink import Judged, ResultSink
from worker.verdict import Reason, Verdict

log = structlog.get_logger("shadow")

Waiting = tuple[ReceivedFrame, Image]


@dataclass(frozen=True)
class ShadowStatus:
    """How one recipe's shadow stands.

    Attributes:
        label: of its bundle; empty until that is read.
        judged: frames whose shadow verdict is stored.
        dropped: frames that it had no time or no room for.
        unstored: verdicts that Redis did not take; they are not tried again.
        off: why it judges no more; None if it does.
    """

    label: str = ""
    judged: int = 0
    dropped: int = 0
    unstored: int = 0
    off: str | None = None


class Shadow:
    """Judges frames once more, with a thread, engines and a connection of its own.

    Takes frames whose verdicts are handed on, one at a time, at low priority. What it has no
    time for is dropped and counted. Whatever fails here switches off the bundle that it failed with, and nothing else.

    Args:
        bundles: by recipe.
        builder: makes their engines, in this thread.
        sink: of the shadow's stream; owned by this thread.
        worker: name.
        max_frames: that wait at most.
        max_bytes: of their pixels at most.
    """

    def __init__(
        self,
        bundles: dict[str, Path],
        builder: EngineBuilder,
        sink: ResultSink,
        worker: str,
        *,
        max_frames: int,
        max_bytes: int,
    ) -> None:
        self._bundles, self._builder, self._sink, self._worker = bundles, builder, sink, worker
        self._max_frames, self._max_bytes = max_frames, max_bytes
        self._recipes: dict[str, Recipe] = {}
        self._status = {name: ShadowStatus() for name in bundles}
        self._backlog: deque[Waiting] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._stop = self._away = self._knows_clock = False
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    @classmethod
    def of(cls, settings: WorkerSettings) -> "Shadow":
        """The shadow that a worker's settings name: two batches wait at most."""
        return cls(
            settings.shadow,
            EngineBuilder(settings.device, settings.engine, max_batch=1),
            ResultSink.of(settings, shadow=True),
            settings.name,
            max_frames=2 * settings.max_batch,
            max_bytes=settings.credit_bytes,
        )

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def status(self) -> dict[str, ShadowStatus]:
        """How each shadow stands, by recipe. Any thread."""
        with self._changed:
            return dict(self._status)

    def offer(self, frames: Sequence[PreparedFrame]) -> None:
        """Frames whose verdicts are handed on. Never waits for anything but a moment's lock. Any thread."""
        mine = [frame for frame in frames if frame.recipe in self._bundles]
        if not mine:
            return
        with self._changed:
            for frame in mine:
                if self._status[frame.recipe].off is None:
                    self._put(frame)
            self._changed.notify()

    def close(self) -> None:
        """Ends the thread; what still waits is given up. What it is at is finished first."""
        with self._changed:
            self._stop = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._sink.close()

    def _put(self, frame: PreparedFrame) -> None:
        image = frame.image
        room = not self._backlog or self._bytes + image.nbytes <= self._max_bytes
        if not room or len(self._backlog) >= self._max_frames:
            self._count(frame.recipe, dropped=1)
            return
        # as it was received: without the bundle that judged it, which may be exchanged meanwhile
        received = ReceivedFrame(frame.header, b"", frame.recipe, frame.received, frame.wire_us)
        self._backlog.append((received, image))
        self._bytes += image.nbytes

    def _count(self, recipe: str, *, judged: int = 0, dropped: int = 0, unstored: int = 0) -> None:
        was = self._status[recipe]
        self._status[recipe] = replace(
            was, judged=was.judged + judged, dropped=was.dropped + dropped, unstored=was.unstored + unstored
        )

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        step_back()
        for name, path in self._bundles.items():
            self._load(name, path)
        while (waiting := self._next()) is not None:
            frame, image = waiting
            if frame.recipe in self._recipes:
                self._turn(frame, image)
            else:  # it waited when its bundle was switched off
                with self._changed:
                    self._count(frame.recipe, dropped=1)

    def _next(self) -> Waiting | None:
        with self._changed:
            self._changed.wait_for(lambda: self._backlog or self._stop)
            if self._stop:
                return None
            frame, image = self._backlog.popleft()
            self._bytes -= image.nbytes
            return frame, image

    def _load(self, name: str, path: Path) -> None:
        try:
            recipe = self._builder.prepare(path, self._recipes.values())
        except Exception as error:  # whatever is wrong with it, the line goes on
            self._switch_off(name, error)
            return
        self._recipes[name] = recipe
        with self._changed:
            self._status[name] = replace(self._status[name], label=recipe.label)

    def _turn(self, frame: ReceivedFrame, image: Image) -> None:
        try:
            verdict = self._judge(frame, image, self._recipes[frame.recipe])
        except Exception as error:  # likewise
            self._switch_off(frame.recipe, error)
            return
        stored = self._store(verdict)
        with self._changed:
            self._count(frame.recipe, judged=int(stored), unstored=int(not stored))

    def _judge(self, frame: ReceivedFrame, image: Image, recipe: Recipe) -> Verdict:
        started = time.monotonic()
        try:
            recipe.manifest.contract.check(image)
        except ContractError as error:
            return refusal(
                frame.header,
                Reason.BAD_FRAME,
                note=str(error),
                worker=self._worker,
                inspected_ns=time.time_ns(),
                latency_us={},
                recipe=frame.recipe,
            )
        (inspection,) = recipe.engine.inspect([image])
        return judge(
            frame,
            inspection,
            recipe.manifest.calibration,
            model=recipe.label,
            worker=self._worker,
            late=False,
            valid_until_us=None,  # it opens nothing
            inspected_ns=time.time_ns(),
            latency_us={"infer": int((time.monotonic() - started) * 1e6)},
        )

    def _store(self, verdict: Verdict) -> bool:
        """Whether it is stored now, or was before: a frame that was judged twice has one shadow verdict, too."""
        try:
            if not self._knows_clock:
                self._sink.sample_clock()
                self._knows_clock = True
            word = self._sink.store([Judged(verdict, time.monotonic())])[0]
        except ResultsUnavailable as error:
            word = f"error: {error}"
        away = word.startswith("error")
        if away and not self._away:
            log.warning("shadow verdicts can't be stored and are lost until they can", error=word)
        self._away = away
        return not away

    def _switch_off(self, name: str, error: Exception) -> None:
        why = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no word on why'}"
        log.error("shadow is switched off, the line goes on", recipe=name, bundle=str(self._bundles[name]), error=why)
        self._recipes.pop(name, None)
        with self._changed:
            self._status[name] = replace(self._status[name], off=why)
