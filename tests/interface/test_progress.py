"""How far a task is: one line in a terminal, few lines in a file."""
import io
import sys

from mmwamim.interface import progress
from mmwamim.interface.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def told(monkeypatch, stream, seconds, *done):
    """What is printed of a task of 4 parts that take so many seconds each."""
    clock = iter(range(0, 1000, seconds))
    now = [next(clock)]
    monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
    monkeypatch.setattr(sys, 'stderr', stream)
    bar = Progress(4, 'images')
    for part in done:
        now[0] = part * seconds
        bar(part)
    return bar, stream.getvalue()


def test_a_file_gets_a_line_each_ten_seconds_and_the_last(monkeypatch):
    assert told(monkeypatch, io.StringIO(), 6, 1, 2, 3, 4)[1] == \
        '2/4 images, 12 s left\n4/4 images, 0 s left\n'
    assert told(monkeypatch, io.StringIO(), 1, 1, 2, 3, 4)[1] == '4/4 images, 0 s left\n'


def test_a_terminal_has_one_line_that_makes_room(monkeypatch):
    bar, text = told(monkeypatch, Terminal(), 1, 1, 4)
    assert text == '\r1/4 images, 3 s left \x1b[K\r4/4 images, 0 s left \x1b[K\n'
    bar.clear()
    assert sys.stderr.getvalue() == text  # nothing to clear
    bar(1)
    bar.clear()
    assert sys.stderr.getvalue().endswith('\r\x1b[K')


def test_without_stderr_nothing_breaks(monkeypatch):
    monkeypatch.setattr(sys, 'stderr', None)
    Progress(1, 'images')(1)
