"""Tracking: listeners of a run write CSV files, the terminal and W&B."""
