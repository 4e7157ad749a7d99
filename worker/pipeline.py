"""The worker: intake, batcher, engine, judge and sink, in one process.

Three threads, each the only owner of what it touches: the intake's sockets, the sink's connection, and here the work
loop with the engine. Frames and verdicts pass between them through queues that credit and `hold_verdicts` bound.
"""

import math
import queue
import time
import uuid
from collections.abc import Callable, Sequence
from types import TracebackType

import structlog

from model.engine import Engine, Inspection, infer
from model.errors import ContractError
from model.images import Image
from producers.daemon import ExitCode, stop_requested
from producers.errors import BadFrame
from producers.frame import FrameId, decode
from producers.memory import keep_freed_memory
from worker.batcher import Batcher, ReceivedFrame
from worker.errors import EngineBroken
from worker.intake import Intake
from worker.judge import judge, refusal
from worker.link import GoneFrame, LinkSettings
from worker.recipes import Recipe, load_recipes
from worker.settings import WorkerSettings
from worker.sink import Judged, ResultSink
from worker.verdict import Reason
from worker.writer import ResultWriter

log = structlog.get_logger("worker")

IDLE_S = 0.05
ENGINE_STRIKES = 2  # failures in a row on different frames: it is the engine, not the frame


def run(settings: WorkerSettings) -> ExitCode:
    """Runs a worker until SIGTERM.

    Raises:
        SettingsError: keys that are no good.
        RecipeMissing, BundleError: no bundle to judge with.
        ResultsUnavailable: Redis isn't there at the start.
        EngineBroken: the engine fails on one frame after another.
    """
    keep_freed_memory()
    with stop_requested() as stopping, Pipeline.open(settings) as pipeline:
        pipeline.serve(until=stopping)
        pipeline.drain()
    return ExitCode.OK


Infer = Callable[[Sequence[tuple[Engine, Image]]], list[Inspection]]


class Pipeline:
    """One worker. Build it with `open`; a context manager.

    Args:
        settings: of the worker.
        recipes: what it judges with, by name.
        sink: where its verdicts go.
        infer: how a batch is inspected: `model.engine.infer`. Benches of the line around the engine hand in their own.
    """

    def __init__(
        self, settings: WorkerSettings, recipes: dict[str, Recipe], sink: ResultSink, *, infer: Infer = infer
    ) -> None:
        self.settings = settings
        self.recipes = recipes
        self.sink = sink
        self._infer_batch = infer
        self._log = log.bind()  # once: what is said of each frame costs nothing unless somebody listens
        # Not SimpleQueue: a signal near the end of its timeout makes it wait for ever (CPython 3.11), deaf to SIGTERM.
        self._inbox: queue.Queue[list[ReceivedFrame | GoneFrame]] = queue.Queue()  # credit and `hold_verdicts` bound it
        longest_s = max(recipe.cost_s(settings.max_batch) for recipe in recipes.values())
        self._batcher = Batcher(settings.max_batch, lambda recipe: recipes[recipe].engine.trunk, self._cost_s)
        self._strikes: set[FrameId] = set()
        self.writer = ResultWriter(sink, settings.name, limit=settings.hold_verdicts, stored=self._on_stored)
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
            deliver=self._inbox.put,
            paused=lambda: self.writer.full,
            beat_timeout_s=max(5.0, 3 * longest_s),
        )

    @classmethod
    def open(cls, settings: WorkerSettings) -> "Pipeline":
        """Connects, loads, warms; raises before the worker is ready, never after."""
        settings.key_pair()  # keys that are no good are told before anything is connected or loaded
        sink = ResultSink.of(settings)
        sink.sample_clock()
        needed = {camera.recipe for camera in settings.cameras.values()}
        recipes = load_recipes(
            settings.recipes, needed, device=settings.device, engine=settings.engine, max_batch=settings.max_batch
        )
        return cls(settings, recipes, sink)

    def __enter__(self) -> "Pipeline":
        self.writer.start()
        self.intake.start()
        log.info("ready", worker=self.settings.name, line=self.settings.line, recipes=sorted(self.recipes))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.close()  # first: it reports to the intake
        self.intake.close()

    def serve(self, *, until: Callable[[], bool]) -> None:
        """The work loop: whenever the engine is free it takes what waits.

        Raises:
            EngineBroken: the engine fails on one frame after another. What was in hand has gone back by then.
        """
        try:
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
        self.intake.beat()
        self._receive()
        for frame in self._batcher.take_all():
            self.intake.busy(frame.header.id, "engine broken")

    def _turn(self) -> None:
        self.intake.beat()
        self._receive()
        batch, expired = self._batcher.take(time.monotonic())
        for frame in expired:
            self._refuse(frame, Reason.EXPIRED, "its budget ran out before it could be judged")
        if batch:
            self._work(batch)

    def _receive(self) -> None:
        """Empties the inbox; sleeps only if there is nothing to do at all."""
        wait = not len(self._batcher)
        while True:
            try:
                items = self._inbox.get(timeout=IDLE_S) if wait else self._inbox.get_nowait()
            except queue.Empty:
                return
            wait = False
            for item in items:
                self._sort(item)

    def _sort(self, item: ReceivedFrame | GoneFrame) -> None:
        if isinstance(item, GoneFrame):
            self._write_gone(item)
        elif item.recipe not in self.recipes:
            self._refuse(item, Reason.NO_RECIPE, f"no bundle for recipe {item.recipe}")
        else:
            self._batcher.add(item)

    def _cost_s(self, frames: int) -> float:
        return min(recipe.cost_s(frames) for recipe in self.recipes.values())

    # -- one batch ---------------------------------------------------------------------------------------------------

    def _work(self, batch: list[ReceivedFrame]) -> None:
        """One pass through the trunk that all these frames' recipes share."""
        taken = time.monotonic()
        good: list[tuple[ReceivedFrame, Image]] = []
        for frame in batch:
            try:
                contract = self.recipes[frame.recipe].manifest.contract
                contract.check_size(*frame.header.shape[:2])  # a small file may claim to be a huge picture
                image = decode(frame.header, frame.payload)
                contract.check(image)
            except (BadFrame, ContractError) as error:  # one bad frame never harms its neighbours
                self._refuse(frame, Reason.BAD_FRAME, str(error))
                continue
            good.append((frame, image))
        if not good:
            return
        prepared = time.monotonic()
        try:
            inspections = self._infer(good)
        except Exception as error:  # whatever the engine's libraries raise: the frames are not to blame yet
            log.error("engine failed", frames=len(good), error=str(error).splitlines()[:1])
            self._after_engine_error(good, taken)
            return
        self._strikes.clear()
        inferred = time.monotonic()
        self._hand_on(
            [
                self._judge(frame, inspection, taken=taken, prepared=prepared, inferred=inferred)
                for (frame, _), inspection in zip(good, inspections, strict=True)
            ]
        )

    def _infer(self, frames: list[tuple[ReceivedFrame, Image]]) -> list[Inspection]:
        return self._infer_batch([(self.recipes[frame.recipe].engine, image) for frame, image in frames])

    def _after_engine_error(self, frames: list[tuple[ReceivedFrame, Image]], taken: float) -> None:
        """Tries each frame alone, once; one that fails again goes back to its publisher for another worker."""
        for index, (frame, image) in enumerate(frames):
            started = time.monotonic()
            try:
                (inspection,) = self._infer([(frame, image)])
            except Exception as error:
                self.intake.busy(frame.header.id, f"engine error: {str(error)[:200]}")
                self._strikes.add(frame.header.id)
                if len(self._strikes) >= ENGINE_STRIKES:
                    for other, _ in frames[index + 1 :]:
                        self.intake.busy(other.header.id, "engine broken")
                    raise EngineBroken(f"the engine failed on {len(self._strikes)} frames in a row: {error}") from error
                continue
            self._strikes.clear()
            self._hand_on([self._judge(frame, inspection, taken=taken, prepared=started, inferred=time.monotonic())])

    def _judge(
        self,
        frame: ReceivedFrame,
        inspection: Inspection,
        *,
        taken: float,
        prepared: float,
        inferred: float,
    ) -> Judged:
        now, recipe = time.monotonic(), self.recipes[frame.recipe]
        verdict = judge(
            frame,
            inspection,
            recipe.manifest.calibration,
            model=recipe.label,
            worker=self.settings.name,
            late=now > frame.deadline,
            valid_until_us=None if math.isinf(frame.deadline) else self.sink.redis_us(frame.deadline),
            inspected_ns=time.time_ns(),
            latency_us={
                "wire": frame.wire_us,
                "queue": _us(taken - frame.received),
                "prepare": _us(prepared - taken),
                "infer": _us(inferred - prepared),
            },
        )
        judged = time.monotonic()
        verdict.latency_us["judge"] = _us(judged - inferred)  # known only now, and nobody else has seen the verdict yet
        return Judged(verdict, judged)

    def _refuse(self, frame: ReceivedFrame, reason: Reason, note: str) -> None:
        now = time.monotonic()
        log.info("frame refused", frame=str(frame.header.id), reason=reason.word, note=note)
        stages = {"wire": frame.wire_us, "queue": _us(now - frame.received)}
        verdict = refusal(
            frame.header,
            reason,
            note=note,
            worker=self.settings.name,
            inspected_ns=time.time_ns(),
            latency_us=stages,
            recipe=frame.recipe,
        )
        self._hand_on([Judged(verdict, now)])

    def _write_gone(self, gone: GoneFrame) -> None:
        now = time.monotonic()
        verdict = refusal(
            gone.tag,
            Reason[gone.reason.upper()],
            note="given up beside the camera",
            worker=self.settings.name,
            inspected_ns=time.time_ns(),
            latency_us={},
        )
        self._hand_on([Judged(verdict, now)])

    def _hand_on(self, batch: list[Judged]) -> None:
        self.writer.put_all(batch)
        self.intake.judged([judged.verdict.tag.id for judged in batch])
        for verdict in (judged.verdict for judged in batch):
            self._log.debug(
                "judged", frame=str(verdict.tag.id), decision=verdict.decision.value, reason=verdict.reason.word
            )

    def _on_stored(self, frames: list[FrameId]) -> None:
        self.intake.stored(frames)


def _us(seconds: float) -> int:
    return max(0, int(seconds * 1e6))
