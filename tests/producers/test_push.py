"""The push door as a process: foreign programs push messages, and each ends as one frame or one GONE."""

import json
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import zmq

from producers.choosing import choose_source
from producers.daemon import ExitCode
from producers.errors import SettingsError
from producers.frame import FrameHeader, FrameTag, decode
from producers.protocol import Gone
from producers.push import MAX_PART_BYTES, PushSource
from tests.producers.conftest import Dial
from tests.producers.scripted_worker import ScriptedWorker, wait_until
from worker.demo.processes import free_ports

START_S = 30.0  # a process imports for a while on a busy machine
RETAINED = 512  # frames with pixels, by default
GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)
COLOUR = np.dstack([GREY, GREY + 50, GREY + 100])
PLAIN = {"shape": [6, 8, 3], "dtype": "uint8", "color": "bgr", "encoding": "raw"}


@dataclass
class Program:
    """A camera program: a plain PUSH socket. While the door is full it holds one message and then refuses more."""

    socket: "zmq.Socket[bytes]"

    def push(self, *parts: bytes) -> None:
        """Sends one message of any kind."""
        self.socket.send_multipart(parts)

    def picture(self, payload: bytes = COLOUR.tobytes(), **changes: object) -> None:
        """Sends a good message, or one that is changed."""
        self.push(json.dumps({**PLAIN, **changes}).encode(), payload)


@dataclass
class Camera:
    """`sightline camera push://...`, and where it listens."""

    process: "subprocess.Popen[str]"
    endpoint: str
    log: Path

    def stop(self) -> int:
        """SIGTERM, then its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(START_S)

    def said(self, event: str) -> list[dict[str, Any]]:
        """Its log lines of one kind."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [entry for entry in map(json.loads, lines) if entry["event"] == event]


@dataclass
class Endings:
    """How frames ended: with a header and a payload, or by a GONE's tag and reason; by seq."""

    frames: dict[int, tuple[FrameHeader, bytes]] = field(default_factory=dict)
    gone: dict[int, tuple[FrameTag, str]] = field(default_factory=dict)

    def reason(self, seq: int) -> str:
        return "frame" if seq in self.frames else self.gone[seq][1]


Open = Callable[..., Camera]
Connect = Callable[[Camera], Program]


@pytest.fixture(params=["tcp"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"push://{tmp_path}/door" if request.param == "ipc" else f"push://127.0.0.1:{free_ports(1)[0]}"


@pytest.fixture
def open_door(endpoints: tuple[str, str], url: str, tmp_path: Path) -> Iterator[Open]:
    """Starts the daemon; whatever still runs when the test ends is killed."""
    running: list[subprocess.Popen[str]] = []

    def start(*options: str, at: str = url) -> Camera:
        where = ["--work", endpoints[0], "--live", endpoints[1]]
        command = [sys.executable, "-m", "worker.cli", "camera", at, "--camera", "cam1", *where, *options]
        log = tmp_path / f"camera{len(running)}.log"
        with log.open("w") as output:
            running.append(subprocess.Popen(command, stderr=output, text=True))
        endpoint = at.replace("push:///", "ipc:///").replace("push://", "tcp://")
        return Camera(running[-1], endpoint, log)

    yield start
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Starts camera programs; what they could not send is thrown away when the test ends."""
    running: list[Program] = []
    with zmq.Context() as context:

        def start(camera: Camera) -> Program:
            socket = context.socket(zmq.PUSH)
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.SNDHWM, 1)
            socket.setsockopt(zmq.SNDTIMEO, int(START_S * 1000))
            socket.connect(camera.endpoint)
            running.append(Program(socket))
            return running[-1]

        yield start
        context.destroy(linger=0)


def endings(worker: ScriptedWorker, count: int) -> Endings:
    """Takes so many frames or GONEs in all and says that their verdicts are stored."""
    found = Endings()
    while len(found.frames) + len(found.gone) < count:
        arrival = worker.receive(patience_s=START_S)
        if isinstance(arrival, tuple):
            found.frames[arrival[0].seq] = arrival
            worker.stored(arrival[0].id)
            continue
        assert isinstance(arrival, Gone), arrival
        for tag in arrival.frames:
            found.gone[tag.seq] = tag, arrival.reason
            worker.stored(tag.id)
    return found


def fill(program: Program) -> int:
    """Pushes until the door takes no more; returns how many messages went away."""
    sent, ends = 0, time.monotonic() + 2 * START_S
    while sent < RETAINED or program.socket.poll(1000, zmq.POLLOUT):
        assert time.monotonic() < ends, f"after {sent} messages there is still room"
        program.picture(bytes(64 << 10), shape=[256, 256, 1], color="mono", part_id=f"p{sent}")
        sent += 1
    return sent


def test_each_message_becomes_one_frame_as_it_was_pushed(open_door: Open, connect: Connect, dial: Dial) -> None:
    camera, worker = open_door("--recipe", "part", "--budget-ms", "60000"), dial(recipes=("part", "other"))
    program = connect(camera)
    jpeg, png = (cv2.imencode(suffix, COLOUR)[1].tobytes() for suffix in (".jpg", ".png"))
    deep = (GREY.astype("<u2") * 300).tobytes()
    mono = {"shape": [6, 8, 1], "color": "mono"}
    program.picture(part_id="A-1", trigger=41, view="top", recipe="other", budget_ms=9000, meta={"lamp": "3"})
    program.picture(deep, **mono, dtype="uint16")
    program.picture(GREY.tobytes(), **{**mono, "color": "bayer_rggb"}, crc32=zlib.crc32(GREY.tobytes()))
    program.picture(jpeg, encoding="jpeg", transform=[[2, 0, 100.5], [0, 2, 50.5]])
    program.picture(png, encoding="png")
    worker.hello(credit=9)
    found = endings(worker, 5)
    headers, payloads = zip(*(found.frames[seq] for seq in range(5)), strict=True)
    assert payloads == (COLOUR.tobytes(), deep, GREY.tobytes(), jpeg, png), "payloads travel on as they are"
    first, second = headers[:2]
    assert (first.part_id, first.trigger, first.view, first.meta) == ("A-1", 41, "top", {"lamp": "3"})
    assert (first.recipe, first.budget_ms) == ("other", 9000)
    assert (second.recipe, second.budget_ms, second.part_id) == ("part", 60_000, None), "the camera's own settings"
    assert [header.encoding for header in headers] == ["raw", "raw", "raw", "jpeg", "png"]
    assert headers[3].transform == ((2, 0, 100.5), (0, 2, 50.5))
    assert all(header.simulated for header in headers), "only --live-camera makes it live"
    assert np.array_equal(decode(*found.frames[0]), COLOUR[:, :, ::-1])
    assert np.array_equal(decode(*found.frames[1]), GREY.astype(np.uint16) * 300)
    assert np.array_equal(decode(*found.frames[4]), COLOUR[:, :, ::-1])
    assert camera.stop() == ExitCode.OK


def test_frames_of_a_door_are_live_only_if_that_is_written_out(open_door: Open, connect: Connect, dial: Dial) -> None:
    camera, worker = open_door("--live-camera"), dial()
    connect(camera).picture()
    worker.hello(credit=1)
    assert not endings(worker, 1).frames[0][0].simulated


@pytest.mark.parametrize("url", ["ipc"], indirect=True)
def test_two_programs_push_through_one_ipc_door(open_door: Open, connect: Connect, dial: Dial) -> None:
    camera, worker = open_door(), dial()
    for program, name in ((connect(camera), "left"), (connect(camera), "right")):
        for number in range(3):
            program.picture(part_id=f"{name}{number}")
    worker.hello(credit=9)
    found = endings(worker, 6)
    parts = [found.frames[seq][0].part_id for seq in range(6)]
    assert sorted(map(str, parts)) == [f"{name}{number}" for name in ("left", "right") for number in range(3)]
    assert camera.stop() == ExitCode.OK


def header(**changes: object) -> bytes:
    return json.dumps({**PLAIN, "part_id": "bad", **changes}).encode()


def without(key: str) -> bytes:
    return json.dumps({name: value for name, value in json.loads(header()).items() if name != key}).encode()


BAD: dict[str, tuple[list[bytes], str, str | None]] = {
    # what is pushed, a word of the line in the log, the part that the verdict names
    "not json": ([b"\xff{", COLOUR.tobytes()], "header", None),
    "not an object": ([b"[1, 2]", COLOUR.tobytes()], "header", None),
    "very deep json": ([b"[" * 4000, COLOUR.tobytes()], "header", None),
    "a header that is too long": ([header(meta={"a": "b" * 5000}), COLOUR.tobytes()], "4096", None),
    "a header that has no room for stamps": (
        [header(meta={"a": "\x01" * 630}), COLOUR.tobytes()],
        "larger than 4096",
        "bad",
    ),
    "no shape": ([without("shape"), COLOUR.tobytes()], "shape", "bad"),
    "no dtype": ([without("dtype"), COLOUR.tobytes()], "dtype", "bad"),
    "no color": ([without("color"), COLOUR.tobytes()], "color", "bad"),
    "no encoding": ([without("encoding"), COLOUR.tobytes()], "encoding", "bad"),
    "an unknown key": ([header(gain=3), COLOUR.tobytes()], "gain", "bad"),
    "a key that only the publisher may write": ([header(seq=7), COLOUR.tobytes()], "seq", "bad"),
    "a frame that says itself that it is live": ([header(simulated=False), COLOUR.tobytes()], "simulated", "bad"),
    "a colour that is none": ([header(color="grey"), COLOUR.tobytes()], "color", "bad"),
    "a colour that does not fit": ([header(color="mono"), COLOUR.tobytes()], "mono", "bad"),
    "pixels of no width": ([header(shape=[6, 0, 3]), b""], "shape", "bad"),
    "a monstrous shape": ([header(shape=[1 << 40, 8, 3]), COLOUR.tobytes()], "shape", "bad"),
    "half a character": ([header().replace(b"bad", b"\\ud800"), COLOUR.tobytes()], "header", None),
    "a part that is no text": ([header(part_id=["x"]), COLOUR.tobytes()], "part_id", None),
    "a budget that is none": ([header(budget_ms=-1), COLOUR.tobytes()], "budget_ms", "bad"),
    "a recipe with a path": ([header(recipe="../part"), COLOUR.tobytes()], "recipe", "bad"),
    "a payload that is cut short": ([header(), COLOUR.tobytes()[:-1]], "143 bytes", "bad"),
    "a payload that is too long": ([header(), COLOUR.tobytes() + b"x"], "145 bytes", "bad"),
    "an empty payload": ([header(), b""], "0 bytes", "bad"),
    "a wrong checksum": ([header(crc32=1), COLOUR.tobytes()], "checksum", "bad"),
    "no jpeg": ([header(encoding="jpeg"), COLOUR.tobytes()], "JPEG", "bad"),
    "a png of another size": (
        [header(encoding="png"), cv2.imencode(".png", COLOUR[:4])[1].tobytes()],
        "4 x 8",
        "bad",
    ),
    "no payload": ([header()], "1 parts", "bad"),
    "a part too many": ([header(), COLOUR.tobytes(), b""], "3 parts", "bad"),
    "nothing at all": ([b""], "1 parts", None),
}


def test_a_bad_message_of_any_kind_ends_as_bad_frame_and_harms_no_neighbour(
    open_door: Open, connect: Connect, dial: Dial
) -> None:
    camera, worker = open_door(), dial()
    program = connect(camera)
    for number, (parts, _, _) in enumerate(BAD.values()):
        program.picture(part_id=f"good{number}")
        program.push(*parts)
    program.picture(part_id="last")
    worker.hello(credit=999)
    found = endings(worker, 2 * len(BAD) + 1)
    assert [found.frames[2 * n][0].part_id for n in range(len(BAD))] == [f"good{n}" for n in range(len(BAD))]
    assert found.frames[2 * len(BAD)][0].part_id == "last"
    ended = {name: found.reason(2 * n + 1) for n, name in enumerate(BAD)}
    assert ended == dict.fromkeys(BAD, "bad_frame")
    assert {name: found.gone[2 * n + 1][0].part_id for n, name in enumerate(BAD)} == {n: b[2] for n, b in BAD.items()}
    said = camera.said("capture can't be read, it ends as bad_frame")
    assert len(said) == len(BAD), "one line each"
    for (name, (_, word, part)), line in zip(BAD.items(), said, strict=True):
        assert word in line["error"], name
        assert line["part_id"] == part, name
    assert camera.stop() == ExitCode.OK


def test_the_verdict_of_a_bad_message_has_all_that_could_be_read_of_its_part(
    open_door: Open, connect: Connect, dial: Dial
) -> None:
    camera, worker = open_door(), dial()
    connect(camera).picture(b"short", part_id="A-7", trigger=7, view="top", recipe="other")
    worker.hello(credit=1)
    tag, reason = endings(worker, 1).gone[0]
    assert (reason, tag.part_id, tag.trigger, tag.view, tag.recipe) == ("bad_frame", "A-7", 7, "top", "other")


def test_a_message_beyond_the_hard_limit_costs_its_connection_and_the_program_goes_on(
    open_door: Open, connect: Connect, dial: Dial
) -> None:
    """It is hung up on before libzmq allocates; nothing arrived, so there is no frame, but a line in the log."""
    camera, worker = open_door(), dial()
    program = connect(camera)
    program.picture(part_id="before")
    worker.hello(credit=9)
    assert endings(worker, 1).frames[0][0].part_id == "before"
    program.picture(bytes(MAX_PART_BYTES + 1), part_id="huge")
    wait_until(lambda: bool(camera.said("a camera program is gone")), what="hung up", patience_s=START_S)
    wait_until(lambda: len(camera.said("a camera program is here")) == 2, what="dialled again", patience_s=START_S)
    worker.hello(credit=9)  # again: it may have been silent for too long
    worker.settle()  # or the frame is on its way to a HELLO that does not list it, and comes twice
    program.picture(part_id="after")
    found = endings(worker, 1)
    assert found.frames[1][0].part_id == "after", "the next seq: what never arrived was never captured"
    assert camera.stop() == ExitCode.OK


@pytest.mark.parametrize("url", ["ipc"], indirect=True)
def test_with_policy_block_a_full_door_makes_the_program_wait_and_loses_nothing(
    open_door: Open, connect: Connect, dial: Dial
) -> None:
    camera = open_door("--policy", "block")
    sent = fill(connect(camera))
    assert sent < RETAINED + 64, "beyond what is kept, a few wait in queues, and the rest in the program"
    worker = dial()
    worker.hello(credit=9999)
    assert sorted(endings(worker, sent).frames) == list(range(sent))
    assert camera.stop() == ExitCode.OK


@pytest.mark.parametrize("url", ["ipc"], indirect=True)
def test_told_to_stop_while_full_it_still_takes_what_is_on_its_way(
    open_door: Open, connect: Connect, dial: Dial
) -> None:
    camera = open_door("--policy", "block")
    sent = fill(connect(camera))
    camera.process.send_signal(signal.SIGTERM)
    worker = dial()
    worker.hello(credit=9999)
    assert sorted(endings(worker, sent).frames) == list(range(sent))
    assert camera.process.wait(START_S) == ExitCode.OK


def test_with_policy_drop_oldest_the_door_never_waits_and_the_oldest_end_as_lost(
    open_door: Open, connect: Connect, dial: Dial
) -> None:
    camera, more = open_door("--policy", "drop_oldest"), 40
    program = connect(camera)
    for number in range(RETAINED + more):
        program.picture(part_id=f"p{number}")
    worker = dial()
    worker.hello(credit=0)
    lost = endings(worker, more)
    assert sorted(lost.gone) == list(range(more))
    assert {reason for _, reason in lost.gone.values()} == {"lost"}
    worker.grant(9999)
    assert sorted(endings(worker, RETAINED).frames) == list(range(more, RETAINED + more))
    assert camera.stop() == ExitCode.OK


UNSAFE = ["push://0.0.0.0:5557", "push://192.168.0.7:5557", "push://[::]:5557", "push://127.0.0.1:*", "push://"]


@pytest.mark.parametrize("url", UNSAFE)
def test_a_door_that_is_not_on_this_machine_alone_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"push://127\.0\.0\.1:PORT"):
        PushSource(url)


@pytest.mark.parametrize(("loop", "rate"), [(True, 0.0), (False, 2.0)])
def test_a_pace_for_a_camera_program_is_refused(loop: bool, rate: float) -> None:
    with pytest.raises(SettingsError, match="own pace"):
        choose_source("push://127.0.0.1:5557", loop=loop, rate=rate)


def test_even_with_insecure_a_door_to_other_machines_ends_with_the_code_for_settings(open_door: Open) -> None:
    camera = open_door("--insecure", at="push://0.0.0.0:5557")
    assert camera.process.wait(START_S) == ExitCode.SETTINGS
    assert "push://0.0.0.0:5557" in camera.log.read_text()


@pytest.mark.parametrize("url", ["tcp", "ipc"], indirect=True)
def test_a_door_that_somebody_has_ends_with_the_code_for_it(
    open_door: Open, connect: Connect, dial: Dial, url: str, tmp_path: Path
) -> None:
    """And whoever has it keeps it."""
    first = open_door()
    wait_until(lambda: bool(first.said("publishing")), what="the first door", patience_s=START_S)
    connect(first).picture()
    wait_until(lambda: bool(first.said("a camera program is here")), what="the first door", patience_s=START_S)
    ports = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    own_state = ("--state", str(tmp_path / "second"))
    second = open_door("--work", next(ports), "--live", next(ports), *own_state)
    assert second.process.wait(START_S) == ExitCode.ADDRESS_TAKEN
    assert first.endpoint in second.log.read_text()
    connect(first).picture()
    worker = dial()
    worker.hello(credit=9)
    assert sorted(endings(worker, 2).frames) == [0, 1]
