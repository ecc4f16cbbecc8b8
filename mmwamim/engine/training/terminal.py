"""What of a run's log goes to the terminal, if it is to be short: the log file has everything."""
import logging
import os
import sys
from functools import partial
from pathlib import Path

PACKAGE = str(Path(__file__).parents[2]) + os.sep
# Lines of MMEngine's LoggerHook that say how far the run is.
PROGRESS = ('Epoch(', 'Iter(')
# What a command says itself when the run is done.
AT_THE_END = 'The encoder alone is in '
# Warnings that follow from our own settings, or that nobody can act on.
KNOWN = ('is skipped since its requires_grad=False', '"FileClient" will be deprecated',
         '"HardDiskBackend" is the alias', 'The prefix is not set in metric class',
         # A classifier's norms, which EncoderLoadedHook allows after it has compared the rest.
         'unexpected key in source state_dict: ln1.weight, ln1.bias\n\n'
         'missing keys in source state_dict: ln2.weight, ln2.bias\n')


def goes_to_terminal(record: logging.LogRecord) -> bool:
    """Whether a line is for the terminal: warnings, progress, and what this package says."""
    message = record.getMessage()
    if record.levelno >= logging.WARNING:
        return not any(text in message for text in KNOWN)
    if message.startswith(AT_THE_END):
        return False
    return record.pathname.startswith(PACKAGE) or message.startswith(PROGRESS)


def shorten(logger: logging.Logger) -> None:
    """Keeps what is not for the terminal from it; files are left alone."""
    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(goes_to_terminal)
            handler.handleError = partial(_without_reader, handler)


def _without_reader(handler: logging.Handler, record: logging.LogRecord) -> None:
    """A run goes on when the reader of a pipe has gone, as ``head`` does, and says no more."""
    if isinstance(sys.exc_info()[1], BrokenPipeError):
        handler.addFilter(lambda record: False)
    else:
        type(handler).handleError(handler, record)
