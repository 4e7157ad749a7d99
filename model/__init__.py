"""The network: SimpleNet (Liu et al., CVPR 2023), from pictures to an anomaly score.

In the order of the flow:

- `dataset`        pictures on disk, in the MVTec layout
- `preprocessing`  picture -> network input, the same code for training and for the line
- `backbone`       the frozen trunk and its weights
- `simplenet`      the boxes of the paper's Figure 3
- `training`       the head, trained on cached features
- `calibration`    good scores -> threshold
- `bundle`         everything to judge one recipe, in one directory
- `engine`         pictures -> anomaly maps and scores
- `anomaly_map`    what a map says: score, regions, the smooth full-resolution picture (no torch)
- `metrics`        how well a bundle tells good from bad

Only some modules need torch; those import it themselves.
"""
