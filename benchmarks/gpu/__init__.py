"""All that is to be seen of a GPU, by one command: ``python -m benchmarks.gpu --minutes 8 --out FOLDER``.

A GPU is often at hand for a quarter of an hour, on a machine that is bare otherwise. So the command first
says what is missing, fits its list to the time, runs each part in a process of its own (an error on a GPU
spoils the process), ends a part that takes too long, and writes what a part has found at once, to a file of
its own.
"""
