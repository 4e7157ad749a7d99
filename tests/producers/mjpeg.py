"""A small network camera for tests: MJPEG over HTTP, which can be stopped and started again on the same port."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np

HEIGHT, WIDTH = 48, 64


def jpeg(brightness: int) -> bytes:
    """A picture of one brightness, with some noise so that it has a length."""
    noise = np.random.default_rng(brightness).integers(0, 9, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    done, data = cv2.imencode(".jpg", noise + np.uint8(brightness))
    assert done
    return data.tobytes()


class MjpegCamera:
    """Sends pictures to whoever asks, each a bit brighter than the one before, until it is stopped.

    Args:
        port: 0: a free one.
        rate: pictures a second.

    Attributes:
        sent: pictures so far.
        torn: whether the next pictures break off in the middle.
        silent: whether it says nothing while its connections stay open.
    """

    def __init__(self, port: int = 0, *, rate: float = 50.0) -> None:
        self.sent, self.torn, self.silent = 0, False, False
        self.pause_s = 1 / rate
        self.stopping = threading.Event()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.camera = self
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/video"

    def stop(self) -> None:
        """Ends; its port is free again."""
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    camera: MjpegCamera
    block_on_close = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever hangs up may."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        camera = self.server.camera
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
        self.end_headers()
        while not camera.stopping.wait(camera.pause_s):
            if camera.silent:
                continue
            data = jpeg(20 + camera.sent % 200)
            data = data[: len(data) // 2] if camera.torn else data
            camera.sent += 1
            self.wfile.write(b"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data))
            self.wfile.write(data + b"\r\n")

    def log_message(self, *_: Any) -> None:
        """Quiet."""
