"""From a model to its traced, folded graph, its ordered units and their facts."""
