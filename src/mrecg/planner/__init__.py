"""The planner: capacities of units in, a validated schedule of groups out. Numbers only, no torch."""
