"""How far a long task is, said on stderr."""
import sys
import time


class Progress:
    """One line that is rewritten in a terminal; elsewhere, as in a log file, a line of its own each
    ten seconds and at the end.

    Args:
        total: Number of parts of the task.
        what: Their name.

    Examples:
        >>> from contextlib import redirect_stderr
        >>> with redirect_stderr(sys.stdout):  # no terminal
        ...     progress = Progress(200, 'images')
        ...     for done in range(100, 201, 100):
        ...         progress(done)
        200/200 images, 0 s left
    """

    EVERY = 10.  # seconds

    def __init__(self, total: int = 0, what: str = '') -> None:
        self.total, self.what = total, what
        self.started = self.told = time.monotonic()
        self.open = False  # whether a line of a terminal is not ended

    def __call__(self, done: int) -> None:
        """Says that so many parts are done; the time that is left follows from theirs."""
        left = (time.monotonic() - self.started) / max(done, 1) * (self.total - done)
        self.say(f'{done}/{self.total} {self.what}, {left:.0f} s left', done >= self.total)

    def say(self, text: str, last: bool = False) -> None:
        """Another text, and whether it is the last one."""
        if sys.stderr is None:  # as below pythonw and some servers
            return
        if sys.stderr.isatty():
            print(f'\r{text} \x1b[K', end='\n' if last else '', file=sys.stderr, flush=True)
            self.open = not last
        elif last or time.monotonic() - self.told >= self.EVERY:
            self.told = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Ends the line of a terminal, where the last text was not known to be the last."""
        if self.open:
            print(file=sys.stderr)
            self.open = False

    def clear(self) -> None:
        """Before something else is printed: the line of a terminal makes room, and comes again."""
        if self.open:
            print('\r\x1b[K', end='', file=sys.stderr, flush=True)
            self.open = False
