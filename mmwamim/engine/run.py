"""One run of training, from its options to its end."""
import sys
from contextlib import ExitStack

from mmwamim.errors import Preempted
from mmwamim.interface.outputs import full_disk_is_named
from mmwamim.interface.words import is_in_shell

from .config.settle import RunOptions, settle
from .distributed.processes import part_processes
from .distributed.sharding import ShardedRunner
from .training.live import LiveLineHook
from .training.runner import TrainingRunner
from .work_dir import alone_in


def train(options: RunOptions) -> TrainingRunner:
    """Settles the config, trains, and parts from the other processes.

    Args:
        options: The config and what was asked for beside it.

    Returns:
        The runner, at its end.

    Raises:
        UserError: Something given does not fit.
        Preempted: It was asked to stop, and has saved.

    Examples:
        >>> options = RunOptions('work_dirs/photos_vit_tiny/vit_tiny_100e.py',  # doctest: +SKIP
        ...                      data='photos', work_dir='work_dirs/again')
        >>> train(options).epoch  # doctest: +SKIP
        100
    """
    with ExitStack() as held:
        cfg = settle(options, lambda folder: held.enter_context(alone_in(folder)))
        held.enter_context(full_disk_is_named(cfg.work_dir))
        runner = (ShardedRunner if options.fsdp else TrainingRunner).from_cfg(cfg)
        try:
            runner.train()
        finally:
            for hook in runner.hooks:
                if isinstance(hook, LiveLineHook):  # also where a step has failed
                    hook.stop()
            # A preempted command has no seconds to wait, and they end with it.
            if not (is_in_shell() and isinstance(sys.exc_info()[1], Preempted)):
                end_workers(runner)
        part_processes()
        return runner


def end_workers(runner: TrainingRunner) -> None:
    """Ends the workers of loaders that are kept from epoch to epoch: they would stay, with all they
    hold, until Python finds that nobody needs the runner, or the traceback of what has failed."""
    for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
        for holder in (getattr(loop, 'dataloader', None),
                       getattr(loop, 'dataloader_iterator', None)):
            iterator = getattr(holder, '_iterator', None)
            if hasattr(iterator, '_shutdown_workers'):
                iterator._shutdown_workers()
                holder._iterator = None
