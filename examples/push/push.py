"""A camera program in Python. All it knows of Sightline is the push door.

Start the door, then this program, which sends COUNT pictures (for ever without it):

    sightline camera push://127.0.0.1:5557 --camera cam1
    pip install pyzmq numpy
    python push.py tcp://127.0.0.1:5557 10

Without --live-camera every frame is marked as simulated and opens no gate; a live line wants --policy drop_oldest, too.
"""

import itertools
import json
import sys

import numpy as np
import zmq


def grab(number: int) -> np.ndarray:
    """Your camera's SDK goes here. Returns (H, W, 3) BGR, uint8."""
    image = np.zeros((480, 640, 3), np.uint8)
    image[100:200, 100:200] = number % 256
    return image


def main(endpoint: str, count: int | None) -> None:
    """Pushes pictures, each with the header that the door asks for."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.setsockopt(zmq.SNDHWM, 4)  # while the door is full, wait in send: no pile of stale pictures
        push.setsockopt(zmq.LINGER, 10_000)  # at the end, milliseconds to get the last ones out
        push.connect(endpoint)
        for number in range(count) if count is not None else itertools.count():
            image = grab(number)
            # Optional besides part_id and trigger: view, recipe, budget_ms, meta, crc32, transform. For a JPEG or PNG
            # file, send its bytes as they are, with "encoding": "jpeg" or "png".
            header = {
                "shape": image.shape,
                "dtype": "uint8",
                "color": "bgr",
                "encoding": "raw",
                "part_id": f"P-{number}",
                "trigger": number,
            }
            push.send_multipart([json.dumps(header).encode(), np.ascontiguousarray(image)])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None)
