"""What a worker is told, in a TOML file, the environment or flags. DESIGN: "Configuration, command, logs"."""

import os
import socket
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from producers.daemon import DaemonSettings
from producers.errors import SettingsError
from producers.frame import CameraName, RecipeName
from producers.keys import KeyFile, KeyPair, PublicKey, read_pair
from producers.metrics import parse_address
from producers.protocol import CREDIT_BYTES

LineName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class CameraSettings(BaseModel):
    """One camera that a worker dials.

    Attributes:
        endpoint: of its publisher's work socket.
        recipe: for frames that don't name their own.
        server_key: the camera's public key, the line in its `.pub` file; None: it has none.
        optional: the worker is ready without it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: str
    recipe: RecipeName
    server_key: PublicKey | None = None
    optional: bool = False


class WorkerSettings(DaemonSettings):
    """A worker's settings.

    Attributes:
        line: name of the production line; results go to `{line}:results`.
        redis: URL; `redis://`, `unix://`, or `rediss://HOST:PORT/0?ssl_ca_certs=FILE` for TLS (also `ssl_certfile`,
            `ssl_keyfile`). After a failure it is dialled anew: a name that follows a failover is followed.
        durability: when a verdict counts as stored. `memory`: Redis has answered; what it loses in a crash is up to its
            own `appendfsync`. `replica`: one replica has it too (WAIT), at the price of a round trip; a failover to
            another replica can still lose it.
        recipes: directory of bundles, one directory a recipe. One that is exchanged, or new, is taken up while the
            worker runs.
        cameras: by name.
        shadow: by recipe, a bundle that judges the same frames beside the recipe's own. Its verdicts go to
            `{line}:shadow`, never to the gate.
        key: file of this worker's own key pair, for cameras with a `server_key`.
        name: of this worker, unique on the line.
        max_batch: frames in a batch at most.
        device: `auto`, `cpu` or `cuda`.
        engine: `auto` takes the fastest that changed no verdict when the bundle's threshold was set; or `torch` or
            `openvino`.
        ping_s: between heartbeats to a publisher.
        max_frame_bytes: largest payload it takes.
        credit_bytes: of frames that it has and has not judged, at most; one frame a camera always fits.
        hold_verdicts: verdicts that wait for Redis at most; then it takes no more frames. All are named in one HELLO.
        keep_results_s: entries older than this are trimmed from the stream.
        max_results: entries in the stream at most.
        redis_timeout_s: for one answer of Redis.
        drain_s: at SIGTERM, how long to finish what is in hand.
        evidence: folder for pictures of rejected parts, `test/<reason>/<frame>.png` with a `.json` beside each; None:
            they are not kept.
        evidence_folder_bytes: of these at most; beyond that the oldest leave.
        metrics: HOST:PORT for `/metrics`, `/readyz` and `/healthz`, loopback by convention; None: nowhere.
        log_level: debug, info, warning or error.
    """

    line: LineName = "line"
    redis: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    durability: Literal["memory", "replica"] = "memory"
    recipes: Path = Path("recipes")
    cameras: dict[CameraName, CameraSettings] = Field(min_length=1)
    shadow: dict[RecipeName, Path] = Field(default_factory=dict)
    key: KeyFile | None = None
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = f"{socket.gethostname()[:48]}-{os.getpid()}"
    max_batch: int = Field(default=8, ge=1, le=256)
    device: str = "auto"
    engine: Literal["auto", "torch", "openvino"] = "auto"
    ping_s: float = Field(default=1.0, gt=0)
    max_frame_bytes: int = Field(default=64 * 1024 * 1024, ge=1)
    credit_bytes: int = Field(default=CREDIT_BYTES, ge=1)
    hold_verdicts: int = Field(default=20_000, ge=1, le=40_000)
    keep_results_s: float = Field(default=7 * 86_400, gt=0)
    max_results: int = Field(default=1_000_000, ge=1)
    redis_timeout_s: float = Field(default=2.0, gt=0)
    drain_s: float = Field(default=20.0, ge=0)
    evidence: Path | None = None
    evidence_folder_bytes: int = Field(default=2 * 1024**3, ge=1)
    metrics: str | None = None
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")

    @field_validator("metrics")
    @classmethod
    def _is_an_address(cls, metrics: str | None) -> str | None:
        if metrics is not None:
            parse_address(metrics)  # its own sentence, before any socket opens
        return metrics

    def key_pair(self) -> KeyPair | None:
        """Reads this worker's key pair; None if no camera asks for one.

        Raises:
            SettingsError: half of it is missing, can't be read, or is malformed.
        """
        locked = sorted(name for name, camera in self.cameras.items() if camera.server_key)
        if self.key is None and locked:
            raise SettingsError(f"camera {locked[0]} has a server_key, but this worker has no key of its own: set key")
        if self.key is not None and not locked:
            raise SettingsError(f"this worker has a key, {self.key}, but no camera has a server_key to use it with")
        return None if self.key is None else read_pair(self.key)
