"""What a gateway is told, in a TOML file, the environment or flags."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from producers.daemon import DaemonSettings
from producers.frame import CameraName
from producers.keys import KeyFile, PublicKey
from producers.metrics import parse_address
from worker.gate.rules import Arm, Match, Rules, View
from worker.settings import LineName

MAX_IPC_BYTES = 107  # a socket has no longer name
GateName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class ViewSettings(BaseModel):
    """One picture that every part must have.

    Attributes:
        camera: that takes it.
        view: its name, as the camera's frames say it; empty: whatever that camera takes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    camera: CameraName
    view: Annotated[str, Field(max_length=64)] = ""


class ModbusSettings(BaseModel):
    """The link to the PLC.

    Attributes:
        mode: `server`: the PLC polls and writes; `client`: the gateway writes to the PLC's registers and polls them.
        address: HOST:PORT to listen at, or of the PLC. There is no password in Modbus: a network of the line's own.
        poll_ms: client: between two looks at the PLC's command block.
        unit: client: the PLC's unit number.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["server", "client"] = "server"
    address: str = "127.0.0.1:1502"
    poll_ms: float = Field(default=20.0, ge=1, le=1_000)
    unit: int = Field(default=1, ge=0, le=255)

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, address: str) -> str:
        parse_address(address)  # its own sentence, before any socket opens
        return address


class LiveSettings(BaseModel):
    """A camera whose headers arm parts.

    Attributes:
        live: endpoint of its publisher's live socket.
        server_key: the camera's public key; None: it has none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    live: str
    server_key: PublicKey | None = None

    @field_validator("live")
    @classmethod
    def _can_be_dialled(cls, live: str) -> str:
        tcp = re.fullmatch(r"tcp://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._%-]*):([0-9]{1,5})", live)
        ipc = live.startswith("ipc://") and 0 < len(live.encode()) - len("ipc://") <= MAX_IPC_BYTES
        if not ipc and not (tcp and 0 < int(tcp[2]) < 65_536):
            raise ValueError(f"{live[:80]} can't be dialled: expected tcp://HOST:PORT or ipc://PATH")
        return live


class GateSettings(DaemonSettings):
    """A gateway's settings.

    Attributes:
        line: name of the production line; verdicts are read from `{line}:results`.
        redis: URL, as a worker's; the user needs no more than `sightline-gate` may.
        name: of the gate. One gateway a gate: a second one of the same name stands by.
        views: that every part must have.
        window_ms: a part's timer: verdicts that are read later change nothing.
        match: by what a verdict belongs to a part: the trigger's number, or the part's id.
        arm: what starts the timer: the PLC's trigger, or the first header on the cameras' live topic. Live parts
            that are matched by part id have no trigger in their results, and none is at the gate: the PLC compares ids.
        part_distance: parts between camera and gate.
        skip: so many triggers may be missing in a row; more, and every part is rejected until in step again.
        sync_after: parts in a row with every view in time put the gate in step again.
        fault_after: parts in a row late or missing are a line fault.
        camera_lead_ms: a frame may have been taken so long before its part's trigger was read. One that is older is of
            another part: where camera and PLC count for themselves, the PLC has missed a pulse. If the camera misses a
            pulse, only a `window_ms` shorter than the time between two parts finds it. None: not looked at.
        modbus: the link to the PLC.
        cameras: by name, with `arm = "live"`.
        key: file of this gateway's key pair, for cameras with a `server_key`; list it among their viewers.
        lease_ms: a gateway that dies is succeeded after this time.
        redis_timeout_s: for one answer of Redis.
        metrics: HOST:PORT for `/metrics`, `/readyz` and `/healthz`; None: nowhere.
        log_level: debug, info, warning or error.
    """

    line: LineName = "line"
    redis: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    name: GateName = "gate"
    views: tuple[ViewSettings, ...] = Field(min_length=1, max_length=16)
    window_ms: float = Field(gt=0, le=600_000)
    match: Match = "trigger"
    arm: Arm = "plc"
    part_distance: int = Field(default=0, ge=0, le=1_000)
    skip: int = Field(default=3, ge=0, le=15)
    sync_after: int = Field(default=3, ge=1, le=1_000)
    fault_after: int = Field(default=3, ge=1, le=1_000)
    camera_lead_ms: float | None = Field(default=None, ge=0, le=60_000)
    modbus: ModbusSettings = ModbusSettings()
    cameras: dict[CameraName, LiveSettings] = Field(default_factory=dict)
    key: KeyFile | None = None
    lease_ms: int = Field(default=3_000, ge=200, le=60_000)
    redis_timeout_s: float = Field(default=1.0, gt=0, le=60)
    metrics: str | None = None
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")

    @field_validator("metrics")
    @classmethod
    def _is_an_address(cls, metrics: str | None) -> str | None:
        if metrics is not None:
            parse_address(metrics)
        return metrics

    @field_validator("views")
    @classmethod
    def _views_differ(cls, views: tuple[ViewSettings, ...]) -> tuple[ViewSettings, ...]:
        names = [(view.camera, view.view) for view in views]
        for camera, view in names:
            if names.count((camera, view)) > 1 or (view and (camera, "") in names):
                raise ValueError(f"camera {camera} has a view twice: give each view a name of its own")
        return views

    @model_validator(mode="after")
    def _who_arms_is_there(self) -> "GateSettings":
        lacking = sorted({view.camera for view in self.views} - self.cameras.keys())
        if self.arm == "live" and lacking:
            raise ValueError(
                f'with arm = "live", camera {lacking[0]} needs [cameras.{lacking[0]}] with live = "tcp://..."'
            )
        if self.arm == "plc" and self.cameras:
            raise ValueError('[cameras] is for arm = "live": with arm = "plc" the PLC\'s triggers start the timers')
        locked = sorted(name for name, camera in self.cameras.items() if camera.server_key)
        if locked and self.key is None:
            raise ValueError(f"camera {locked[0]} has a server_key, but this gateway has no key of its own: set key")
        return self

    def rules(self) -> Rules:
        """What the machine goes by."""
        return Rules(
            views=tuple(View(view.camera, view.view) for view in self.views),
            window_us=int(self.window_ms * 1000),
            match=self.match,
            arm=self.arm,
            part_distance=self.part_distance,
            skip=self.skip,
            sync_after=self.sync_after,
            fault_after=self.fault_after,
            lead_us=None if self.camera_lead_ms is None else int(self.camera_lead_ms * 1000),
        )
