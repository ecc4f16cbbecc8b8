"""Measurements of parts of the package; the scripts of ``tools/benchmark`` are thin over them.

Each file has a function that measures and returns figures, and, as the commands have, its options
on the command line (``add_arguments``) and what is printed (``run``).
"""
