"""A run on W&B: what is logged, how it is sent, and the identity that it keeps."""
