"""`sightline train`: from a folder of good pictures to a bundle."""

from pathlib import Path
from typing import Annotated, Any

import typer

from model.cli.screen import Device, FalseReject, Ignore, MinArea, TopK, bars, to_stderr


def _network(help_text: str, **bounds: Any) -> Any:
    return typer.Option(help=help_text, rich_help_panel="The network", **bounds)


def _recipe(help_text: str, **bounds: Any) -> Any:
    return typer.Option(help=help_text, rich_help_panel="Its training", **bounds)


def train(
    data: Annotated[Path, typer.Argument(help="Pictures of good parts: a folder, MVTec layout, or a CSV file.")],
    out: Annotated[Path, typer.Option(help="Directory of the bundle; an older bundle there is replaced.")],
    name: Annotated[str | None, typer.Option(help="Of the recipe; by default the directory's name.")] = None,
    false_reject: FalseReject = None,
    preset: Annotated[str | None, typer.Option(help="paper: section 4.3 to the letter. Hours without a GPU.")] = None,
    ignore: Ignore = None,
    min_area: MinArea = None,
    top_k: TopK = None,
    seed: Annotated[int, typer.Option(help="Of the split, the head's start and the noise.")] = 0,
    device: Device = "auto",
    cache_gib: Annotated[float, typer.Option(min=0, help="Features beyond so many GiB lie in a file.")] = 4.0,
    backbone: Annotated[str | None, _network("resnet18 (the default), resnet50, resnet101 or wide_resnet50_2.")] = None,
    weights: Annotated[str | None, _network("auto (the default: see below), own, imagenet, random or a file.")] = None,
    levels: Annotated[str | None, _network("Of the backbone, some of 1,2,3; by default 2,3.")] = None,
    patch_size: Annotated[int | None, _network("Neighbourhood average: 1, 3 (the default), 5...")] = None,
    adaptor: Annotated[str | None, _network("none, linear (the default) or mlp.")] = None,
    hidden: Annotated[int | None, _network("Width of the discriminator; by default 1024.", min=1)] = None,
    size: Annotated[str | None, _network("Network input in pixels, 224 or HEIGHTxWIDTH.")] = None,
    resize: Annotated[str | None, _network("Resize to this, then crop the middle; by default no crop.")] = None,
    steps: Annotated[int | None, _recipe("Optimiser steps.", min=1)] = None,
    epochs: Annotated[int | None, _recipe("Passes over the pictures, instead of steps.", min=1)] = None,
    positions: Annotated[int | None, _recipe("Feature positions a step; 0: whole pictures.", min=0)] = None,
    batch: Annotated[int | None, _recipe("Pictures a step where it takes whole ones.", min=1)] = None,
    sigma: Annotated[float | None, _recipe("Anomaly noise; by default it follows the features.", min=1e-6)] = None,
    adaptor_start: Annotated[str | None, _recipe("identity (the default) or xavier: a linear adaptor's start.")] = None,
    loss: Annotated[str | None, _recipe("truncated_l1 (the default) or cross_entropy.")] = None,
    learning_rate_adaptor: Annotated[float | None, _recipe("Of Adam.", min=0)] = None,
    learning_rate_discriminator: Annotated[float | None, _recipe("Of Adam.", min=0)] = None,
    weight_decay: Annotated[float | None, _recipe("Of Adam.", min=0)] = None,
    ema: Annotated[float | None, _recipe("Decay of the weights' average; 0: the last.", min=0, max=0.99999)] = None,
) -> int:
    """Learn what good parts look like, and where to draw the line.

    Four fifths of the good pictures train the network, the last fifth is used for nothing but the threshold. The loss
    curve and the scores lie in the bundle, too. A training that was interrupted goes on where it was.

    Weights are of the backbone. auto takes torchvision's ImageNet weights where they lie in its cache, else our own,
    which were learnt from surfaces drawn by formula and come with Sightline; imagenet downloads them.
    """
    from model.making import make_bundle
    from model.plan import Plan

    given = {
        "backbone": backbone,
        "levels": levels,
        "patch_size": patch_size,
        "adaptor": adaptor,
        "hidden": hidden,
        "size": size,
        "resize": resize,
        "weights": weights,
        "seed": seed,
        "steps": steps,
        "epochs": epochs,
        "positions": positions,
        "batch_images": batch,
        "sigma": sigma,
        "adaptor_start": adaptor_start,
        "loss": loss,
        "learning_rate_adaptor": learning_rate_adaptor,
        "learning_rate_discriminator": learning_rate_discriminator,
        "weight_decay": weight_decay,
        "ema_decay": ema,
        "min_area": min_area,
        "top_k": top_k,
    }
    plan = Plan.of(given, preset=preset, ignore=ignore, false_reject_rate=false_reject)
    console = to_stderr()
    with bars(console) as progress:
        bundle = make_bundle(
            data,
            out,
            plan,
            name=name,
            device=device,
            cache_bytes=int(cache_gib * 1024**3),
            progress=progress,
            tell=lambda sentence: console.print(sentence, markup=False),
        )
    manifest = bundle.manifest
    console.print(
        f"{bundle.label} in {out}: {manifest.provenance['good_pictures']} good pictures "
        f"({manifest.provenance['skipped']} skipped), {manifest.calibration.promise()}",
        markup=False,
    )
    return 0
