"""What a publisher is told."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from producers.frame import CameraName, RecipeName
from producers.keys import KeyFile
from producers.retention import Limits
from producers.shaping import Shaping

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
        key: file of the camera's own key pair; with it both sockets let in nobody but who is listed.
        workers: folder with the public keys (`*.pub`) of those who may work; by default `workers` beside the key.
        viewers: folder with those of who may watch; by default `viewers` beside the key.
        insecure: bind to addresses that other machines can reach, without keys.
        shaping: what is done to pictures before the wire; encoded ones (`publish_payload`) travel as they are.
        state: folder for the journal, which ends the frames of a publisher that was killed; None: there is none.
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
    key: KeyFile | None = None
    workers: Path | None = None
    viewers: Path | None = None
    insecure: bool = False
    shaping: Shaping = Shaping()
    state: Path | None = None

    def limits(self) -> Limits:
        """The bounds of retention."""
        return Limits(
            frames=self.retain_frames,
            pixel_bytes=self.retain_bytes,
            heartbeat_s=self.heartbeat_s,
            ack_timeout_s=self.ack_timeout_s,
            max_attempts=self.max_attempts,
        )
