"""`sightline calibrate`: a bundle's threshold anew, from pictures it has never seen."""

from pathlib import Path
from typing import Annotated

import typer

from model.cli.screen import BundlePath, Device, FalseReject, Ignore, MinArea, TopK, bars, to_stderr


def calibrate(
    bundle: BundlePath,
    good: Annotated[Path, typer.Argument(help="Good pictures that the network has not learned from.")],
    false_reject: FalseReject = None,
    ignore: Ignore = None,
    min_area: MinArea = None,
    top_k: TopK = None,
    device: Device = "auto",
) -> int:
    """Set a bundle's threshold anew, for a new camera, lamp, lot or false-reject rate.

    The threshold is the k-th smallest score of n good pictures, k = ceil((n + 1)(1 - rate)): then at most that share
    of good parts like these fails, on average. 19, 99 or 999 pictures promise 5 %, 1 % or 0.1 %.
    """
    from model.threshold import recalibrate

    console = to_stderr()
    with bars(console) as progress:
        fresh = recalibrate(
            bundle,
            good,
            false_reject_rate=false_reject,
            top_k=top_k,
            min_area=min_area,
            ignore=ignore,
            device=device,
            progress=progress,
            tell=lambda sentence: console.print(sentence, markup=False),
        )
    console.print(f"{fresh.label} in {bundle}: {fresh.manifest.calibration.promise()}", markup=False)
    return 0
