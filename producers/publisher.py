"""The publisher: two sockets beside the camera, and the few lines a camera program writes.

    with FramePublisher(PublisherSettings(camera="cam1")) as publisher:
        publisher.publish(image, part_id="A-1042")

`publish` hands a frame to a thread that owns both sockets; the thread keeps it until its verdict is stored.
"""

import threading
import time
import uuid
from collections import deque
from types import TracebackType
from typing import Any, Literal

import zmq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from producers.dispatch import Dispatcher
from producers.doors import bind, refuse_open_door
from producers.errors import AddressTaken, BadFrame, PublisherClosed
from producers.frame import CameraName, Color, Frame, FrameId, FrameTag, Image, RecipeName, first_fault, make_frame
from producers.protocol import GoneReason
from producers.retention import Limits

Policy = Literal["block", "drop_oldest"]


class PublisherSettings(BaseModel):
    """What a publisher needs to know.

    Attributes:
        camera: `[a-z0-9_-]{1,32}`.
        work: endpoint for workers.
        live: endpoint for viewers.
        recipe: what is inspected; None leaves it to the worker.
        budget_ms: from capture until a verdict is useless to the gate; None: no end.
        simulated: true for anything but a live camera.
        policy: when retention is full, make the source wait (`block`) or give up the oldest frame (`drop_oldest`).
        retain_frames: kept with their pixels at most.
        retain_bytes: likewise.
        heartbeat_s: a worker silent for this long is dead.
        ack_timeout_s: an unanswered frame goes to another worker after this long.
        max_attempts: a frame taken back this often ends as `worker_error`.
        insecure: bind to addresses that other machines can reach, without keys.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    camera: CameraName
    work: str = "tcp://127.0.0.1:5555"
    live: str = "tcp://127.0.0.1:5556"
    recipe: RecipeName | None = None
    budget_ms: float | None = Field(default=None, gt=0, le=86_400_000)
    simulated: bool = True
    policy: Policy = "block"
    retain_frames: int = Field(default=512, ge=1)
    retain_bytes: int = Field(default=512 * 1024 * 1024, ge=1)
    heartbeat_s: float = Field(default=5.0, gt=0)
    ack_timeout_s: float = Field(default=30.0, gt=0)
    max_attempts: int = Field(default=3, ge=1, le=100)
    insecure: bool = False

    def limits(self) -> Limits:
        """The bounds of retention."""
        return Limits(
            frames=self.retain_frames,
            pixel_bytes=self.retain_bytes,
            heartbeat_s=self.heartbeat_s,
            ack_timeout_s=self.ack_timeout_s,
            max_attempts=self.max_attempts,
        )


class FramePublisher:
    """Publishes one camera's frames. One thread may call `publish` and `give_up`; a context manager.

    Raises:
        SettingsError: an endpoint that other machines can reach, without `insecure`.
        AddressTaken: an endpoint that can't be bound.
    """

    def __init__(self, settings: PublisherSettings) -> None:
        for endpoint in (settings.work, settings.live):
            refuse_open_door(endpoint, insecure=settings.insecure)
        self.settings = settings
        self.session = str(uuid.uuid4())
        self._seq = 0
        self._room = threading.Condition()
        self._inbox: deque[Frame | tuple[FrameTag, GoneReason]] = deque()
        self._inbox_bytes = 0
        self._interrupted = False
        self._context = zmq.Context()
        self._wake, wake_end = _pair(self._context)
        work = live = None
        try:
            work = bind(self._context, zmq.ROUTER, settings.work)
            live = bind(self._context, zmq.PUB, settings.live)
        except AddressTaken:
            self._context.destroy(linger=0)
            raise
        self._dispatcher = Dispatcher(
            settings.camera, settings.limits(), settings.policy, work=work, live=live, wake=wake_end
        )
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    def __enter__(self) -> "FramePublisher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def publish(
        self,
        image: Image,
        *,
        color: Color = "bgr",
        part_id: str | None = None,
        trigger: int | None = None,
        view: str | None = None,
        meta: dict[str, str] | None = None,
    ) -> FrameId:
        """Publishes one frame, captured now. With policy `block` it waits while retention is full.

        Args:
            image: `(H, W)` or `(H, W, 1 or 3)`, uint8, or uint16 with one channel. It is copied.
            color: order of the channels, or the Bayer pattern from the first row.
            part_id: the part's own identity.
            trigger: the trigger counter.
            view: which view of the part this is.
            meta: free strings, 1 KiB in all.

        Raises:
            BadFrame: the picture can't be described by a header; no frame was captured.
            PublisherClosed: likewise.
        """
        frame = make_frame(self._tag(part_id, trigger, view), image, color=color, meta=meta)
        self._hand_over(frame, size=len(frame.payload))
        return frame.header.id

    def give_up(self, reason: GoneReason, *, part_id: str | None = None, trigger: int | None = None) -> FrameId:
        """Ends a frame that was captured but can't be published (torn, unreadable): it still gets its verdict."""
        tag = self._tag(part_id, trigger, None)
        self._hand_over((tag, reason), size=0)
        return tag.id

    def counts(self) -> dict[str, int]:
        """Frames so far: `captured, stored, judged, resent, gone`, and `open`: without a stored verdict."""
        with self._room:
            waiting = len(self._inbox)
            retention = self._dispatcher.retention
            return {**retention.counts, "open": waiting + len(retention.entries), "workers": len(retention.workers)}

    def drain(self, timeout_s: float) -> int:
        """Waits until every frame's verdict is stored, for as long as workers get on with it.

        Args:
            timeout_s: to wait without a frame judged or stored; halfway through, what no worker took is given up.

        Returns:
            How many frames are still without one.
        """
        progress, since = -1, time.monotonic()
        while left := (counts := self.counts())["open"]:
            now, done = time.monotonic(), counts["judged"] + counts["stored"]
            if done != progress:
                progress, since = done, now
            if now - since >= timeout_s:
                break
            self._dispatcher.give_up_waiting |= now - since > timeout_s / 2
            with self._room:
                self._room.wait(0.05)
        self._dispatcher.give_up_waiting = False  # what is published from here on waits for workers again
        return left

    def interrupt(self) -> None:
        """Lets a waiting `publish` go on at once, its frame kept beyond the limit. A signal handler may call it."""
        self._interrupted = True

    def close(self) -> None:
        """Stops at once; a second call does nothing. What had no verdict is lost with its pixels: `drain` before."""
        if self._dispatcher.stop:
            return
        self._dispatcher.stop = True  # within a tick the thread ends; whoever waits in `publish` is told
        self._thread.join()
        self._wake.close(linger=0)
        self._context.term()

    def _tag(self, part_id: str | None, trigger: int | None, view: str | None) -> FrameTag:
        try:
            return FrameTag(
                camera=self.settings.camera,
                session=self.session,
                seq=self._seq,
                captured_ns=time.time_ns(),
                budget_ms=self.settings.budget_ms,
                recipe=self.settings.recipe,
                part_id=part_id,
                trigger=trigger,
                view=view,
                simulated=self.settings.simulated,
            )
        except ValidationError as error:
            raise BadFrame(first_fault(error)) from error

    def _hand_over(self, item: Frame | tuple[FrameTag, GoneReason], *, size: int) -> None:
        with self._room:
            while self.settings.policy == "block" and self._full(size) and not self._interrupted:
                self._refuse_if_closed()
                self._room.wait(0.05)
            self._refuse_if_closed()
            unseen = bool(self._inbox)  # then the thread was woken already and will find this one, too
            self._inbox.append(item)
            self._inbox_bytes += size
            self._seq += 1  # only now: a seq is given out with its frame, so that there are no gaps
        if unseen:
            return
        try:
            self._wake.send(b"", zmq.NOBLOCK)
        except zmq.Again:
            return  # the thread has wake-ups enough

    def _refuse_if_closed(self) -> None:
        if self._dispatcher.stop:
            raise PublisherClosed("the publisher is closed: no frame was captured")

    def _full(self, size: int) -> bool:
        """Frames that the publisher's thread has not looked at yet count as well: they take as much memory."""
        frames, waiting_bytes = len(self._inbox) + 1, self._inbox_bytes + size
        return self._dispatcher.retention.full(incoming_bytes=waiting_bytes, incoming_frames=frames)

    def _run(self) -> None:
        with self._dispatcher as dispatcher:
            while not dispatcher.stop:
                dispatcher.turn()
                with self._room:
                    while self._inbox:
                        dispatcher.take(self._inbox.popleft())
                    self._inbox_bytes = 0
                    self._room.notify_all()
                dispatcher.send_due()


def _pair(context: "zmq.Context[zmq.Socket[bytes]]") -> tuple["zmq.Socket[Any]", "zmq.Socket[Any]"]:
    """Two connected sockets that wake a thread from another."""
    name = f"inproc://wake-{uuid.uuid4()}"
    ends = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    for end in ends:
        end.setsockopt(zmq.LINGER, 0)
    ends[1].bind(name)
    ends[0].connect(name)
    return ends
