"""One trunk in memory for all bundles that have the same backbone, ready to compute in one mode on one device."""

import hashlib
import threading
import warnings
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from model.backbone import Backbone
from model.errors import DataError
from model.fusion import FusedHead, Trunk, UnfusedHead, fuse_head
from model.modes import Mode, dtype_of
from model.onednn import pack
from model.simplenet import SimpleNet

Run = Callable[[Tensor], Sequence[Tensor]]
"""From centred pixels `(B, 3, h, w)` float32 to the maps of levels 1, 2..."""


class SharedTrunk:
    """A fused trunk for inputs of one size. Frames whose engines hold the same one may share a batch.

    Several threads may run it at once: a new engine is warmed on it while the line judges with it.
    """

    def __init__(self, run: Run, mode: Mode, device: torch.device, size: tuple[int, int]) -> None:
        self.run, self.mode, self.device, self.size = run, mode, device, size

    def head_of(self, network: SimpleNet) -> FusedHead | UnfusedHead:
        """The fused head of a network with this backbone, in this trunk's mode. Holds copies only."""
        head = fuse_head(network).eval().to(self.device)
        if isinstance(head, FusedHead):
            head.cast(dtype_of(self.mode.precision))
            if self.mode.device == "cpu":
                with torch.inference_mode():
                    maps = self.run(torch.zeros(1, 3, *self.size))
                    pack(head, lambda: head(maps))
        return head


_in_use: WeakValueDictionary[tuple[object, ...], SharedTrunk] = WeakValueDictionary()


def shared_trunk(
    backbone: Backbone, std: Sequence[float], size: tuple[int, int], mode: Mode, device: torch.device
) -> SharedTrunk:
    """The trunk of a backbone: one that is in use already, if it has the very same tensors, else a new one.

    Args:
        backbone: its tensors are copied.
        std: of R, G, B, folded into the first convolution.
        size: network input `(height, width)`, pixels.
        mode: how to compute.
        device: where.

    Raises:
        DataError: the mode's runtime refuses this network.
    """
    key = (_digest(backbone), max(backbone.levels), tuple(std), size, mode, str(device))
    found = _in_use.get(key)
    if found is None:
        make = _openvino if mode.runtime == "openvino" else _torch
        trunk = Trunk(backbone, std).eval()
        if not all(torch.isfinite(tensor).all() for tensor in trunk.parameters()):
            raise DataError("the backbone's weights are not finite")  # a fused ReLU would turn NaN into 0
        found = _in_use[key] = SharedTrunk(make(trunk, size, mode, device), mode, device, size)
    return found


def _torch(trunk: Trunk, size: tuple[int, int], mode: Mode, device: torch.device) -> Run:
    dtype = dtype_of(mode.precision)
    trunk = trunk.to(device, dtype).to(memory_format=torch.channels_last)

    def run(pixels: Tensor) -> Sequence[Tensor]:
        maps: Sequence[Tensor] = trunk(pixels.to(dtype=dtype, memory_format=torch.channels_last))
        return maps

    if mode.device == "cpu":
        with torch.inference_mode():
            pack(trunk, lambda: run(torch.zeros(1, 3, *size)))
    return run


def _openvino(trunk: Trunk, size: tuple[int, int], mode: Mode, device: torch.device) -> Run:
    import openvino

    hints = {
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}[mode.precision],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # its converter traces, which torch wants to give up
            graph = openvino.convert_model(trunk, example_input=torch.zeros(1, 3, *size), input=[-1, 3, *size])
        compiled = openvino.compile_model(graph, "CPU", hints)
    except RuntimeError as error:
        raise DataError(f"openvino refuses this network: {str(error).splitlines()[0]}") from error

    mine = threading.local()  # a request holds its outputs: another thread's pass must not write over them

    def run(pixels: Tensor) -> Sequence[Tensor]:
        if not hasattr(mine, "request"):
            mine.request = compiled.create_infer_request()
        request = mine.request
        request.infer([pixels.contiguous().to(device).numpy()], share_inputs=True)
        return [
            torch.from_numpy(output.data) for output in request.output_tensors
        ]  # valid until this thread's next call

    return run


def _digest(backbone: Backbone) -> bytes:
    """sha256 over the kind of every block, names and tensors: what computes the same may be shared."""
    found = hashlib.sha256()
    for name, tensor in backbone.state_dict().items():
        found.update(f"{name} {tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().cpu().numpy().tobytes())
    return found.digest()
