"""The publisher: two sockets beside the camera, and the few lines a camera program writes.

    with FramePublisher(PublisherSettings(camera="cam1")) as publisher:
        publisher.publish(image, part_id="A-1042")

`publish` hands a frame to a thread that owns both sockets; the thread keeps it until its verdict is stored.
"""

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from types import TracebackType

import zmq
from pydantic import ValidationError

from producers.bell import Bell
from producers.dispatch import Dispatcher, Taken
from producers.doorkeeper import Doorkeeper, DoorKeys
from producers.doors import bind, refuse_open_door
from producers.errors import AddressTaken, BadFrame, PublisherClosed
from producers.frame import (
    PART_FIELDS,
    Color,
    Frame,
    FrameHeader,
    FrameId,
    FrameTag,
    Image,
    PartTag,
    Picture,
    first_fault,
    frame_again,
    frame_of,
)
from producers.journal import Journal
from producers.kept import Peer
from producers.protocol import GoneReason
from producers.settings import PublisherSettings
from producers.states import State
from producers.transform import Transform

__all__ = ["FramePublisher", "PublisherSettings"]  # what a camera program needs


class FramePublisher:
    """Publishes one camera's frames. One thread may call `publish` and `give_up`; a context manager.

    Args:
        settings: of the publisher.
        each_turn: called by its thread whenever its loop turns.
        record: told by that thread of every frame, in the order of their seqs; it must not wait.

    Raises:
        SettingsError: an endpoint that other machines can reach, without keys or `insecure`; keys that are no good; no
            journal can be kept in `state`.
        AddressTaken: an endpoint that can't be bound; the camera has a publisher already.
    """

    def __init__(
        self,
        settings: PublisherSettings,
        *,
        each_turn: Callable[[], None] = lambda: None,
        record: Callable[[Taken], None] = lambda item: None,
    ) -> None:
        for endpoint in (settings.work, settings.live):
            refuse_open_door(endpoint, insecure=settings.insecure, keys=settings.key is not None)
        keys = DoorKeys.read(settings.key, workers=settings.workers, viewers=settings.viewers)
        self.settings = settings
        self.session = str(uuid.uuid4())
        self._each_turn = each_turn
        self._seq = 0
        self._room = threading.Condition()
        self._inbox: deque[Taken] = deque()
        self._inbox_bytes = 0
        self._interrupted = False
        self._journal = _journal(settings, self.session)
        self._context = zmq.Context()
        self._doorkeeper = Doorkeeper(self._context, keys) if keys else None  # before anything is bound
        work = live = None
        try:
            work = bind(self._context, zmq.ROUTER, settings.work, self._doorkeeper)
            live = bind(self._context, zmq.PUB, settings.live, self._doorkeeper)
        except AddressTaken:
            self._dismiss_doorkeeper()
            self._context.destroy(linger=0)
            if self._journal:
                self._journal.close()
            raise
        self._bell = Bell()
        self._dispatcher = Dispatcher(
            settings.camera, settings.limits(), settings.policy, work=work, live=live, bell=self._bell, record=record
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
        copy: bool = True,
        transform: Transform | None = None,
        captured: float | None = None,
    ) -> FrameId:
        """Publishes one frame, shaped as the settings say. With policy `block` it waits while retention is full.

        Args:
            image: `(H, W)` or `(H, W, 1 or 3)`, uint8, or uint16 with one channel.
            color: order of the channels, or the Bayer pattern from the first row.
            part_id: the part's own identity.
            trigger: the trigger counter.
            view: which view of the part this is.
            meta: free strings, 1 KiB in all.
            copy: whether the pixels are copied first. If not, nobody may write to them any more: they are sent from
                where they lie, now and perhaps once more later.
            transform: from this picture's pixels to the sensor's; None: they are the same.
            captured: monotonic seconds; None: when this is called.

        Raises:
            BadFrame: the picture can't be shaped or described by a header; no frame was captured.
            PublisherClosed: likewise.
        """
        captured = time.monotonic() if captured is None else captured  # shaping and encoding count against the budget
        tag = self._tag(captured, part_id=part_id, trigger=trigger, view=view)
        frame = self.settings.shaping.frame(
            tag, image, color=color, meta=meta, copy=copy, transform=transform, captured=captured
        )
        self._hand_over(frame, size=len(frame.payload))
        return frame.tag.id

    def publish_payload(
        self, payload: bytes, picture: Picture, part: PartTag, *, transform: Transform | None = None
    ) -> FrameId:
        """Publishes one frame, captured now, whose pixels are bytes already, raw or encoded; they travel as they are.

        Args:
            payload: what `picture` says it is.
            picture: encoding, shape, dtype, colour, meta.
            part: what is known of the part; where its recipe or budget is None, the publisher's own settings hold.
            transform: from the payload's pixels to the sensor's; None: they are the same.

        Raises:
            BadFrame: the payload's size is not what `picture` says; no frame was captured.
            PublisherClosed: no frame was captured.
        """
        tag = self._tag(**{name: getattr(part, name) for name in PART_FIELDS})
        frame = frame_of(tag, picture, payload, transform=transform)
        self._hand_over(frame, size=len(payload))
        return frame.tag.id

    def publish_again(self, header: FrameHeader, payload: bytes, *, keep_budget: bool) -> FrameId:
        """Publishes a recorded frame as one of this session, whose `original` names the old one.

        Args:
            header: as it was recorded.
            payload: likewise.
            keep_budget: whether its budget holds again; else the publisher's own does.

        Raises:
            BadFrame: its header is too large; no frame was captured.
            PublisherClosed: no frame was captured.
        """
        part = {name: getattr(header, name) for name in PART_FIELDS if keep_budget or name != "budget_ms"}
        tag = self._tag(**part, original=str(header.id))
        self._hand_over(frame_again(tag, header, payload), size=len(payload))
        return tag.id

    def give_up(
        self,
        reason: GoneReason,
        *,
        part_id: str | None = None,
        trigger: int | None = None,
        view: str | None = None,
        recipe: str | None = None,
    ) -> FrameId:
        """Ends a frame that was captured but can't be published (torn, unreadable): it still gets its verdict."""
        tag = self._tag(part_id=part_id, trigger=trigger, view=view, recipe=recipe)
        self._hand_over((tag, reason), size=0)
        return tag.id

    def counts(self) -> dict[str, int]:
        """Frames so far: `captured, inherited, stored, judged, resent, gone`, and `open`: without a stored verdict.

        `inherited` are those that an earlier session of this camera lost when it was killed.
        """
        with self._room:
            waiting = len(self._inbox) + (self._journal.pending if self._journal else 0)
            retention = self._dispatcher.retention
            return {**retention.counts, "open": waiting + len(retention.entries), "workers": len(retention.workers)}

    def gone(self) -> dict[str, int]:
        """Frames given up so far, by reason."""
        return dict(self._dispatcher.retention.gone_by_reason)

    def load(self) -> dict[str, int]:
        """What is kept and what went wrong, as `producers.gauges` names it."""
        retention = self._dispatcher.retention
        return {
            "kept_frames": retention.room.frames,
            "kept_bytes": retention.room.bytes,
            "messages_refused": self._dispatcher.messages_refused,
            "unrecorded": self._dispatcher.unrecorded,
            "keys_refused": self._doorkeeper.refused if self._doorkeeper else 0,
            "journal_failures": self._journal.failures if self._journal else 0,
        }

    @property
    def alive(self) -> bool:
        """Whether the publisher's thread runs."""
        return self._thread.is_alive()

    def in_hand(self) -> dict[tuple[str, str], set[str]]:
        """The frames that each worker, by name and incarnation, was sent and has neither judged nor stored."""
        retention = self._dispatcher.retention
        found: dict[Peer, set[str]] = {peer: set() for peer in list(retention.workers)}
        for entry in list(retention.entries.values()):  # a copy: the publisher's thread goes on meanwhile
            if entry.state is State.SENT and entry.peer in found:
                found[entry.peer].add(entry.id)
        known = list(retention.workers.items())
        return {(worker.hello.name, worker.hello.incarnation): found.get(peer, set()) for peer, worker in known}

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
            if now - since >= timeout_s or not self.alive:
                break
            self._dispatcher.give_up_waiting |= now - since > timeout_s / 2
            if self._dispatcher.give_up_waiting:
                self._bell.ring()
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
        self._dispatcher.stop = True  # whoever waits in `publish` is told
        self._bell.ring()
        self._thread.join()
        self._dismiss_doorkeeper()
        self._context.term()
        if self._journal:
            self._journal.close(self._dispatcher.retention)

    def _dismiss_doorkeeper(self) -> None:
        if self._doorkeeper is not None:
            self._doorkeeper.close()

    def _tag(self, captured: float | None = None, /, **part: object) -> FrameTag:
        settings = self.settings
        age_ns = 0 if captured is None else max(0, int((time.monotonic() - captured) * 1e9))
        fields = {
            "camera": settings.camera,
            "session": self.session,
            "seq": self._seq,
            "captured_ns": time.time_ns() - age_ns,
            "budget_ms": settings.budget_ms,
            "recipe": settings.recipe,
            "simulated": settings.simulated,
        }
        try:
            return FrameTag.model_validate({**fields, **{key: it for key, it in part.items() if it is not None}})
        except ValidationError as error:
            raise BadFrame(first_fault(error)) from error

    def _hand_over(self, item: Taken, *, size: int) -> None:
        with self._room:
            while self.settings.policy == "block" and self._full(size) and not self._interrupted:
                self._refuse_if_closed()
                self._room.wait(0.05)
            self._refuse_if_closed()
            if self._journal:
                tag = item.tag if isinstance(item, Frame) else item[0]
                self._journal.advance(self._seq + 1, captured_ns=tag.captured_ns)
            unseen = bool(self._inbox)  # then the thread was woken already and will find this one, too
            self._inbox.append(item)
            self._inbox_bytes += size
            self._seq += 1  # only now: a seq is given out with its frame, so that there are no gaps
        if not unseen:
            self._bell.ring()

    def _refuse_if_closed(self) -> None:
        if self._dispatcher.stop:
            raise PublisherClosed("the publisher is closed: no frame was captured")
        if not self._thread.is_alive():  # nobody would ever take the frame
            raise PublisherClosed("the publisher's thread has failed, standard error says why: no frame was captured")

    def _full(self, size: int) -> bool:
        """Frames that the publisher's thread has not looked at yet count as well: they take as much memory."""
        frames, waiting_bytes = len(self._inbox) + 1, self._inbox_bytes + size
        return self._dispatcher.retention.room.full(incoming_bytes=waiting_bytes, incoming_frames=frames)

    def _run(self) -> None:
        with self._dispatcher as dispatcher:
            while not dispatcher.stop:
                self._each_turn()
                dispatcher.turn()
                with self._room:
                    while self._inbox:
                        dispatcher.take(self._inbox.popleft())
                    self._inbox_bytes = 0
                    self._room.notify_all()
                if self._journal:
                    self._journal.look(dispatcher.retention, time.monotonic())
                dispatcher.send_due()


def _journal(settings: PublisherSettings, session: str) -> Journal | None:
    if settings.state is None:
        return None
    return Journal(settings.state, camera=settings.camera, session=session, simulated=settings.simulated)
