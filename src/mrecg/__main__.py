"""``python -m mrecg`` is the command ``mrecg``."""

from mrecg.cli import main

main()
