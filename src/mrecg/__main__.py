"""``python -m mrecg`` is the command ``mrecg``."""

from mrecg.cli.main import main

main()
