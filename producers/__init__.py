"""Beside the camera: how a frame comes to be, and how it is kept until its verdict is stored.

In the order of the flow:

- `choosing`      which source is meant: a folder, a video, a camera, a stream or a camera program
- `sources`       folders of pictures; every source is a stream of captures
- `video`         video files
- `live_source`   cameras and streams: opened anew whenever they are lost
- `opencv_camera` USB cameras and network streams
- `aravis_camera` GigE Vision and USB3 Vision cameras; `basler_camera`: Basler's
- `frame_ids`     what is missing from a camera's own numbers
- `draining`      threads that empty a driver's queue
- `attribution`   which part a picture shows; `announced`: because a reader or the PLC said so
- `part_lines`    what they say, a line a part
- `push`          the other way in: a door for camera programs in any language
- `shaping`       what is done to a picture before the wire
- `transform`     where its pixels lie on the sensor
- `parts`         drawn parts, for the demo
- `frame`         a frame's header, payload and identity, as they travel
- `retention`     which frame is where: kept until stored, handed to one worker at a time
- `record`        one session on disk: two checksummed slots
- `journal`       the frames of a publisher that was killed end as `lost`
- `publisher`     the two sockets, and the few lines a camera program writes
- `watching`      a viewer of live sockets; `viewing` is what it knows
- `recording`     frames in files, and back onto a line
- `keys`          who a camera, a worker or a viewer is: key pairs and lists, in files
- `doorkeeper`    whose key may come in at which socket
- `protocol`      the messages between publisher and worker
- `gauges`        a camera's numbers for Prometheus
- `metrics`       the HTTP server that any daemon shows its numbers with
- `camera`        the daemon `sightline camera`
- `daemon`        what every daemon shares: settings, logs, signals

This package needs neither torch nor Redis, and nothing in it depends on Unix, but for serial ports.
"""
