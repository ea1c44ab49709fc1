"""Sweeps: which jobs there are, which are done, and how the rest is launched."""
