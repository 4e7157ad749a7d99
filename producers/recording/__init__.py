"""Recordings: frames as they were captured, in MCAP files that other tools open, and their way back onto a line.

In the order of the flow:

- `protobuf`  the few lines of protobuf's wire format that an image needs
- `foxglove`  a frame as an image message, its header beside the pixels
- `message`   what lies in a recording: frames, frames without pixels, verdicts
- `claim`     whether a file is being written just now
- `file`      one MCAP file being written, chunk by chunk
- `rotation`  which file is written next, and which is removed
- `recorder`  takes frames and never makes anybody wait
- `listening` `sightline record`: from a live socket to a recorder
- `unpacking` a chunk's compression undone, within its size
- `reading`   what is in a file, also in one that was cut off
- `folder`    many files as one recording, in time order
- `examine`   whether a file is whole, and how it is made whole again
- `judged`    what verdicts a recording holds
- `replay`    its frames as captures, each when it is due
- `daemon`    `sightline replay`
- `dataset`   its frames and verdicts as pictures to train with

The MCAP library is asked for only here: `pip install 'sightline[record]'`.
"""
