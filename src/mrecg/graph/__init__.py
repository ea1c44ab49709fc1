"""The graph: a model traced, folded and cut into units with their facts."""
