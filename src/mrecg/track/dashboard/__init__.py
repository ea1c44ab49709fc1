"""The W&B workspace: what its panels show, and how it is applied."""
