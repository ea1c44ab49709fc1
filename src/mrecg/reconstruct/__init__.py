"""Reconstruction: passes over the units, each tuned to reproduce its full-precision output."""
