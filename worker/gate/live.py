"""Hears the headers of frames on the cameras' live topic, where the PLC does not arm the timers.

The live topic is best effort: a header that is lost arms nothing, and its part is rejected.
"""

import threading
from collections.abc import Mapping
from typing import Any

import structlog
import zmq

from producers.errors import BadFrame
from producers.frame import MAX_HEADER_BYTES, FrameHeader
from producers.keys import KeyPair
from producers.protocol import FRAME
from worker.gate.inbox import Inbox
from worker.gate.settings import LiveSettings

log = structlog.get_logger("gate")

LOOK_MS = 200
DEAF_LOOKS = 150  # half a minute: a refused handshake leaves a socket deaf for ever


class Headers:
    """Hears headers in a thread of its own.

    Args:
        cameras: by name.
        key: of this gateway, for cameras that have one.
        inbox: where headers go.
    """

    def __init__(self, cameras: Mapping[str, LiveSettings], key: KeyPair | None, inbox: Inbox) -> None:
        self._cameras, self._key, self._inbox = dict(cameras), key, inbox
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="headers", daemon=True)
        self.refused = 0

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Ends the thread and its sockets."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        with zmq.Context() as context:
            ears = {name: self._listen(context, name) for name in self._cameras}
            silent = dict.fromkeys(ears, 0)
            while not self._stopping.is_set():
                for name, ear in ears.items():
                    silent[name] += 1
                    if silent[name] > DEAF_LOOKS and self._cameras[name].server_key:
                        ear.close()
                        ears[name], silent[name] = self._listen(context, name), 0
                poller = zmq.Poller()
                for ear in ears.values():
                    poller.register(ear, zmq.POLLIN)
                heard = dict(poller.poll(LOOK_MS))
                for name, ear in ears.items():
                    while heard and self._hear(name, ear):
                        silent[name] = 0
            for ear in ears.values():
                ear.close()

    def _listen(self, context: "zmq.Context[Any]", name: str) -> "zmq.Socket[bytes]":
        camera = self._cameras[name]
        ear: zmq.Socket[bytes] = context.socket(zmq.SUB)
        ear.setsockopt(zmq.LINGER, 0)
        ear.setsockopt(zmq.RCVHWM, 1000)
        ear.setsockopt(zmq.MAXMSGSIZE, 2 * MAX_HEADER_BYTES)
        ear.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        ear.setsockopt(zmq.HEARTBEAT_TIMEOUT, 5000)
        ear.setsockopt(zmq.RECONNECT_IVL, 50)
        ear.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        if camera.server_key and self._key:
            self._key.introduce(ear, server_key=camera.server_key)
        ear.setsockopt(zmq.IPV6, 1 if "[" in camera.live else 0)
        ear.subscribe(f"{name}/header".encode())
        ear.connect(camera.live)
        return ear

    def _hear(self, name: str, ear: "zmq.Socket[bytes]") -> bool:
        """Hands on one header. Returns whether there was one."""
        try:
            parts = ear.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return False
        try:
            if len(parts) != 4 or parts[1] != FRAME:
                raise BadFrame("it is no frame's header")
            tag = FrameHeader.from_bytes(parts[2]).tag()
            if tag.camera != name:
                raise BadFrame(f"it is of camera {tag.camera}")
        except BadFrame as error:
            self.refused += 1
            log.debug("a header was refused", camera=name, why=str(error))
            return True
        self._inbox.put(tag)
        return True
