"""Quantization: the affine grid, its range, soft rounding, and where quantizers stand in a network."""
