"""A backbone of our own, in the order of the flow: textures, marks on them, places to name, the training."""
