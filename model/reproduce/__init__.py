"""The paper's tables and figures anew: what it says, stored cells, one trial, then tables, figures and novelty.

In the order of the flow: `paper` (its figures as data), `study` (which recipe, which data), `store` (finished cells),
`trial` (one training), `grid` (cells of variants on categories), `outcome` (ours beside the paper's), and on top of
them `tables` (1 to 4), `cifar` and `novelty` (table 5), `figures` and `sheet` (figures 4 to 8).
"""
