"""What Python programs call; `mrecg` has its names."""
