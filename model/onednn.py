"""Convolutions of a fused network through oneDNN: bias, sum and ReLU inside the convolution, weights packed once.

These operators are the ones that torch's own compiler emits for a CPU; called by name they need no compiler on the
line. Where a torch build lacks them, plain convolutions stay.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from model.fusion import Convolution

PACKED_FOR = 8
"""Batch that weights are packed for. Smaller ones lose nothing by it; packed for one, eight lost a third."""

Shape = tuple[int, ...]


class PackedConvolution(nn.Module):
    """A `Convolution` whose weights lie as oneDNN wants them for an input of a certain size."""

    def __init__(self, plain: Convolution, shape: Shape) -> None:
        super().__init__()
        self.padding, self.stride, self.relu = [plain.padding] * 2, [plain.stride] * 2, plain.relu
        weight = plain.weight.detach().contiguous(memory_format=torch.channels_last)
        if weight.dtype != torch.float32:  # float32 wants one layout for one frame and another for several
            reorder = torch.ops.mkldnn._reorder_convolution_weight
            weight = reorder(weight, self.padding, self.stride, [1, 1], 1, [PACKED_FOR, *shape[1:]])
        self.weight = weight
        self.bias = plain.bias

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """As `Convolution.forward`."""
        where = (self.weight, self.bias, self.padding, self.stride, [1, 1], 1)
        if other is None:
            unary = torch.ops.mkldnn._convolution_pointwise
            y: Tensor = unary(x, *where, "relu" if self.relu else "none", [], "")
            return y
        binary = torch.ops.mkldnn._convolution_pointwise.binary
        summed: Tensor = binary(x, other, *where, "add", 1.0, "relu" if self.relu else None, [], "")
        return summed


def pack(module: nn.Module, run: Callable[[], object]) -> None:
    """Replaces every `Convolution` of a module.

    Args:
        module: on the CPU, in the precision it shall compute in.
        run: sends one input through it, so that each convolution sees the size it is packed for.
    """
    if not available():
        return
    shapes: dict[nn.Module, Shape] = {}
    found = [(parent, name, child) for parent in module.modules() for name, child in parent.named_children()]
    found = [(parent, name, child) for parent, name, child in found if isinstance(child, Convolution)]
    hooks = [
        child.register_forward_pre_hook(lambda child, inputs: shapes.__setitem__(child, tuple(inputs[0].shape)))
        for _, _, child in found
    ]
    run()
    for hook in hooks:
        hook.remove()
    for parent, name, child in found:
        if isinstance(child, Convolution):
            parent.register_module(name, PackedConvolution(child, shapes[child]))


def available() -> bool:
    """Whether this torch has the operators, and they compute what they are named for."""
    plain = Convolution(torch.ones(8, 8, 3, 3), torch.ones(8), padding=1, relu=True)
    x = torch.linspace(-1, 1, 8 * 16).reshape(1, 8, 4, 4).contiguous(memory_format=torch.channels_last)
    try:
        packed = PackedConvolution(plain, tuple(x.shape))
        return bool(torch.allclose(packed(x, x), plain(x, x), atol=1e-4))
    except (AttributeError, RuntimeError):  # another torch: private operators come and go
        return False


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself; where it has to be emulated it is slower than float32."""
    cpu = torch.cpu
    return any(getattr(cpu, name, lambda: False)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
