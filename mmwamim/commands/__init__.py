"""What a user does with the package, one file a command, each callable from Python as well.

A command's file has three parts: the function that does the work, which raises
:class:`mmwamim.errors.UserError` and never ends the interpreter; ``add_arguments``, its options on
the command line; and ``run``, which calls the one with the others. ``main`` is the command
``mmwamim``, and the scripts of ``tools/`` call the same files.
"""
