"""Tracking: the curves of a run, as CSV files in its folder and in W&B. Both are listeners of the reconstruction."""
