"""The recipe of conf/experiment/best.yaml for who calls from Python; a test compares the two."""

from collections.abc import Mapping
from typing import Any

BEST: Mapping[str, Mapping[str, Any]] = {
    "method": {
        "name": "qdrop",
        "start": "closed_form",
        "learn_biases": True,
        "learn_weight_scales": True,
    },
    "granularity": {"name": "mixed"},
    "planner": {"name": "safe"},
    "trainer": {"steps": 200, "lr_factor": "auto"},
    "finish": {
        "name": "network",
        "steps": 200,
        "lr": 1e-3,
        "augment": "crops_and_flips",
    },
    "rebasis": {"name": "full"},
}
"""The parts that won where they were measured, at a practical budget, by group of the configuration."""
