"""The gate: from verdicts to the PLC that opens the reject gate. DESIGN: "The gate".

In the order of the flow:

- `settings`   what a gateway is told
- `lease`      one gateway a gate
- `results`    hands each verdict on, from now
- `live`       hears the header-only live topic, where the PLC does not arm the timers
- `inbox`      all that happens, in order, with its time
- `machine`    parts, verdicts and requests in; opens for a PASS of every view alone. Pure, as are its pieces:
  `deciding`, `parts`, `standing`, `roll`, `belt`, `ring`, `numbering`, `strangers`, `sessions`, `clock`, `capture`,
  `rules`
- `status`     what a PLC is shown
- `plc`        what a PLC may ask for, and what every link to one can do
- `registers`  the same as Modbus registers, `commands` the way back, `words` how numbers and text lie in them
- `modbus_server`, `modbus_client`  the links; `image` is what they show, `modbus_caller` one client of the server
- `reign`      the machine with its readers and its link, for as long as a gateway has the gate
- `gateway`    the loop, and who has the gate; `daemon`, `health`, `gauges` and `cli` around it
"""
