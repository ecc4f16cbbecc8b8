"""One line at the foot of a terminal that says how a run is doing."""
import logging
import sys
from typing import List, Optional

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from mmwamim.registry import HOOKS

from .measure import peak_so_far
from .progress import Layout
from .resolution import work_of_steps
from .terminal import PROGRESS

WINDOW = 20  # steps that speed and waiting are averaged over
TIME_LEFT = len(' 00:00:00 left')
LONGEST_BAR, SHORTEST_BAR = 20, 5
PERIOD = 3600.  # seconds that the time left follows from, at most: steps may take minutes


@HOOKS.register_module()
class LiveLineHook(Hook):
    """Bar, epoch, time left, images a second, share of time spent waiting for data, loss, explained
    share and memory, in place of a line of log every so often. The log file has those.

    Where the output is no terminal (a pipe, a notebook, a batch job), or a dumb one, it does
    nothing. What it shows was read by others: it never waits for the device.

    Args:
        console: Where to draw. Default: the terminal, if there is one.
    """

    priority = 'LOWEST'

    def __init__(self, console: Optional[Console] = None) -> None:
        self.console = console
        self.progress: Optional[Progress] = None
        self.handlers: List[logging.StreamHandler] = []

    def before_train(self, runner: Runner) -> None:
        if self.console is None and is_main_process() and sys.stdout.isatty():
            console = Console()
            # One that cannot move its cursor (TERM=dumb) would show no line at all.
            self.console = None if console.is_dumb_terminal else console
        if self.console is None:
            return
        self.progress = Progress(
            BarColumn(LONGEST_BAR), TextColumn('{task.description}'),
            TimeRemainingColumn(compact=True), TextColumn('left'),
            console=self.console, refresh_per_second=4, speed_estimate_period=PERIOD)
        self.columns, self.width = self.progress.columns, self.console.width
        self.task = self.progress.add_task('', total=work_of_steps(runner, runner.max_iters),
                                           completed=work_of_steps(runner, runner.iter))
        self.progress.start()
        # The logger holds the stream of before, which would write into the line.
        self.handlers = [one for one in runner.logger.handlers
                         if isinstance(one, logging.StreamHandler)
                         and not isinstance(one, logging.FileHandler)]
        for handler in self.handlers:
            self.stream = handler.setStream(sys.stdout)
            handler.addFilter(_no_progress)

    def after_train_iter(self, runner: Runner, batch_idx: int, **_) -> None:
        if self.progress is not None:
            self.progress.update(self.task, completed=work_of_steps(runner, runner.iter + 1),
                                 description=self._fitted(describe(runner)))

    def _fitted(self, words: List[str]) -> str:
        """What the terminal has room for: rich would take it from the time left. First the bar
        becomes shorter, then it goes, then words do, the last first."""
        if self.console.width != self.width:  # the window was resized: the bar may come back
            self.progress.columns, self.width = self.columns, self.console.width
            self.columns[0].bar_width = LONGEST_BAR
        room, words = self.console.width - TIME_LEFT, list(words)
        gap = '  ' if len('  '.join(words)) <= room else ' '
        while len(words) > 1 and len(gap.join(words)) > room:
            words.pop()
        text = gap.join(words)
        bar = self.progress.columns[0]
        if isinstance(bar, BarColumn):
            bar.bar_width = min(bar.bar_width, room - len(text) - 1)
            if bar.bar_width < SHORTEST_BAR:
                self.progress.columns = self.progress.columns[1:]
        return text

    def after_train(self, runner: Runner) -> None:
        self.stop()

    def stop(self) -> None:
        """Leaves the line as it is, and gives the logger its stream back."""
        if self.progress is None:
            return
        self.progress.stop()
        for handler in self.handlers:
            handler.setStream(self.stream)
            handler.removeFilter(_no_progress)
        self.progress, self.handlers = None, []


def _no_progress(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(PROGRESS)


def describe(runner: Runner) -> List[str]:
    """The words of the line, from what has been logged, the most important ones first."""
    scalars, layout = runner.message_hub.log_scalars, Layout.of(runner)
    length = f'epoch {runner.epoch + 1}/{runner.max_epochs}' if layout.counts == 'epochs' \
        else f'step {runner.iter + 1}/{runner.max_iters}'
    words = [length]
    if 'train/time' in scalars:
        seconds = scalars['train/time'].mean(WINDOW)
        waited = scalars['train/data_time'].mean(WINDOW)
        words += [f'{layout.images_a_step / seconds:.3g} images/s',
                  f'waiting {waited / seconds:.0%}']
    if 'train/loss' in scalars:
        words.append(f'loss {scalars["train/loss"].mean(WINDOW):.4g}')
    shares = [history.mean(WINDOW) for name, history in scalars.items()
              if name.startswith('train/explained_')]
    if shares:
        words.append(f'explained {sum(shares) / len(shares):.0%}')
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    return [*words, f'{peak_so_far(device) / 1024:.1f} GiB']
