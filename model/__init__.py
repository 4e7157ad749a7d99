"""The network: SimpleNet (Liu et al., CVPR 2023), from pictures to an anomaly score.

In the order of the flow:

- `images`, `dataset`   picture files; labelled sets of them
- `preprocessing`       picture -> network input, the same code for training and for the line
- `backbone`            the frozen trunk and its weights
- `simplenet`           the boxes of the paper's Figure 3
- `settings`, `plan`    how a training is asked for
- `features`            the frozen features, extracted once
- `fitting`             the head, trained on them
- `scoring`             anomaly map -> score
- `calibration`         good scores -> threshold
- `training`, `making`  all of these, to a network, to a bundle
- `bundle`              everything to judge one recipe, in one directory
- `threshold`           a bundle's threshold anew
- `engine`, `parts`     pictures -> anomaly maps and scores; how many at once
- `anomaly_map`         what a map says: regions, the smooth full-resolution picture (no torch)
- `metrics`, `evaluation`, `report`   how well a bundle tells good from bad
- `challenge`, `repeatability`        whether it still does, on parts one knows
- `reproduce`           the paper's tables and figures again
- `cli`                 the commands

Only some modules need torch; those import it themselves.
"""

import os

# Threads of GNU OpenMP, which torch brings, spin for each other: wherever a camera or Redis has one of the cores for a
# moment, a batch takes up to seven times as long. Spinning for some ten microseconds costs next to nothing; with less,
# they fall asleep between two layers. All measured on two cores. The variable is read when torch is loaded: hence here.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
