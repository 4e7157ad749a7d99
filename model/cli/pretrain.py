"""`sightline pretrain`: a backbone of one's own, from drawn pictures."""

from pathlib import Path
from typing import Annotated

import typer

from model.cli.screen import Device, bars, to_stderr


def pretrain(
    out: Annotated[Path, typer.Argument(help="File to write, .safetensors; its card and its curves lie beside it.")],
    images: Annotated[
        Path | None, typer.Option(help="Your own pictures, as for train: half of the surfaces are pieces of them.")
    ] = None,
    pictures: Annotated[int, typer.Option(min=1, help="Drawn in all; each is seen once.")] = 250_000,
    size: Annotated[int, typer.Option(min=32, help="Of a picture, pixels: a multiple of 16.")] = 96,
    batch: Annotated[int, typer.Option(min=2, help="Pictures a step.")] = 64,
    learning_rate: Annotated[float, typer.Option(min=0, help="Of AdamW at its height.")] = 2e-3,
    weight_decay: Annotated[float, typer.Option(min=0, help="Of AdamW.")] = 0.02,
    warm_up: Annotated[int, typer.Option(min=1, help="Steps with small pictures and a rising learning rate.")] = 400,
    warm_up_size: Annotated[int, typer.Option(min=32, help="Of those pictures, pixels: a multiple of 16.")] = 48,
    seed: Annotated[int, typer.Option(help="Of everything.")] = 0,
    device: Device = "auto",
) -> int:
    """Pretrain a ResNet-18 trunk on surfaces drawn by formula: nobody's pictures, nobody's licence.

    `sightline train --weights OUT` then builds on it. About 170 pictures/s on two CPU cores with bfloat16 units. A
    pretraining that was interrupted goes on where it was when the same command is given again.
    """
    from model.dataset import good_pictures, read_each
    from model.errors import DataError
    from model.pretrain.making import make_weights
    from model.pretrain.training import PretrainSettings

    for flag, side in (("--size", size), ("--warm-up-size", warm_up_size)):
        if side % 16:
            raise DataError(f"{flag} {side} is no multiple of 16")
    settings = PretrainSettings(
        pictures=pictures,
        size=size,
        batch=batch,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        warm_up=warm_up,
        warm_up_size=warm_up_size,
        seed=seed,
    )
    console = to_stderr()
    found = good_pictures(images) if images else []
    seen = read_each(found, lambda error: console.print(f"skipped: {error}", markup=False))
    with bars(console) as progress:
        card = make_weights(out, settings, images=list(seen.values()), device=device, progress=progress)
    console.print(card, markup=False)
    return 0
