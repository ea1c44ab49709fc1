"""Configuration: the schema, and the one place that validates it."""
