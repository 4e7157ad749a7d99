"""The live end of a publisher: frames for viewers, best effort. DESIGN: "From camera to worker"."""

import time

import zmq
from zmq.utils.monitor import recv_monitor_message

from producers.doors import ZERO_COPY_BYTES
from producers.frame import Frame
from producers.protocol import FRAME


class LiveView:
    """Shows frames and their headers to whoever watches. A slow viewer loses frames; it never slows the line.

    While nobody is connected, nothing is encoded and no picture is copied. All methods belong to one thread.

    Args:
        socket: a PUB that is bound; from here on this class owns it.
        camera: its name, the first half of each topic.
    """

    def __init__(self, socket: "zmq.Socket[bytes]", camera: str) -> None:
        self._socket = socket
        self._topics = {name: f"{camera}/{name}".encode() for name in ("header", "frame")}
        self._viewers: set[int] = set()
        self.events: zmq.Socket[bytes] = socket.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)

    def hear(self) -> None:
        """Learns who came and who went. To be called when `events` can be read."""
        while self.events.poll(0):
            found = recv_monitor_message(self.events, zmq.NOBLOCK)
            change = self._viewers.add if found["event"] == zmq.EVENT_ACCEPTED else self._viewers.discard
            change(found["value"])  # the connection's file descriptor

    def show(self, frame: Frame) -> None:
        """Shows a frame that was captured just now."""
        if self._viewers:
            header = frame.stamped(now=time.monotonic(), attempt=1).to_bytes()
            self._send([self._topics["header"], FRAME, header, b""])
            self._send([self._topics["frame"], FRAME, header, frame.payload])

    def close(self) -> None:
        """Closes the sockets; what a viewer has not taken yet is gone."""
        self._socket.disable_monitor()
        for socket in (self.events, self._socket):
            socket.close(linger=0)

    def _send(self, parts: list[bytes]) -> None:
        try:
            self._socket.send_multipart(parts, zmq.NOBLOCK, copy=len(parts[-1]) < ZERO_COPY_BYTES)
        except zmq.Again:
            return  # best effort: a slow viewer never slows the line
