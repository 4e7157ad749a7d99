"""The worker: intake, prepare, batcher, engine, judge and sink, in one process.

Five threads, each the only owner of what it touches: the intake's sockets, decoding, here the work loop with the
batcher and the engine, judging, and the sink's connection. While one batch is inferred the next is decoded and the last
is stored. What passes between them is bounded by credit and `hold_verdicts`.
"""

import logging
import queue
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType

import structlog

from model.engine import Engine, Inspection, infer
from model.images import Image
from model.processors import kept_apart, start_pool
from producers.frame import FrameId
from worker.batcher import Batcher, ReceivedFrame
from worker.concluding import Concluder, InferredBatch
from worker.errors import EngineBroken, StageFailed
from worker.evidence import Evidence
from worker.intake import Intake
from worker.link import GoneFrame, LinkSettings
from worker.observed import Observed
from worker.pace import Pace
from worker.preparing import PreparedFrame, Unfit, prepare
from worker.recipes import EngineBuilder, Recipe, load_recipes
from worker.settings import WorkerSettings
from worker.shadow import Shadow
from worker.shelf import Shelf
from worker.sink import Judged, ResultSink
from worker.stage import Stage
from worker.verdict import Reason
from worker.watches import DriftWatches
from worker.writer import ResultWriter, Stored

log = structlog.get_logger("worker")

IDLE_S = 0.05
TOGETHER_S = 0.0005  # of preparing, before what is ready is handed on
ENGINE_STRIKES = 2  # failures in a row on different frames: it is the engine, not the frame

Infer = Callable[[Sequence[tuple[Engine, Image]]], list[Inspection]]


class Pipeline:
    """One worker. Build it with `open`; a context manager.

    Args:
        settings: of the worker.
        recipes: what it judges with, by name.
        sink: where its verdicts go.
        infer: how a batch is inspected: `model.engine.infer`. Benches of the line around the engine hand in their own.
        shelf: where newer recipes come from; None: there are none.
        shadow: told of every frame that was judged; None: nobody is.
        evidence: given the pictures of rejected parts; None: nobody is.
        pool: ids of the threads that share a batch's arithmetic with the work loop, if they are known.

    Attributes:
        recipes: what frames are judged with that come from now on. Changed by the work loop alone, between two batches.
        on_beat: called by the work loop at each beat, and by nobody else: it is not called any more if that loop hangs.
        observed: what is counted of verdicts.
        drift: compares scores with those of calibration.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        recipes: dict[str, Recipe],
        sink: ResultSink,
        *,
        infer: Infer = infer,
        shelf: Shelf | None = None,
        shadow: Shadow | None = None,
        evidence: Evidence | None = None,
        pool: Sequence[int] = (),
    ) -> None:
        self.settings = settings
        self.recipes = recipes
        self.shelf, self.shadow, self.evidence = shelf, shadow, evidence
        self.sink = sink
        self._pool = pool
        self.on_beat: Callable[[], None] = lambda: None
        self.observed = Observed(frozenset(recipes))
        self.drift = DriftWatches(settings.cameras, recipes)
        self._infer_batch = self.observed.counting(infer)
        self._log = log.bind()
        self._pace = Pace()
        self._batcher: Batcher[PreparedFrame] = Batcher(
            settings.max_batch, lambda frame: frame.bundle.engine.trunk, self._cost_s
        )
        # Not SimpleQueue: a signal near the end of its timeout makes it wait for ever (CPython 3.11), deaf to SIGTERM.
        self._ready: queue.Queue[list[PreparedFrame]] = queue.Queue()
        self._strikes: set[FrameId] = set()
        self._refused: deque[Judged] = deque()  # at overload, and not handed on yet
        self._concluder = Concluder(settings.name, sink)
        self._prepare = Stage("prepare", self._take_in)
        self._judge = Stage("judge", self._conclude)
        self.writer = ResultWriter(sink, settings.name, limit=settings.hold_verdicts, stored=self._on_stored)
        longest_s = self._longest_batch_s()
        self._stuck_s = max(5.0, 3 * longest_s)
        link = LinkSettings(
            worker=settings.name,
            incarnation=str(uuid.uuid4()),
            recipes=tuple(recipes),
            max_frame_bytes=settings.max_frame_bytes,
            longest_batch_ms=longest_s * 1000,
            ping_s=settings.ping_s,
            key=settings.key_pair(),
            credit_bytes=settings.credit_bytes,
            hold_frames=settings.hold_verdicts,
        )
        self.intake = Intake(
            settings.cameras,
            link,
            credit=2 * settings.max_batch,
            deliver=self._prepare.put,
            paused=lambda: self.writer.full,
            least_s=self._least_s,
            beat_timeout_s=self._stuck_s,
        )

    @classmethod
    def open(cls, settings: WorkerSettings) -> "Pipeline":
        """Connects, loads, warms; raises before the worker is ready, never after."""
        settings.key_pair()  # keys that are no good are told before anything is connected or loaded
        sink = ResultSink.of(settings)
        sink.sample_clock()
        pool = start_pool()  # this thread's own: the work loop is to run in it, too
        needed = {camera.recipe for camera in settings.cameras.values()}
        recipes = load_recipes(
            settings.recipes, needed, device=settings.device, engine=settings.engine, max_batch=settings.max_batch
        )
        shelf = Shelf(
            settings.recipes, recipes, EngineBuilder(settings.device, settings.engine, max_batch=settings.max_batch)
        )
        shadow = Shadow.of(settings) if settings.shadow else None
        on_threads = any(recipe.runs_on_torch_threads for recipe in recipes.values())
        return cls(
            settings,
            shelf.recipes,
            sink,
            shelf=shelf,
            shadow=shadow,
            evidence=Evidence.of(settings),
            pool=pool if on_threads else (),
        )

    def __enter__(self) -> "Pipeline":
        self.writer.start()
        self._judge.start()
        self._prepare.start()
        self.intake.start()
        for aside in (self.shelf, self.shadow, self.evidence):
            if aside is not None:
                aside.start()
        log.info("ready", worker=self.settings.name, line=self.settings.line, recipes=sorted(self.recipes))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._prepare.close()  # in the order in which they hand on; what reports to the intake ends before it
        self._judge.close()
        self.writer.close()
        self.intake.close()
        # last: the publishers have their answers, whatever these are at
        for aside in (self.evidence, self.shadow, self.shelf):
            if aside is not None:
                aside.close()

    def queues(self) -> dict[str, int]:
        """What waits. Any thread.

        Handfuls of frames in `inbox`, frames in `batcher`, batches in `judge`, verdicts in `verdicts`, and in
        `set_aside` those of them that can't be written for a reason of their own.
        """
        with self._ready.mutex:
            ready = sum(map(len, self._ready.queue))
        return {
            "inbox": self._prepare.waiting,
            "batcher": ready + len(self._batcher),
            "judge": self._judge.waiting,
            "verdicts": self.writer.waiting,
            "set_aside": self.writer.set_aside,
        }

    def serve(self, *, until: Callable[[], bool]) -> None:
        """The work loop: whenever the engine is free it takes what waits.

        Raises:
            EngineBroken: the engine fails on one frame after another. What was in hand has gone back by then.
            StageFailed: a thread beside this one has ended.
        """
        try:
            with kept_apart(self._pool):
                while not until():
                    self._turn()
        except EngineBroken:
            self._leave(self._hand_back)
            raise

    def drain(self) -> None:
        """Finishes what is in hand: no more frames, judge those received, store their verdicts, acknowledge."""
        self._leave(self._turn)

    def _leave(self, turn: Callable[[], None]) -> None:
        ends = time.monotonic() + self.settings.drain_s
        self.intake.leave()  # publishers send nothing more; what is on the wire still arrives
        settled = time.monotonic() + 0.3
        while time.monotonic() < ends and (self.intake.holding or time.monotonic() < settled):
            turn()
        waiting = self.writer.drain(max(0.0, ends - time.monotonic()))
        log.info("drained", worker=self.settings.name, unstored=waiting, in_hand=self.intake.holding)

    def _hand_back(self) -> None:
        """A turn without an engine: frames go to other workers at once, not only when this one is missed."""
        self._beat()
        self._receive()
        self._hand_on_refused()
        for frame in self._batcher.take_all():
            self.intake.busy(frame.header.id, "engine broken")

    def _turn(self) -> None:
        self._beat()
        self._take_newer_recipes()
        self._receive()
        batch, expired = self._batcher.take(time.monotonic())
        for frame in expired:
            self._refuse_expired(frame, "its budget ran out before it could be judged")
        self._hand_on_refused()
        if batch:
            self._work(batch)

    def _beat(self) -> None:
        """Says that the worker lives, if all its parts do: a picture on which the decoder hangs is a hang, too."""
        now, stages = time.monotonic(), (self._prepare, self._judge)
        for stage in stages:
            if stage.failure is not None:
                raise StageFailed(f"the worker can't go on: {stage.failure!r}") from stage.failure
        if all(stage.stuck_s(now) < self._stuck_s for stage in stages):
            self.intake.beat()
            self.on_beat()

    def _take_newer_recipes(self) -> None:
        """One assignment: each frame is judged by the bundle that it was prepared for, whole, old or new."""
        if self.shelf is None or self.shelf.recipes is self.recipes:
            return
        before, self.recipes = self.recipes, self.shelf.recipes
        self.observed.recipes = frozenset(self.recipes)
        longest_s = self._longest_batch_s()
        self._stuck_s = max(self._stuck_s, 3 * longest_s)
        self.intake.offer(self.recipes, longest_batch_s=longest_s)
        for name, recipe in self.recipes.items():
            if recipe is not before.get(name):
                was = before[name].label if name in before else None
                log.info("recipe is in use", recipe=name, model=recipe.label, before=was)

    def _receive(self) -> None:
        """Takes in what is prepared; sleeps only if there is nothing to do at all."""
        wait = not len(self._batcher)
        while True:
            try:
                frames = self._ready.get(timeout=IDLE_S) if wait else self._ready.get_nowait()
            except queue.Empty:
                return
            wait = False
            for frame in frames:
                self._batcher.add(frame)

    def _least_s(self) -> float:
        """Of its budget that a frame must have left, whatever its recipe is: a publisher is told one figure."""
        if not self._batcher.overloaded:
            return 0.0
        quickest_s = min(recipe.cost.seconds(self.settings.max_batch) for recipe in self.recipes.values())
        return self._batcher.least_s(self._pace.needs_s(quickest_s, time.monotonic()))

    def _cost_s(self, frame: PreparedFrame, frames: int) -> float:
        return self._pace.needs_s(frame.bundle.cost.seconds(frames), time.monotonic())

    def _longest_batch_s(self) -> float:
        return max(recipe.cost.seconds(self.settings.max_batch) for recipe in self.recipes.values())

    # -- one batch ---------------------------------------------------------------------------------------------------

    def _work(self, batch: list[PreparedFrame]) -> None:
        """Through the trunk that all these frames' recipes share."""
        taken = time.monotonic()
        try:
            inspections = self._infer(batch)
        except Exception as error:  # whatever the engine's libraries raise: the frames are not to blame yet
            log.error("engine failed", frames=len(batch), error=str(error).splitlines()[:1])
            self._after_engine_error(batch)
            return
        self._strikes.clear()
        inferred = time.monotonic()
        predicted_s = batch[0].bundle.cost.seconds(len(batch))
        self._pace.inferred(predicted_s=predicted_s, actual_s=inferred - taken, now=inferred)
        self._judge.put(InferredBatch(batch, inspections, taken, inferred))

    def _infer(self, frames: Sequence[PreparedFrame]) -> list[Inspection]:
        return self._infer_batch([(frame.bundle.engine, frame.image) for frame in frames])

    def _after_engine_error(self, frames: list[PreparedFrame]) -> None:
        """Tries each frame alone, once; one that fails again goes back to its publisher for another worker."""
        for index, frame in enumerate(frames):
            taken = time.monotonic()
            try:
                inspections = self._infer([frame])
            except Exception as error:
                self.intake.busy(frame.header.id, f"engine error: {str(error)[:200]}")
                self._strikes.add(frame.header.id)
                if len(self._strikes) >= ENGINE_STRIKES:
                    for other in frames[index + 1 :]:
                        self.intake.busy(other.header.id, "engine broken")
                    raise EngineBroken(f"the engine failed on {len(self._strikes)} frames in a row: {error}") from error
                continue
            self._strikes.clear()
            self._judge.put(InferredBatch([frame], inspections, taken, time.monotonic()))

    # -- before and after the engine, in their own threads -----------------------------------------------------------

    def _take_in(self, items: list[ReceivedFrame | GoneFrame]) -> None:
        """Small pictures are handed on together, since each hand-over costs; no engine waits for more than one."""
        given_up = [item for item in items if isinstance(item, GoneFrame)]
        if given_up:
            self._batcher.missed(sum(item.reason == "expired" for item in given_up), time.monotonic())
            self._hand_on([self._concluder.gone(item) for item in given_up])
        ready: list[PreparedFrame] = []
        spent_s = 0.0
        for item in items:
            if isinstance(item, GoneFrame):
                continue
            if self._turns_away(item):
                self._refuse_expired(item, "too little of its budget was left, when there was too much to do")
                continue
            try:
                frame = prepare(item, self.recipes)
            except Unfit as error:
                self._refuse(item, error.reason, str(error), error.image)
                continue
            ready.append(frame)
            spent_s += frame.prepare_s
            if spent_s > TOGETHER_S:
                self._ready.put(ready)
                ready, spent_s = [], 0.0
        if ready:
            self._ready.put(ready)

    def _turns_away(self, frame: ReceivedFrame) -> bool:
        bundle = self.recipes.get(frame.recipe)
        if bundle is None or not self._batcher.overloaded:
            return False
        now = time.monotonic()
        cost_s = self._pace.needs_s(bundle.cost.seconds(self.settings.max_batch), now)
        return self._batcher.turns_away(frame, cost_s, now)

    def _conclude(self, batch: InferredBatch) -> None:
        judged = self._concluder.judged(batch)
        self._hand_on(judged)
        self.drift.judged(batch.frames, judged)
        if self.shadow is not None:
            self.shadow.offer(batch.frames)
        if self.evidence is not None:
            self.evidence.offer((frame.image, item.verdict) for frame, item in zip(batch.frames, judged, strict=True))

    def _refuse_expired(self, frame: ReceivedFrame, note: str) -> None:
        """Another may come in its place at once; its verdict is written with others at the next turn: it is no pass."""
        refused = self._concluder.refused(frame, Reason.EXPIRED, note)
        self._refused.append(refused)
        self.intake.judged([refused.verdict.tag.id])

    def _hand_on_refused(self) -> None:
        refused = [self._refused.popleft() for _ in range(len(self._refused))]
        if refused:
            self._write(refused)

    def _refuse(self, frame: ReceivedFrame, reason: Reason, note: str, image: Image | None = None) -> None:
        refused = self._concluder.refused(frame, reason, note)
        self._hand_on([refused])
        if self.evidence is not None and image is not None:
            self.evidence.offer([(image, refused.verdict)])

    def _hand_on(self, batch: list[Judged]) -> None:
        redis_keeps_up = not self.writer.waiting
        self._write(batch)
        self.intake.judged([judged.verdict.tag.id for judged in batch], stored_soon=redis_keeps_up)

    def _write(self, batch: list[Judged]) -> None:
        self.writer.put_all(batch)
        if self._log.is_enabled_for(logging.DEBUG):
            for verdict in (judged.verdict for judged in batch):
                frame, decision, reason = str(verdict.tag.id), verdict.decision.value, verdict.reason.word
                self._log.debug("judged", frame=frame, decision=decision, reason=reason)

    def _on_stored(self, batch: list[Stored]) -> None:
        now = time.monotonic()
        self.intake.stored([judged.verdict.tag.id for judged, _ in batch])
        self.observed.stored(batch, now)
        if batch:
            newest, _ = batch[-1]
            self._pace.stored(now - newest.judged + newest.verdict.latency_us.get("judge", 0) / 1e6)
