"""Quantization: the grid, its range, soft rounding, quantized networks, fused kernels."""
