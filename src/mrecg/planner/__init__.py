"""The planner: numbers of the units in, a validated plan of groups out; without torch."""
