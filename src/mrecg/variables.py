"""Environment variables by which a command line reaches jobs in other processes."""

DEBUG = "MRECG_DEBUG"
"""Set to 1: errors show their traceback, above their line."""
COMMAND = "MRECG_COMMAND"
"""The command line as it was typed; what Hydra and its launchers see is another."""
WORKERS = "MRECG_WORKERS"
"""How many jobs share this machine: they divide its processors and GPUs."""
