"""`sightline bench gate`: a conveyor whose parts pass cameras, workers, Redis, a gateway and a PLC, all of them broken.

In the order of the flow:

- `plan`      what comes along and what is broken when, from one seed
- `camera`    takes the pictures, a process for each view
- `worker`    judges them without a network
- `forger`    writes what nobody judged
- `plc`       polls the gateway; its logic is `program`, its side of the ring `results`
- `rig`       all of these processes
- `blows`     kills and stops them
- `evidence`  what stream and logs say of each part
- `oracle`    who had to open, found without the gate
- `report`    the oracle's word beside what the PLC did
- `run`       all of it, once
- `latency`   another bench: from XADD to a PLC that polls, `quick_plc`, and nothing broken
"""
