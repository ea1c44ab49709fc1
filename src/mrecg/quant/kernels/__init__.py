"""Fused kernels: Numba's for the CPU, Triton's for CUDA; compiled when first used, then kept on disk.

For each kernel a plain torch function computes the same, on any device and in any floating type; tests
compare the two. Nothing here knows about networks: arrays in, arrays out.
"""
