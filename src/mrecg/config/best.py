"""The recipe of conf/experiment/best.yaml for who calls from Python; a test compares the two."""

from collections.abc import Mapping
from typing import Any

BEST: Mapping[str, Mapping[str, Any]] = {
    "method": {"name": "qdrop", "learn_biases": True, "learn_weight_scales": True},
    "granularity": {"name": "mixed"},
    "planner": {"name": "safe"},
    "trainer": {"steps": 500, "lr_factor": 10},
    "finish": {"name": "network", "steps": 300, "batch_size": 16, "augment": "crops_and_flips"},
}
"""What wins over networks and bit widths at a practical budget, by group of the configuration."""
PUBLISHED_STEPS = 20_000
"""Optimisation steps a unit where a method is asked for by its name."""
