"""Speed of an 8-bit network with torch's own lowering: ``python -m benchmarks.inductor RUN``.

The network is written in torch's quantize and dequantize operations, lowered by torchao for x86 and compiled
by Inductor. Needs torchao and a C++ compiler, which is one reason why it is no export format
(docs/how-to/export.md). RUN is one with 8-bit symmetric weights.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.ao.quantization.fx._decomposed  # registers the operations
from torch import Tensor, nn

from benchmarks.clock import interleaved
from mrecg.formats.lower import IntegerLayer, lower
from mrecg.formats.onnx_integer import check_integer
from mrecg.pipeline.result import load
from mrecg.quant.modules import ActivationQuantizer, QuantizedLayer

MIDDLE = 128
OPS = torch.ops.quantized_decomposed


class Weight(nn.Module):
    """A weight of INT8, read back."""

    def __init__(self, layer: QuantizedLayer) -> None:
        super().__init__()
        integers = (layer.integers.to(torch.int16) - MIDDLE).to(torch.int8)
        self.register_buffer("integers", integers)
        self.register_buffer("scale", layer.scale.detach().flatten().clone())
        self.register_buffer("zero", torch.zeros(layer.scale.numel(), dtype=torch.int64))

    def forward(self) -> Tensor:
        """Give the weight."""
        return OPS.dequantize_per_channel(self.integers, self.scale, self.zero, 0, -128, 127, torch.int8)


class Grid(nn.Module):
    """An activation of UINT8, read back."""

    def __init__(self, quantizer: ActivationQuantizer) -> None:
        super().__init__()
        self.grid = (float(quantizer.scale), int(quantizer.zero_point), 0, quantizer.top, torch.uint8)
        self.bounds = quantizer.bounds

    def forward(self, x: Tensor) -> Tensor:
        """Quantize and read back."""
        x = x.relu() if self.bounds == (0.0, float("inf")) else x.clamp(*self.bounds)
        return OPS.dequantize_per_tensor(OPS.quantize_per_tensor(x, *self.grid), *self.grid)


class WithBias(nn.Module):
    """A layer with its bias inside, as torchao looks for it."""

    def __init__(self, layer: IntegerLayer) -> None:
        super().__init__()
        self.layer, self.weight = layer.layer, layer.weight
        self.register_buffer("bias", None if layer.bias is None else layer.bias.flatten())

    def forward(self, x: Tensor) -> Tensor:
        """Run the layer."""
        if isinstance(self.layer, nn.Linear):
            return nn.functional.linear(x, self.weight(), self.bias)
        placement = (self.layer.stride, self.layer.padding, self.layer.dilation, self.layer.groups)
        return nn.functional.conv2d(x, self.weight(), self.bias, *placement)


class Operations:
    """Modules for the lowered network."""

    def weight(self, layer: QuantizedLayer, path: str) -> nn.Module:
        """Make a layer's weight."""
        return Weight(layer)

    def activation(self, quantizer: ActivationQuantizer, path: str) -> nn.Module:
        """Make a grid."""
        return Grid(quantizer)


@torch.no_grad()
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inductor", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    parsed = parser.parse_args(arguments)
    from torchao.quantization.pt2e.lowering import lower_pt2e_quantized_to_x86

    torch.set_num_threads(1)
    result = load(parsed.run)
    check_integer(result.model)
    lowered = lower(result.model, Operations())
    for path, part in list(lowered.named_modules()):
        if isinstance(part, IntegerLayer):
            owner, _, leaf = path.rpartition(".")
            setattr(lowered.get_submodule(owner), leaf, WithBias(part))
    assert result.preprocessing is not None
    x = torch.randn(1, *result.preprocessing.input_shape).contiguous(memory_format=torch.channels_last)
    begin = time.perf_counter()
    exported = torch.export.export(lowered, (x,)).module()
    compiled = torch.compile(lower_pt2e_quantized_to_x86(exported, (x,)))
    found, expected = compiled(x), result.model(x)
    seconds = time.perf_counter() - begin
    full = result.network.traced.to(memory_format=torch.channels_last)
    runs = {"INT8, Inductor": lambda: compiled(x), "FP32, torch": lambda: full(x)}
    times = interleaved(runs, rounds=parsed.rounds, warmup=5, device=x.device)
    for name, values in times.items():
        print(f"{name}: {1000 * statistics.median(values):.2f} ms")  # noqa: T201
    difference = float((found - expected).abs().max() / expected.abs().max())
    print(f"compiled in {seconds:.0f} s; largest difference {difference:.1e} of the largest logit")  # noqa: T201


if __name__ == "__main__":
    main()
