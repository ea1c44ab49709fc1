"""Fused kernels for the CPU, compiled by Numba when first used and kept on disk after that.

Whatever a kernel computes, a plain torch function computes too, on any device and in any floating type; tests
compare the two. Nothing here knows about networks: arrays in, arrays out.
"""
