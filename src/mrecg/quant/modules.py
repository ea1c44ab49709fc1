"""Quantizers as modules: a layer with a quantized weight, and the quantizer of an activation."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mrecg.quant import ranges
from mrecg.quant.affine import UNBOUNDED, FakeQuant, dequantize, fake_quantize, qmax, quantize
from mrecg.quant.drop import Drop
from mrecg.quant.learned_zero_point import fake_quantize_learning_zero
from mrecg.quant.observer import Observer
from mrecg.quant.weights import Channels, apply_weight

WEIGHT_BINS = 512  # of a channel's histogram in the search of weight ranges, at least
BINS_PER_STEP = 8  # at least: with 2, a search at 8 bits can end worse than the extremes


class QuantizedLayer(nn.Module):
    """A weight layer whose weight stands on a grid.

    The integers start at the nearest grid points. While a rounding is learned, `soft` holds the weight of the
    current step. The bias stays in floating point.

    Args:
        layer: A convolution, transposed convolution or linear module.
        symmetric: Whether grids are centred on zero.
        per_tensor: Whether the whole weight has one grid, instead of one per output channel.

    Attributes:
        channels: Where the output channels lie in the weight.
        scale: Of each output channel, shape ``channels.shape``; one in all where ``per_tensor``.
        zero_point: Same shape.
        integers: Shape of the weight, 0 to `top`.
        owns_bias: Whether its bias is not the full-precision one's, see `own_bias`.
        target: The weight that the rounding is learned from; None: the full-precision one.
    """

    scale: Tensor
    zero_point: Tensor
    integers: Tensor
    hard: Tensor

    def __init__(
        self, layer: nn.Module, *, bits: int, symmetric: bool = False, per_tensor: bool = False
    ) -> None:
        super().__init__()
        self.layer, self.owns_bias = layer, False
        self.bits, self.symmetric, self.per_tensor = bits, symmetric, per_tensor
        self.channels = Channels.of(layer, per_tensor=per_tensor)
        weight, shape = self.reference, self.channels.shape
        self.register_buffer("scale", torch.ones(shape, dtype=weight.dtype, device=weight.device))
        self.register_buffer("zero_point", torch.zeros(shape, dtype=weight.dtype, device=weight.device))
        self.register_buffer("integers", torch.zeros_like(weight, dtype=torch.uint8))
        self.register_buffer("hard", weight.detach().clone(), persistent=False)
        self.soft: Tensor | None = None
        self.target: Tensor | None = None
        self.quantized = True
        self._grouped = getattr(layer, "groups", 1) > 1

    @property
    def reference(self) -> Tensor:
        """The full-precision weight."""
        weight = self.layer.weight
        assert isinstance(weight, Tensor)
        return weight

    @property
    def top(self) -> int:
        """Largest integer of the grid."""
        return qmax(self.bits)

    @property
    def grid(self) -> tuple[Tensor, Tensor]:
        """Scale and zero point, as they broadcast against the weight."""
        return self.channels.spread(self.scale), self.channels.spread(self.zero_point)

    @torch.no_grad()
    def calibrate(self, *, kind: Literal["lp", "minmax"], norm: float, candidates: int) -> None:
        """Find the grid of every output channel, or of the whole weight, and round to nearest.

        Args:
            kind: ``lp`` or ``minmax``.
            norm: p of the L_p error.
            candidates: Ranges tried along each direction.
        """
        rows = self.channels.values(self.reference).flatten(1)
        if kind == "lp":
            summary = ranges.summarise(rows, bins=max(WEIGHT_BINS, BINS_PER_STEP * (self.top + 1)))
            scale, zero = ranges.search(
                summary, self.top, norm=norm, candidates=candidates, symmetric=self.symmetric
            )
        else:
            scale, zero = ranges.grid(*ranges.extremes(rows), self.top, symmetric=self.symmetric)
        self.round_on(scale, zero)

    @torch.no_grad()
    def round_on(self, scale: Tensor, zero_point: Tensor) -> None:
        """Take a grid, with one number for each channel, and round to nearest."""
        self.scale.copy_(scale.reshape(self.scale.shape))
        self.zero_point.copy_(zero_point.reshape(self.scale.shape))
        self.harden(quantize(self.reference, *self.grid, self.top))

    @torch.no_grad()
    def harden(self, integers: Tensor) -> None:
        """Fix the weight's integers.

        Args:
            integers: 0 to `top`, of the weight's shape.
        """
        self.integers.copy_(integers.to(torch.uint8))
        self.target = None
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Read the integers back into the weight that `forward` uses from here on."""
        self.soft = None
        self.hard.copy_(dequantize(self.integers.to(self.scale.dtype), *self.grid))

    def own_bias(self) -> nn.Parameter | None:
        """See to it that the full-precision network does not share the layer's bias.

        Returns:
            The bias, with its present values; None where the layer has none.
        """
        bias = self.layer.bias
        if isinstance(bias, nn.Parameter) and not self.owns_bias:
            own = copy(self.layer)
            own._parameters = dict(self.layer._parameters)
            bias = own.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
            self.layer, self.owns_bias = own, True
        return bias if isinstance(bias, nn.Parameter) else None

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name in (f"{prefix}scale", f"{prefix}zero_point"):
            if name in state_dict:
                state_dict[name] = self.channels.adopt(state_dict[name])
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, x: Tensor) -> Tensor:
        """Run the layer with its soft weight if there is one, else its hard one, or in full precision."""
        if not self.quantized:
            return apply_weight(self.layer, x, self.reference)
        weight = self.hard if self.soft is None else self.soft
        if self._grouped and torch.is_autocast_enabled(x.device.type):
            # The gradients of grouped convolutions are slower in bfloat16 than in float32.
            with torch.autocast(x.device.type, enabled=False):
                return apply_weight(self.layer, x.to(weight.dtype), weight)
        return apply_weight(self.layer, x, weight)

    def extra_repr(self) -> str:
        """Bits, for the module's printed form."""
        return f"bits={self.bits}" + (", per_tensor=True" if self.per_tensor else "")


class ActivationQuantizer(nn.Module):
    """Quantizes one activation per tensor, with a learnable scale, after a clamping activation function.

    Modes: ``off`` passes the tensor through, ``on`` quantizes, ``drop`` quantizes a random part of the
    elements, ``observe`` passes through and collects statistics; the activation function acts in all.
    While its ``requires_grad`` is on, the zero point is learned too: a real number, rounded in each forward
    pass. `settle_zero_point` ends that.

    Args:
        bounds: Ends of the activation function: 0 and infinity for ReLU.
    """

    zero_point: Tensor

    def __init__(self, bits: int, *, bounds: tuple[float, float] = UNBOUNDED) -> None:
        super().__init__()
        self.bits, self.bounds = bits, bounds
        self.scale = nn.Parameter(torch.ones(1), requires_grad=False)
        self.register_buffer("zero_point", torch.zeros(1))
        self.mode: Literal["off", "on", "drop", "observe"] = "on"
        self.drop: Drop | None = None
        self.observer: Observer | None = None
        self._zero_cache: tuple[Tensor, int, float] | None = None

    @property
    def top(self) -> int:
        """Largest integer of the grid."""
        return qmax(self.bits)

    @property
    def signed(self) -> bool:
        """Return whether negative values may come: only then is there a zero point to learn."""
        return self.bounds[0] < 0

    @torch.no_grad()
    def calibrate(self, *, kind: Literal["lp", "minmax"], norm: float, candidates: int) -> None:
        """Set the grid from what the observer saw, and forget the observer.

        Args:
            kind: ``lp`` or ``minmax``.
            norm: p of the L_p error.
            candidates: Ranges tried along each direction.
        """
        assert self.observer is not None
        summary = self.observer.summary()
        if kind == "lp":
            scale, zero = ranges.search(summary, self.top, norm=norm, candidates=candidates)
        else:
            scale, zero = ranges.grid(summary.low, summary.high, self.top)
        self.scale.copy_(scale)
        self.zero_point.copy_(zero)
        self.observer = None

    def forward(self, x: Tensor) -> Tensor:
        """Pass through, quantize, or quantize in part, by the mode."""
        if self.mode in ("off", "observe"):
            x = x if self.bounds == UNBOUNDED else x.clamp(*self.bounds)
            if self.mode == "observe":
                assert self.observer is not None
                self.observer.observe(x)
            return x
        scale, zero = self.scale, self.zero_point
        x = x.to(scale.dtype)  # a grid of 8 bits is finer than bfloat16
        if torch.compiler.is_compiling():  # torch's own tools follow tensor operations; the bits are the same
            return dequantize(quantize(x.clamp(*self.bounds), scale, zero, self.top), scale, zero)
        shifts = zero.requires_grad
        factor = (x.numel() * self.top) ** -0.5 if shifts or scale.requires_grad else 1.0
        draw = self.drop.draw() if self.mode == "drop" and self.drop is not None else None
        if shifts:
            # A fused optimiser changes it without counting a version: from here on nothing remembered holds.
            self._zero_cache = None
            return fake_quantize_learning_zero(
                x, scale, zero, FakeQuant(0.0, self.top, factor, self.bounds, draw)
            )
        return fake_quantize(x, scale, FakeQuant(self._zero(zero), self.top, factor, self.bounds, draw))

    @torch.no_grad()
    def settle_zero_point(self) -> None:
        """End the learning of the zero point: it becomes a whole number, 0 to `top`, in place."""
        self.zero_point.requires_grad_(False)
        self.zero_point.grad = None
        self.zero_point.round_().clamp_(0, self.top)
        self._zero_cache = None

    def _zero(self, zero: Tensor) -> float:
        # Reading a tensor's value would stop a GPU at every call; it changes with calibration or loading.
        cached = self._zero_cache
        if cached is None or cached[0] is not zero or cached[1] != zero._version:
            cached = self._zero_cache = (zero, zero._version, float(zero))
        return cached[2]

    def extra_repr(self) -> str:
        """Bits and bounds, for the module's printed form."""
        return f"bits={self.bits}" + (f", bounds={self.bounds}" if self.bounds != UNBOUNDED else "")


def layers_of(module: nn.Module) -> list[QuantizedLayer]:
    """All quantized layers inside a module, in order."""
    return [part for part in module.modules() if isinstance(part, QuantizedLayer)]


def activations_of(module: nn.Module) -> list[ActivationQuantizer]:
    """All activation quantizers inside a module, in order."""
    return [part for part in module.modules() if isinstance(part, ActivationQuantizer)]


def zero_points_of(module: nn.Module) -> list[ActivationQuantizer]:
    """The activation quantizers inside a module whose zero point can be learned, in order."""
    return [quantizer for quantizer in activations_of(module) if quantizer.signed]


@contextmanager
def quantization(
    module: nn.Module,
    *,
    weights: bool = True,
    activations: Literal["off", "on", "drop", "observe"] = "on",
    drop: Drop | None = None,
) -> Iterator[None]:
    """Set what is quantized inside a module, and restore it on exit.

    Args:
        module: Any module that holds quantizers.
        weights: Whether weights are quantized.
        activations: Mode of every activation quantizer.
        drop: Source of the masks for ``activations="drop"``.
    """
    layers, quantizers = layers_of(module), activations_of(module)
    before = [layer.quantized for layer in layers], [(q.mode, q.drop) for q in quantizers]
    for layer in layers:
        layer.quantized = weights
    for quantizer in quantizers:
        quantizer.mode, quantizer.drop = activations, drop
    try:
        yield
    finally:
        for layer, quantized in zip(layers, before[0], strict=True):
            layer.quantized = quantized
        for quantizer, (mode, source) in zip(quantizers, before[1], strict=True):
            quantizer.mode, quantizer.drop = mode, source
