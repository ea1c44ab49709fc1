"""Environment variables by which a command line reaches jobs in other processes."""

COMMAND = "MRECG_COMMAND"
"""The command line as it was typed; what Hydra and its launchers see is another."""
WORKERS = "MRECG_WORKERS"
"""How many jobs share this machine: they divide its processors and GPUs."""
