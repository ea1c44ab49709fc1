"""The fused kernels for CUDA, in Triton; imported only where a tensor on a GPU is served.

Functions have the names and meanings of those in `activation`, `rounding` and `loss`, on flat float32
tensors. Nothing here waits for the GPU: scales are read inside the kernels, sums stay on the device, and keys
and exponents may lie there too, so that a captured graph can be replayed with new ones.

No number that changes between steps is part of what is compiled. Each program writes its partial sum apart,
and these are added in a fixed order.
"""

from typing import Any

import torch
import triton
from torch import Tensor

from mrecg.quant.kernels import gpu_kernels
from mrecg.quant.kernels.splitmix import ALL


def quantize(
    x: Tensor,
    out: Tensor,
    *,
    scale: Tensor,
    grid: tuple[float, float],
    bounds: tuple[float, float],
    key: int | Tensor,
    threshold: int,
) -> None:
    """Activation function, quantization and quantization drop in one pass.

    Args:
        x: Shape (N,).
        out: Gets the result, shape (N,), contiguous.
        scale: Distance of two grid points, one element.
        grid: The grid's ends, counted from the zero point.
        bounds: Ends of the activation function.
        key: Of the random bytes, 0 to 2^64 - 1; or its bits as int64, one element on the device.
        threshold: Bytes below it quantize; 0 to 256.
    """
    numbers, kind = _numbers(grid, bounds, key, threshold)
    _launch(gpu_kernels.quantize, x.contiguous(), out, scale, *numbers, size=x.numel(), **kind)


def gradients(
    x: Tensor,
    grad: Tensor,
    out: Tensor,
    *,
    scale: Tensor,
    grid: tuple[float, float],
    bounds: tuple[float, float],
    key: int | Tensor,
    threshold: int,
) -> Tensor:
    """Gradients of `quantize`.

    Args:
        x: As in `quantize`.
        grad: Gradient of its result, shape (N,).
        out: Gets the gradient of ``x``.
        scale: As in `quantize`, like what follows.
        grid: The grid's ends.
        bounds: Ends of the activation function.
        key: Of the random bytes.
        threshold: Bytes below it quantize.

    Returns:
        The gradient of the scale, shape (), float64, summed in a fixed order.
    """
    numbers, kind = _numbers(grid, bounds, key, threshold)
    sums = _sums(out)
    arrays = x.contiguous(), grad.contiguous(), out, sums, scale
    _launch(gpu_kernels.gradients, *arrays, *numbers, size=x.numel(), **kind)
    return sums.sum()


def mix(kept: Tensor, dropped: Tensor, out: Tensor, *, key: int | Tensor, threshold: int) -> None:
    """Take an element from the first tensor where its random byte is below the threshold, else the other's.

    Args:
        kept: Shape (N,).
        dropped: Shape (N,).
        out: Gets the mixture, contiguous.
        key: Of the random bytes, as in `quantize`.
        threshold: 0 to 255.
    """
    arrays, lies = (kept.contiguous(), dropped.contiguous(), out), isinstance(key, Tensor)
    _launch(gpu_kernels.mix, *arrays, _signed(key), threshold, size=out.numel(), lies=lies)


def soften(alpha: Tensor, offset: Tensor, gain: Tensor, out: Tensor) -> None:
    """Compute the soft weights.

    Args:
        alpha: Rounding variables, shape (N,), contiguous like all here.
        offset: The weight where h is 0.
        gain: What the weight gains where h is 1; 0 where the grid ends.
        out: Gets the weights.
    """
    _launch(gpu_kernels.soften, alpha, offset, gain, out, size=out.numel())


def gradient(
    alpha: Tensor, gain: Tensor, grad: Tensor, out: Tensor, *, regulariser: float, beta: float | Tensor
) -> Tensor:
    """Compute the gradient of alpha: through the weights, and of the regulariser.

    Args:
        alpha: Rounding variables, shape (N,), contiguous like all here.
        gain: As in `soften`.
        grad: Gradient of the weights.
        out: Gets the gradient of alpha.
        regulariser: Lambda; 0 leaves the regulariser out.
        beta: Its exponent; or that as float32, one element on the device.

    Returns:
        ``sum(1 - |2 h - 1|^beta)``, shape (), float64; 0 where the regulariser is left out.
    """
    regularised, lies = regulariser > 0, isinstance(beta, Tensor)
    sums = _sums(out) if regularised else out
    arrays, kind = (alpha, gain, grad, out, sums), {"regularised": regularised, "lies": lies}
    _launch(
        gpu_kernels.gradient,
        *arrays,
        float(regulariser),
        beta if lies else float(beta),
        size=out.numel(),
        **kind,
    )
    return sums.sum() if regularised else out.new_zeros((), dtype=torch.float64)


def squared(out: Tensor, target: Tensor, grad: Tensor, *, factor: float) -> Tensor:
    """Sum the squared differences.

    Args:
        out: Shape (N,).
        target: Shape (N,).
        grad: Gets ``factor * (out - target)``, contiguous.
        factor: Any number.

    Returns:
        The sum, shape (), float64, in a fixed order.
    """
    sums = _sums(grad)
    _launch(
        gpu_kernels.squared,
        out.contiguous(),
        target.contiguous(),
        grad,
        sums,
        float(factor),
        size=grad.numel(),
    )
    return sums.sum()


def _numbers(
    grid: tuple[float, float], bounds: tuple[float, float], key: int | Tensor, threshold: int
) -> tuple[tuple[Any, ...], dict[str, bool]]:
    """Arguments, and what is compiled for them; a key that is not used is none."""
    key = key if threshold < ALL else 0
    kind = {"drops": threshold < ALL, "lies": isinstance(key, Tensor)}
    return (*map(float, (*grid, *bounds)), _signed(key), threshold), kind


def _signed(key: int | Tensor) -> int | Tensor:
    """A key's bits as a signed number. All that do not fit into 32 bits are of one type: one compilation."""
    return key if isinstance(key, Tensor) or key < 1 << 63 else key - (1 << 64)


def _sums(like: Tensor) -> Tensor:
    return torch.empty(triton.cdiv(like.numel(), gpu_kernels.BLOCK), dtype=torch.float64, device=like.device)


def _launch(kernel: Any, *arguments: Any, size: int, **constants: bool) -> None:
    # Contractions are chosen here: what Triton does by default depends on its version.
    with torch.cuda.device_of(arguments[0]):
        kernel[(triton.cdiv(size, gpu_kernels.BLOCK),)](
            *arguments, size=size, enable_fp_fusion=False, **constants
        )
