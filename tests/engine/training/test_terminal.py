"""What of a log goes to the terminal."""
import io
import logging
import os
import re
import sys
from types import SimpleNamespace
from unittest import mock

import pytest
from rich.console import Console
from rich.progress import BarColumn

from mmwamim.engine.training import live as live_module
from mmwamim.engine.training import terminal
from mmwamim.engine.training.live import LiveLineHook
from mmwamim.engine.training.resolution import ResolutionScheduleHook


def record(message, path, level=logging.INFO):
    return logging.LogRecord('mmengine', level, path, 1, message, None, None)


OURS, THEIRS = terminal.PACKAGE + 'engine/training/summary.py', '/x/mmengine/runner/runner.py'


@pytest.mark.parametrize('message, path, level, goes', [
    ('This run:', OURS, logging.INFO, True),
    ('Hooks will be executed in the following order', THEIRS, logging.INFO, False),
    ('Epoch(train) [1][2/3] loss: 1', THEIRS, logging.INFO, True),
    ('Iter(train) [10/20]', THEIRS, logging.INFO, True),
    ('Exp name: x', THEIRS, logging.INFO, False),
    ('The encoder alone is in x. Next:', OURS, logging.INFO, False),
    ('anything unforeseen', THEIRS, logging.WARNING, True),
    ('backbone.ln1.weight is skipped since its requires_grad=False', THEIRS, logging.WARNING,
     False),
    ('do not match exactly\n\nunexpected key in source state_dict: ln1.weight, ln1.bias\n\n'
     'missing keys in source state_dict: ln2.weight, ln2.bias\n', THEIRS, logging.WARNING, False),
    ('do not match exactly\n\nmissing keys in source state_dict: ln2.weight, ln2.bias, layers.0\n',
     THEIRS, logging.WARNING, True),
    ('failed', THEIRS, logging.ERROR, True)])
def test_what_goes_to_the_terminal(message, path, level, goes):
    assert terminal.goes_to_terminal(record(message, path, level)) is goes


def test_files_get_everything(tmp_path):
    logger = logging.Logger('x')
    for handler in (logging.FileHandler(tmp_path / 'log'), logging.StreamHandler()):
        logger.addHandler(handler)
    terminal.shorten(logger)
    logger.info('from a test')
    assert (tmp_path / 'log').read_text() == 'from a test\n'
    assert [len(handler.filters) for handler in logger.handlers] == [0, 1]


def _runner(**more):
    return SimpleNamespace(**{
        **dict(max_iters=10, iter=0, hooks=[], logger=logging.Logger('x')), **more})


WORDS = ['epoch 4/4', '7.83 images/s', 'waiting 6%', 'loss 4.871', 'explained -33%', '0.9 GiB']


def test_a_terminal_that_is_widened_has_its_bar_again():
    hook = LiveLineHook(Console(file=io.StringIO(), force_terminal=True, width=60))
    hook.before_train(_runner())
    try:
        for width, bar, last in ((60, None, WORDS[3]), (120, 20, WORDS[-1]), (95, 7, WORDS[-1]),
                                 (20, None, WORDS[0]), (95, 7, WORDS[-1])):
            hook.console.width = width
            assert hook._fitted(WORDS).endswith(last)
            first = hook.progress.columns[0]
            assert (first.bar_width if isinstance(first, BarColumn) else None) == bar, width
            assert len(hook.progress.columns) == 3 + (bar is not None)
    finally:
        hook.stop()


@pytest.mark.parametrize('width, bar, end', [
    (120, 20, 'GiB 00:40 left'), (95, 7, 'GiB 00:40 left'), (80, 5, '-33% 00:40 left'),
    (60, 0, 'loss 4.871 00:40 left'), (20, 0, '4/4 00:40 left')])
def test_a_narrow_terminal_keeps_the_time_left(width, bar, end, monkeypatch):
    monkeypatch.setattr(live_module, 'describe', lambda runner: WORDS)
    screen = io.StringIO()
    hook = LiveLineHook(Console(file=screen, force_terminal=True, width=width))
    runner = _runner()
    hook.before_train(runner)
    try:
        for step in range(1, 3):
            hook.progress.get_time = lambda step=step: 5. * step
            hook.after_train_iter(_runner(iter=step - 1), 0)
    finally:
        hook.stop()
    text = re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', screen.getvalue())
    last = re.split('[\r\n]', text.strip())[-1].strip()
    assert last.endswith(end) and len(last) <= width
    assert len(re.match('[━╸╺]*', last)[0]) == bar


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch):
    monkeypatch.setattr(sys, 'stdout', SimpleNamespace(isatty=lambda: True))
    runner = _runner()
    for name, live in (('dumb', False), ('xterm', True)):
        monkeypatch.setenv('TERM', name)
        hook = LiveLineHook()
        monkeypatch.setattr(live_module, 'Progress', mock.MagicMock())
        hook.before_train(runner)
        assert (hook.progress is not None) is live, name


def test_the_time_left_is_told_where_a_step_takes_minutes():
    hook = LiveLineHook(Console(file=io.StringIO(), force_terminal=True))
    hook.before_train(_runner())
    try:
        for step in range(1, 5):
            hook.progress.get_time = lambda step=step: 120. * step
            hook.progress.update(hook.task, completed=step)
        assert hook.progress.tasks[0].time_remaining == 6 * 120
    finally:
        hook.stop()


def test_the_time_left_counts_small_images_as_the_part_they_are(monkeypatch):
    monkeypatch.setattr(live_module, 'describe', lambda runner: WORDS)
    hook = LiveLineHook(Console(file=io.StringIO(), force_terminal=True))
    runner = _runner(max_iters=20, max_epochs=4, train_dataloader=range(5),
                     hooks=[ResolutionScheduleHook((32, 64))])
    hook.before_train(runner)
    try:
        for step in range(1, 5):
            hook.progress.get_time = lambda step=step: 1. * step
            runner.iter = step - 1
            hook.after_train_iter(runner, 0)
        assert hook.progress.tasks[0].time_remaining == 6 + 10 * 4
    finally:
        hook.stop()


def test_a_run_goes_on_when_nobody_reads(capsys):
    """Where a pipe's reader has gone logging would write a traceback for each line."""
    ends = os.pipe()
    os.close(ends[0])
    stream = open(ends[1], 'w')
    logger = logging.Logger('run')
    logger.addHandler(logging.StreamHandler(stream))
    terminal.shorten(logger)
    for _ in range(2):
        logger.warning('a line')
    with pytest.raises(BrokenPipeError):
        stream.close()
    assert capsys.readouterr().err == ''
    logger.handlers[0].filters.clear()
    logger.warning('%d', 'no number')  # other errors are written as before
    assert 'Logging error' in capsys.readouterr().err
