"""Tracking: the curves of a run, as CSV files in its folder and in W&B; both listen to the reconstruction."""
