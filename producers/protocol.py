"""The messages between publisher and worker. DESIGN: "From camera to worker".

On the work socket a message is `[kind][header][payload]`; `kind` is the protocol version and a letter. The header of a
control message is JSON, and so is its payload, which holds the lists. Every message is one class here; `encode` and
`decode` are the only ways onto and off the wire.
"""

import json
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from producers.errors import ProtocolError
from producers.frame import CameraName, Count, FrameTag, RecipeName, first_fault

FRAME = b"1F"
MAX_CONTROL_BYTES = 4 << 20  # a HELLO may list 40,000 frames that wait for Redis
MAX_LISTED = 65_536
MAX_KEYS = 32
CREDIT_BYTES = 256 << 20

GoneReason = Literal["expired", "bad_frame", "no_recipe", "worker_error", "lost"]
Ids = Annotated[tuple[Annotated[str, Field(max_length=128)], ...], Field(max_length=MAX_LISTED), FailFast()]


class Message(BaseModel):
    """A control message. Its lists travel in the payload, all else in the header."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: ClassVar[bytes]
    in_payload: ClassVar[tuple[str, ...]] = ()


class Hello(Message):
    """Worker to publisher, first of all: who I am. Resets credit, takes back frames that it doesn't list as held.

    It is never sent a frame above `max_frame_bytes`, nor more than `credit_bytes` that it has not judged, except that
    one frame always fits.
    """

    kind = b"1H"
    in_payload = ("held",)
    name: Annotated[str, Field(min_length=1, max_length=128)]
    incarnation: Annotated[str, Field(min_length=1, max_length=64)]
    camera: CameraName
    recipes: Annotated[tuple[RecipeName, ...], Field(max_length=1024), FailFast()]
    max_frame_bytes: Count
    credit_bytes: Count = CREDIT_BYTES
    longest_batch_ms: Annotated[float, Field(ge=0, le=3_600_000)]
    held: Ids = ()


class Grant(Message):
    """What a worker will take, as three of its messages say it. A lost one is made good by the next.

    Attributes:
        total: cumulative frames since its HELLO; less than was said before changes nothing.
        least_ms: it would refuse a frame with less of its budget left: see `comes_too_late`.
    """

    total: Count
    least_ms: Annotated[float, Field(ge=0, le=3_600_000)] = 0.0


class Credit(Grant):
    """Worker to publisher: it will take frames."""

    kind = b"1C"


class Ping(Grant):
    """Worker to publisher: alive, its work loop too. `held` counts the frames in hand."""

    kind = b"1P"
    mono_us: Count
    held: Count = 0


class Done(Grant):
    """Worker to publisher: `stored`, the verdict is in Redis; `judged`, it waits for Redis (pixels may go).

    A `total` of 0 grants nothing, and says nothing of the work loop.
    """

    kind = b"1D"
    in_payload = ("stored", "judged")
    total: Count = 0
    stored: Ids = ()
    judged: Ids = ()


class Busy(Message):
    """Worker to publisher: hand this frame to someone else."""

    kind = b"1B"
    id: Annotated[str, Field(max_length=128)]
    why: Annotated[str, Field(max_length=256)]


class Bad(Message):
    """Worker to publisher: the n-th FRAME since HELLO (from 1) has a header that can't be read."""

    kind = b"1X"
    n: Count


class Bye(Message):
    """Worker to publisher: draining, no more frames."""

    kind = b"1Q"


class Gone(Message):
    """Publisher to worker: write these frames' verdicts, there are no pixels."""

    kind = b"1G"
    in_payload = ("frames",)
    reason: GoneReason
    frames: Annotated[tuple[FrameTag, ...], Field(max_length=MAX_LISTED), FailFast()]


class Pong(Message):
    """Publisher to worker: echoes the PING's time and adds the publisher's monotonic clock."""

    kind = b"1O"
    ping_mono_us: Count
    mono_us: Count


class Who(Message):
    """Publisher to a peer it doesn't know: say HELLO again."""

    kind = b"1W"


class Refused(Message):
    """Publisher to worker: don't dial again."""

    kind = b"1R"
    why: Annotated[str, Field(max_length=256)]


def comes_too_late(left_s: float, *, budget_ms: float | None, least_s: float) -> bool:
    """Whether a frame is given up at overload, because others that come after it are worth more.

    With three quarters of its budget left it never is, however small that budget may be.

    Args:
        left_s: of its budget.
        budget_ms: of the frame; None: no end.
        least_s: seconds that a worker asks for; 0: it takes every frame.
    """
    return budget_ms is not None and left_s < min(least_s, 0.75 * budget_ms / 1000)


FROM_WORKER: tuple[type[Message], ...] = (Hello, Credit, Ping, Done, Busy, Bad, Bye)
FROM_PUBLISHER: tuple[type[Message], ...] = (Gone, Pong, Who, Refused)


def encode(message: Message) -> list[bytes]:
    """The parts `[kind][header][payload]`."""
    content = message.model_dump(mode="json", exclude_none=True)
    payload = {name: content.pop(name) for name in message.in_payload}
    return [message.kind, json.dumps(content).encode(), json.dumps(payload).encode() if payload else b""]


def decode(parts: Sequence[bytes], expected: Sequence[type[Message]]) -> Message:
    """The message in `[kind][header][payload]`.

    Args:
        parts: as received, without a routing id.
        expected: `FROM_WORKER` or `FROM_PUBLISHER`.

    Raises:
        ProtocolError: another kind, too large, not JSON, or a field that is missing, unknown or out of range.
    """
    if len(parts) != 3 or sum(map(len, parts)) > MAX_CONTROL_BYTES:
        raise ProtocolError(f"a control message has 3 parts and 4 MiB at most, not {len(parts)} parts")
    found = next((message for message in expected if message.kind == parts[0]), None)
    if found is None:
        raise ProtocolError(f"kind {parts[0][:16]!r} is not expected here")
    try:
        header, payload = json.loads(parts[1]), json.loads(parts[2] or b"{}")
        return found.model_validate(_not_overgrown({**header, **payload}))
    except ValidationError as error:
        raise ProtocolError(f"{found.__name__} can't be read: {first_fault(error)}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise ProtocolError(f"{found.__name__} can't be read: {str(error).splitlines()[0]}") from error


def _not_overgrown(fields: dict[str, Any]) -> dict[str, Any]:
    """Refuses what no message needs, before validation makes an object of each of a million faults."""
    lists = [value for value in fields.values() if isinstance(value, list)]
    objects = [fields, *(item for items in lists for item in items if isinstance(item, dict))]
    if any(len(items) > MAX_LISTED for items in lists) or any(len(found) > MAX_KEYS for found in objects):
        raise ValueError(f"more than {MAX_LISTED} items in a list, or {MAX_KEYS} keys in an object")
    return fields
