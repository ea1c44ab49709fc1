"""Configuration: the schema (defaults, ranges, units) and the one place that turns Hydra's tree into it."""
