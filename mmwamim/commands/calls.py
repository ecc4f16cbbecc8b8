"""What every call from Python shares: it leaves the process as it found it."""
import secrets
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator, Optional, Tuple

from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

from mmwamim.engine.training.cpu import switch_linear
from mmwamim.engine.training.preemption import signals_put_back
from mmwamim.errors import refused_fields_are_user_errors

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


@contextmanager
def as_a_call() -> Iterator[None]:
    """Signals, MMEngine's default scope and linear layers are afterwards what they were before, and
    wrong values in a config are errors of the user."""
    with signals_put_back(), refused_fields_are_user_errors(), \
            DefaultScope.overwrite_default_scope('mmpretrain'):
        try:
            yield
        finally:
            switch_linear(False)  # a step that failed has left them switched


@contextmanager
def quiet_logger() -> Iterator[None]:
    """Inside it MMEngine's builders log errors alone."""
    name = f'quiet_{secrets.token_hex(4)}'
    MMLogger.get_instance(name, log_level='ERROR')
    try:
        yield
    finally:
        MMLogger._instance_dict.pop(name)  # the one of before is the current one again
