"""Quantization: the affine grid, the search of ranges, soft rounding, and where quantizers stand in a network."""
