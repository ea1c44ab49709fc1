"""The stages of one run: model, units, ranges, plan, reconstruction, accuracy, run folder."""
