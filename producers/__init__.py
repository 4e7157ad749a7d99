"""Beside the camera: how a frame comes to be, and how it is kept until its verdict is stored.

In the order of the flow:

- `sources`    folders of pictures; every source is a stream of captures
- `push`       the other source: a door for camera programs in any language
- `parts`      drawn parts, for the demo
- `frame`      a frame's header, payload and identity, as they travel
- `retention`  which frame is where: kept until stored, handed to one worker at a time
- `publisher`  the two sockets, and the few lines a camera program writes
- `protocol`   the messages between publisher and worker
- `camera`     the daemon `sightline camera`
- `daemon`     what every daemon shares: settings, logs, signals

This package needs neither torch nor Redis, and nothing in it depends on Unix.
"""
