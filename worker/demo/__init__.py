"""The whole line on one machine: what `sightline demo` does, in the order in which it does it.

- `processes`  starts a private Redis and the daemons, and ends all of them whatever happens
- `run`        draws, trains, inspects, sums up
- `screen`     the live table
- `summary`    what came of it, beside a baseline
- `sheet`      the rejected parts with their heat maps, as one picture
"""
