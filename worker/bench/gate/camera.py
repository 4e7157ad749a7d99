"""A camera of `sightline bench gate`: a process that takes its view's pictures when the plan says so.

No torch in here. It says that its frames are live, since no gate opens for others: its workers and its Redis are the
bench's own.
"""

import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path

from producers.daemon import configure_logging
from producers.frame import PartTag, Picture
from producers.publisher import FramePublisher, PublisherSettings
from worker.bench.gate.plan import CAMERAS, Part, Shot, make_plan
from worker.demo.processes import PATIENCE_S

SIDE = 16  # pixels: what travels is of no account here
LOOK_S = 0.01
MISSED_MS = 20.0  # a part that was there longer ago than this is out of sight
PICTURE = Picture(encoding="raw", shape=(SIDE, SIDE, 3), dtype="uint8", color="bgr")


@dataclass(frozen=True)
class Start:
    """How all processes begin together.

    Attributes:
        ns: when part 0 crosses the light barrier, since the epoch; 0: not yet known.
        ready: set by each view's camera when its workers are there.
        workers: so many.
    """

    ns: "Synchronized[int]"
    ready: Mapping[str, Event]
    workers: int


def run_camera(view: str, settings: PublisherSettings, parts: int, seed: int, start: Start) -> None:
    """Publishes this view's frames until the last part has passed and each frame has its verdict.

    Args:
        view: which.
        settings: of its publisher.
        parts: of the plan.
        seed: of the plan.
        start: when the first part comes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the bench, which ends this process
    configure_logging("error")
    with FramePublisher(settings) as publisher:
        while not start.ns.value:
            if publisher.counts()["workers"] >= start.workers:
                start.ready[view].set()
            time.sleep(LOOK_S)
        due = sorted(_shots(view, make_plan(parts, seed).parts, start.ns.value), key=lambda shot: shot[0])
        for at_ns, part, shot in due:
            left_s = (at_ns - time.time_ns()) / 1e9
            if left_s < -MISSED_MS / 1000:
                continue
            time.sleep(max(0.0, left_s))
            tag = PartTag(part_id=part.id, trigger=part.number, view=view, budget_ms=shot.budget_ms)
            publisher.publish_payload(bytes([shot.level]) * (SIDE * SIDE * 3), PICTURE, tag)
        publisher.drain(PATIENCE_S)


def camera_settings(view: str, *, work: str, live: str, state: Path) -> PublisherSettings:
    """Of a view's publisher: a worker that is dead is missed in time for a part's timer."""
    return PublisherSettings(
        camera=CAMERAS[view],
        work=work,
        live=live,
        simulated=False,
        policy="drop_oldest",
        heartbeat_s=0.25,
        ack_timeout_s=2.0,
        state=state,
    )


def _shots(view: str, parts: tuple[Part, ...], start_ns: int) -> list[tuple[int, Part, Shot]]:
    found = []
    for part in parts:
        if view in part.shots:
            shot = part.shots[view]
            found.append((start_ns + int((part.light_ms + shot.after_ms) * 1e6), part, shot))
    return found
