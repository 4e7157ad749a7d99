"""The gate: from verdicts to the PLC that opens the reject gate. DESIGN: "The gate".

In the order of the flow:

- `settings`   what a gateway is told
- `lease`      one gateway a gate
- `results`    hands each verdict on, from now
- `live`       arms parts from the header-only live topic, where the PLC does not
- `machine`    decides about each part, and opens the gate for a PASS of every view alone; pure
- `status`     what a PLC is shown
- `plc`        what a PLC may ask for, and what every link to one can do
- `registers`  the same as Modbus registers
- `gateway`    all of the above, in one process
"""
