"""Messages that no camera should send, each with what a worker makes of it."""

import json
import random
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import cv2
import numpy as np

from producers.frame import Frame, make_frame
from producers.protocol import FRAME
from tests.faults.harness import GOOD, picture
from tests.worker.frames import tag
from worker.bench.null import RECIPE

BOMB_SIDE = 12_000


def frame(seq: int, level: int = GOOD) -> Frame:
    """An honest frame."""
    return make_frame(tag(seq, recipe=RECIPE), picture(level), color="bgr")


def parts(made: Frame, **changes: Any) -> list[bytes]:
    """A frame as sent, keys of its header changed afterwards."""
    header = json.loads(made.stamped(now=made.captured_mono, attempt=1).to_bytes())
    return [FRAME, json.dumps({**header, **changes}).encode(), made.payload]


def changed(**keys: Any) -> Callable[[Frame], list[bytes]]:
    """A frame with other keys in its header."""
    return lambda made: parts(made, **keys)


def carrying(payload: Callable[[Frame], bytes], **keys: Any) -> Callable[[Frame], list[bytes]]:
    """A frame with another payload, and the checksum that goes with it."""

    def message(made: Frame) -> list[bytes]:
        data = payload(made)
        return [*parts(made, crc32=zlib.crc32(data), **keys)[:2], data]

    return message


def headed(header: bytes) -> Callable[[Frame], list[bytes]]:
    """A frame with another header."""
    return lambda made: [FRAME, header, made.payload]


def just(*message: bytes) -> Callable[[Frame], list[bytes]]:
    """No frame at all."""
    return lambda _: list(message)


def noise(_: Frame) -> bytes:
    """The same random bytes each time."""
    return random.Random(1).randbytes(600)


def jpeg_bomb(side: int) -> bytes:
    """Some hundred bytes that claim so many pixels a side: gigabytes, if anybody believes them."""
    small = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes()
    at = small.index(b"\xff\xc0") + 5  # start of frame: length, precision, then height and width
    return small[:at] + struct.pack(">HH", side, side) + small[at + 4 :]


@cache
def png_bomb(side: int = BOMB_SIDE) -> bytes:
    """A well-formed file of so many black pixels a side, a thousandth of their size."""
    squeeze, row = zlib.compressobj(1), bytes(1 + 3 * side)
    rows = [squeeze.compress(row) for _ in range(side)]
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = b"".join([*rows, squeeze.flush()])
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


VERDICT = {
    "truncated payload": lambda made: [*parts(made)[:2], made.payload[:-7]],
    "no payload": lambda made: [*parts(made)[:2], b""],
    "wrong checksum": changed(crc32=1),
    "wrong shape": changed(shape=[16, 15, 3]),
    "small jpeg bomb": carrying(lambda _: jpeg_bomb(BOMB_SIDE), encoding="jpeg", shape=[BOMB_SIDE, BOMB_SIDE, 3]),
    "png bomb": carrying(lambda _: png_bomb(), encoding="png", shape=[BOMB_SIDE, BOMB_SIDE, 3]),
    "random bytes as jpeg": carrying(noise, encoding="jpeg"),
    "random bytes as png": carrying(noise, encoding="png"),
    "grey of 16 bit": changed(shape=[16, 24, 1], dtype="uint16", color="mono"),
}
"""Each a frame whose header can be read: it ends as `bad_frame`."""

UNREADABLE = {
    "claim beyond reason": changed(shape=[10**9, 10**9, 3]),
    "oversized claim": changed(shape=[32_768, 32_768, 3]),
    "jpeg bomb": carrying(lambda _: jpeg_bomb(32_768), encoding="jpeg", shape=[32_768, 32_768, 3]),
    "no height at all": changed(shape=[0, 16, 3]),
    "unknown key": changed(surprise=1),
    "seq of 2^63": changed(seq=2**63),
    "seq of 2^53 + 1": changed(seq=2**53 + 1),
    "negative seq": changed(seq=-1),
    "negative age": changed(age_us=-1),
    "negative budget": changed(budget_ms=-5),
    "budget that is not a number": changed(budget_ms=float("nan")),
    "endless budget": changed(budget_ms=float("inf")),
    "camera that was not dialled": changed(camera="cam2"),
    "header of 10 MB": headed(b'{"camera": "' + b"x" * 10_000_000 + b'"}'),
    "header of random bytes": headed(random.Random(2).randbytes(600)),
    "header that is a list": headed(b"[]"),
    "header nested deeply": headed(b"[" * 4000),
    "no header": headed(b""),
    "one part": just(FRAME),
    "five parts": lambda made: [*parts(made), b"", b""],
}
"""The worker answers BAD: the publisher knows which frame it was, and ends it."""

IGNORED = {
    "unknown version": lambda made: [b"2F", *parts(made)[1:]],
    "unknown kind": just(b"1Z", b"{}", b""),
    "random parts": just(b"\x00\xff", random.Random(3).randbytes(200), random.Random(4).randbytes(9000)),
    "gone with NaN": just(b"1G", b'{"reason": "lost"}', b'{"frames": [{"camera": "cam1", "budget_ms": NaN}]}'),
    "pong with a time before time": just(b"1O", b'{"ping_mono_us": -1, "mono_us": 1}', b""),
}
"""No frames: the worker counts them and goes on."""

KINDS: dict[str, Callable[[Frame], list[bytes]]] = {**VERDICT, **UNREADABLE, **IGNORED}
