"""What `model` brings to the `sightline` command: train a bundle, set its threshold, judge with it."""
