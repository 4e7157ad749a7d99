"""How fast the engine is on this machine, beside the plain network and beside what the machine can do at most."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from model.anomaly_map import smooth
from model.bundle import Architecture
from model.engine import Engine
from model.features import Progress
from model.fusion import Trunk, fuse_head
from model.images import Image
from model.modes import EXACT, Mode, dtype_of
from model.parts import batch_seconds, fastest
from model.preprocessing import Preprocessing, as_tensor
from model.simplenet import SimpleNet, anomaly_map

WARM = 2
"""Rounds before the first that counts."""


class Literal(nn.Module):
    """SimpleNet as the paper's formulas read: each neighbourhood unfolded and averaged, nothing fused, float32."""

    def __init__(self, network: SimpleNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Args: images: (B, 3, H, W) normalised. Returns: (B, h, w) anomaly map."""
        extractor = self.network.extractor
        levels = []
        for level in extractor.backbone(images):
            patches = F.unfold(level, extractor.patch_size, padding=extractor.patch_size // 2)  # (B, C * p * p, h * w)
            batch, channels = level.shape[:2]
            averaged = patches.reshape(batch, channels, extractor.patch_size**2, -1).mean(dim=2)  # (B, C, h * w)
            levels.append(averaged.reshape(level.shape))
        size = levels[0].shape[-2:]
        resized = [F.interpolate(level, size=size, mode="bilinear", align_corners=False) for level in levels]
        return anomaly_map(self.network.head, torch.cat(resized, dim=1))


@dataclass(frozen=True)
class Case:
    """One way to compute, measured.

    Attributes:
        name: what was run.
        batch: frames that it was handed at once.
        ms: median of a frame, milliseconds.
        images_per_s: 1000 / ms.
        peak_mib: highest resident memory of the process while it ran; None where the system does not tell.
    """

    name: str
    batch: int
    ms: float
    images_per_s: float
    peak_mib: float | None


@dataclass(frozen=True)
class Benchmark:
    """What `sightline bench model` found.

    Attributes:
        ratio: engine over literal network, images/s at the batch that was asked for.
        roof_share: operations that the engine executes a second, over the larger roof.
        mode: of the engine.
        machine: device and threads.
        operations: of one frame, additions and multiplications, in the fused network; `literal` in the plain one.
        roof: operations a second of stated shapes in the engine's precision.
        cases: every way to compute.
        stages: of one frame in the engine, as many at once as are fastest, milliseconds.
        at_once: how many those are, of the asked-for batch at most.
    """

    ratio: float
    roof_share: float
    mode: str
    machine: str
    operations: dict[str, float]
    roof: dict[str, float]
    cases: list[Case]
    stages: dict[str, float]
    at_once: int

    def to_json(self) -> dict[str, object]:
        """For machines."""
        return asdict(self)


def bench_model(
    backbone: str,
    *,
    batch: int,
    mode: Mode,
    device: str,
    size: int = 224,
    rounds: int = 15,
    progress: Progress = lambda what, done, total: None,
) -> Benchmark:
    """Measures the engine and the plain network in turns, so that a noisy machine is noisy for both.

    Weights are random: they cost what any others do.

    Args:
        backbone: one of `BACKBONES`.
        batch: frames that each way to compute is handed at once.
        mode: of the engine.
        device: `cpu`, `cuda` or `cuda:1`.
        size: of the square network input and of the frames, pixels.
        rounds: of which the median is taken.
        progress: told after each round.
    """
    architecture, preprocessing = Architecture.model_validate({"backbone": backbone}), _square(size)
    network = architecture.build(weights="random").eval()
    engine = Engine(network, preprocessing, device=device, mode=mode)
    exact = engine if mode in EXACT.values() else Engine(network, preprocessing, device=device)
    images = noise(size, batch)
    for one in {exact, engine}:
        one.at_once = fastest(batch_seconds(one, images[0], batch))
    literal = Literal(network).to(engine.device)
    pixels = torch.stack([preprocessing(image) for image in images]).to(engine.device)
    last = pixels.contiguous(memory_format=torch.channels_last)
    cases: dict[tuple[str, int], Callable[[], object]] = {}
    for n in sorted({1, batch}):
        cases["literal", n] = partial(_to_host, literal, pixels[:n])
        cases["literal, channels_last", n] = partial(_to_host, literal, last[:n])
        cases["engine, float32", n] = partial(exact.inspect, images[:n])
        cases[f"engine, {mode}", n] = partial(engine.inspect, images[:n])
    with torch.inference_mode():
        found, times = in_turns(cases, rounds, progress)
        roof = _roof(mode, engine.device, batch)
        operations = {"engine": _operations(network, size), "literal": _counted(lambda: literal(pixels[:1]))}
        stages = _stages(engine, images[: engine.at_once], rounds)
    engine_s = times[f"engine, {mode}", batch]
    return Benchmark(
        ratio=times["literal", batch] / engine_s,
        roof_share=operations["engine"] * batch / engine_s / max(roof.values()),
        mode=str(mode),
        machine=f"{engine.device}, torch {torch.__version__}, {torch.get_num_threads()} threads",
        operations=operations,
        roof=roof,
        cases=found,
        stages=stages,
        at_once=engine.at_once,
    )


def _to_host(network: nn.Module, images: Tensor) -> Tensor:
    maps: Tensor = network(images)
    return maps.cpu()


def noise(size: int, count: int) -> list[Image]:
    """Random square RGB frames, uint8: they take as long as any others do."""
    return [np.random.default_rng(seed).integers(0, 256, (size, size, 3)).astype(np.uint8) for seed in range(count)]


def _square(size: int) -> Preprocessing:
    return Preprocessing(resize=(size, size), crop=(size, size))


def in_turns(
    runs: Mapping[tuple[str, int], Callable[[], object]], rounds: int, progress: Progress
) -> tuple[list[Case], dict[tuple[str, int], float]]:
    """Measures ways to compute by turns, so that a noisy machine is noisy for all of them.

    Args:
        runs: by name and frames that it is handed at once.
        rounds: of which the median is taken; `WARM` more go before.
        progress: told after each round.

    Returns:
        A case each, and the median seconds of each run.
    """
    times: dict[tuple[str, int], list[float]] = {case: [] for case in runs}
    peaks: dict[tuple[str, int], float | None] = {}
    for turn in range(WARM + rounds):
        for case, run in runs.items():
            if turn == 0:
                _forget_peak()
            started = time.perf_counter()
            run()
            times[case].append(time.perf_counter() - started)
            if turn == 0:
                peaks[case] = _peak_mib()
        progress("rounds", turn + 1, WARM + rounds)
    medians = {case: statistics.median(taken[WARM:]) for case, taken in times.items()}
    cases = [Case(*case, took / case[1] * 1e3, case[1] / took, peaks[case]) for case, took in medians.items()]
    return cases, medians


def _median(run: Callable[[], object], rounds: int) -> float:
    return in_turns({("", 1): run}, rounds, lambda what, done, total: None)[1]["", 1]


def _operations(network: SimpleNet, size: int) -> float:
    """Of one frame in the fused network. Counted on plain convolutions: packed ones hide theirs."""
    trunk, head = Trunk(network.extractor.backbone, (1, 1, 1)), fuse_head(network)
    return _counted(lambda: head(trunk(torch.zeros(1, 3, size, size))))


def _counted(run: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def _roof(mode: Mode, device: torch.device, batch: int) -> dict[str, float]:
    """Operations a second of a large product and of large convolutions, in the engine's precision, by torch."""
    dtype, found = dtype_of(mode.precision), {}
    square = torch.randn(2048, 2048, device=device, dtype=dtype)

    wait = _waiting(device)
    took = _median(lambda: (square @ square, wait()), 15)
    found["product 2048 x 2048 x 2048"] = 2 * 2048**3 / took
    for channels, side in ((256, 28), (512, 14)):
        x = torch.randn(batch, channels, side, side, device=device, dtype=dtype)
        weight = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
        x, weight = x.to(memory_format=torch.channels_last), weight.to(memory_format=torch.channels_last)
        took = _median(partial(_convolve, x, weight, wait), 15)
        name = f"convolution 3 x 3, {channels} channels, {side} x {side}, batch {batch}"
        found[name] = 2 * 9 * channels**2 * side**2 * batch / took
    return found


def _convolve(x: Tensor, weight: Tensor, wait: Callable[[], None]) -> None:
    F.conv2d(x, weight, padding=1)
    wait()


def _waiting(device: torch.device) -> Callable[[], None]:
    """Lets a GPU finish; the CPU has finished."""
    if device.type != "cuda":
        return lambda: None
    return partial(torch.cuda.synchronize, device)


def _stages(engine: Engine, images: list[Image], rounds: int) -> dict[str, float]:
    """Milliseconds a frame; each stage is waited for, so they add up to somewhat more than the whole."""
    on_device = [as_tensor(image).to(engine.device) for image in images]
    centred = torch.stack([engine.preprocessing.centred(pixels) for pixels in on_device])
    maps = engine.trunk.run(centred)
    grids = engine.head(maps)
    wait = _waiting(engine.device)
    size = engine.preprocessing.crop
    runs: dict[str, Callable[[], object]] = {
        "copy in": lambda: ([as_tensor(image).to(engine.device) for image in images], wait()),
        "preprocess": lambda: (torch.stack([engine.preprocessing.centred(one) for one in on_device]), wait()),
        "backbone": lambda: (engine.trunk.run(centred), wait()),
        "head": lambda: (engine.head(maps), wait()),
        "copy out": lambda: grids.cpu().numpy(),
        "smoothing": lambda: [smooth(grid, size) for grid in grids.cpu().numpy()],
    }
    return {name: _median(run, rounds) / len(images) * 1e3 for name, run in runs.items()}


def _forget_peak() -> None:
    """Lets the system's record of this process's highest memory begin anew (Linux, proc(5))."""
    record = Path("/proc/self/clear_refs")
    if record.exists():
        record.write_text("5")


def _peak_mib() -> float | None:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), None)
