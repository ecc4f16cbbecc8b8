"""What every call from Python shares: it leaves the process as it found it."""
import gc
import logging
import random
import secrets
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator, Optional, Tuple

import cv2
import numpy as np
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from mmwamim.engine.training.cpu import give_memory_back, switch_linear
from mmwamim.engine.training.preemption import signals_put_back
from mmwamim.errors import UserError, refused_fields_are_user_errors

# Fields of every run that a command starts: little in the terminal, everything in the log file.
SHORT = dict(terminal='short')


@dataclass(frozen=True)
class Run:
    """What a run wrote."""

    folder: Path
    checkpoint: Optional[Path]
    """The last full checkpoint, to resume or to draw from; None if the config writes none."""
    log: Path
    config: Path
    encoder: Optional[Path] = None
    """Of pre-training: the encoder alone."""
    pictures: Tuple[Path, ...] = ()
    metrics: dict = field(default_factory=dict)
    """The last value of everything that was logged, by name."""


# MMEngine has one default scope, one logger and one history for all threads of a process, and
# random generators are the process's, too: of two calls at once each would use the other's.
_TURN, _TRAINING = threading.RLock(), threading.Event()


@contextmanager
def _one_at_a_time(trains: bool) -> Iterator[None]:
    while not _TURN.acquire(timeout=0.1):
        if _TRAINING.is_set():  # which may last for days
            raise UserError('a run is going on in another thread of this process, and there can be '
                            'one at a time: wait for its end, or start another process')
    outermost = trains and not _TRAINING.is_set()
    if outermost:
        _TRAINING.set()
    try:
        yield
    finally:
        if outermost:
            _TRAINING.clear()
        _TURN.release()


@contextmanager
def _settings_put_back(trains: bool) -> Iterator[None]:
    """Random generators, and what MMEngine sets for the whole process, are afterwards what they
    were before. A run draws its seed from NumPy's, if it has none: not the same one each time."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    numbers, of_numpy = random.getstate(), np.random.get_state()
    cudnn, threads = torch.backends.cudnn, cv2.getNumThreads()
    chosen = cudnn.benchmark, cudnn.deterministic
    strict = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    if trains:
        np.random.seed()
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(numbers)
        np.random.set_state(of_numpy)
        cudnn.benchmark, cudnn.deterministic = chosen
        torch.use_deterministic_algorithms(strict, warn_only=warns)
        cv2.setNumThreads(threads)


@contextmanager
def _instances_put_back() -> Iterator[None]:
    """MMEngine keeps the logger, with its open file, the history and the visualizer of every run,
    the last one as the current one: they go, and those of before are current again."""
    kinds = (MMLogger, MessageHub, Visualizer)
    before = [set(kind._instance_dict) for kind in kinds]
    try:
        yield
    finally:
        for kind, there in zip(kinds, before):
            for name in set(kind._instance_dict) - there - {'mmengine'}:  # the one for all
                gone = kind._instance_dict.pop(name)
                for handler in getattr(gone, 'handlers', ()):
                    if isinstance(handler, logging.FileHandler):
                        handler.close()


@contextmanager
def as_a_call(trains: bool = False) -> Iterator[None]:
    """Signals, random generators, memory, MMEngine's default scope and settings, and linear layers
    are afterwards what they were before, and wrong values in a config are errors of the user. Calls
    from several threads wait for each other.

    Args:
        trains: Whether the call is a run, for whose end no other call waits.

    Raises:
        UserError: Another thread of this process has a run.
    """
    with _one_at_a_time(trains), signals_put_back(), _settings_put_back(trains), \
            _instances_put_back(), refused_fields_are_user_errors(), \
            DefaultScope.overwrite_default_scope('mmpretrain'):
        try:
            yield
        finally:
            switch_linear(False)  # a step that failed has left them switched
            if trains:
                gc.collect()  # a run's parts know each other
                give_memory_back()


@contextmanager
def quiet_logger() -> Iterator[None]:
    """Inside it MMEngine's builders log errors alone."""
    name = f'quiet_{secrets.token_hex(4)}'
    MMLogger.get_instance(name, log_level='ERROR')
    try:
        yield
    finally:
        MMLogger._instance_dict.pop(name)  # the one of before is the current one again
