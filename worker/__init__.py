"""The line: from frames on a socket to verdicts in Redis, and to those who read them.

In the order of the flow:

- `settings`  what a worker is told
- `intake`    dials the publishers, bounds what is in hand by credit
- `batcher`   forms micro-batches, earliest deadline first
- `recipes`   the bundles a worker judges with
- `judge`     what the network says -> pass or fail, and why
- `verdict`   the one record a frame ends as
- `drift`     have scores risen above those that set the threshold? `watches`: for each camera and recipe
- `evidence`  keeps pictures of rejected parts, in a bounded folder, and in Redis if you like
- `sink`      writes each verdict once
- `pipeline`  the worker: all of the above, in one process
- `reader`    follows the verdicts, alone or in a group; needs no torch. `async_reader` is its twin
- `gate`      tells a PLC whether the gate may open; needs no torch either
- `audit`     finds frames without a verdict, and frames with two
- `recording` verdicts beside the frames of a recording
- `compare`   what two judges of one recording say differently
- `heatmap`   an anomaly map as a small PNG, and as a picture for people
- `demo`      the whole line on one machine, in a minute
- `check`     settings and connections, tried one by one
- `cli`       the `sightline` command; the one place that sees everything, and it imports late
"""
