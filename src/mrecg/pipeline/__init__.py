"""The stages of one run, from a model and images to a run folder."""
