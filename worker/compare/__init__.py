"""What two judges say of the same recorded frames, and what of it differs.

- `opinion`  what a verdict says of a frame, wherever it comes from
- `sources`  a recording, a file of verdicts, a line in Redis
- `rejudge`  a bundle judges the recording now
- `changes`  what differs, frame by frame
- `page`     the same with pictures, as one HTML page
- `cli`      `sightline compare`
"""
