"""What the modules that settle the data of a config share."""
import os
from pathlib import Path
from typing import Iterator, Optional, Sequence

from mmengine.config import Config

from mmwamim.datasets.listing import printable
from mmwamim.errors import UserError

from .reading import type_name

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def say(text: str) -> None:
    """Prints in the first process alone, before MMEngine has a logger."""
    if int(os.environ.get('RANK', os.environ.get('SLURM_PROCID', 0))) == 0:
        print(text, flush=True)


def data_sets(loader: Optional[dict]) -> Iterator[dict]:
    """The data sets of a loader: the one it names, or those that it repeats, joins or parts
    (``RepeatDataset``, ``ConcatDataset``, ``ClassBalancedDataset``, ``KFoldDataset``)."""
    waiting = [(loader or {}).get('dataset')]
    while waiting:
        dataset = waiting.pop(0)
        inside = [dataset.get('dataset'), *(dataset.get('datasets') or [])] \
            if isinstance(dataset, dict) else []
        inside = [one for one in inside if isinstance(one, dict)]
        waiting += inside
        if not inside and isinstance(dataset, dict):
            yield dataset


def metrics(cfg: Config, name: str) -> Sequence[dict]:
    """The metrics of an evaluator, of which there may be one, several or none."""
    evaluator = cfg.get(name) or []
    return [evaluator] if isinstance(evaluator, dict) else evaluator


def add_hook(cfg: Config, hook: dict) -> None:
    """Adds a hook at the end unless the config has one of its class already, as that which an
    earlier run has left in its work directory has."""
    hooks = cfg.get('custom_hooks') or []
    if all(type_name(other) != type_name(hook) for other in hooks):
        cfg.custom_hooks = [*hooks, hook]


def given_classes(dataset: dict) -> Optional[Sequence[str]]:
    """The classes that a config names itself: a list, or a file with one a line."""
    classes = dataset.get('classes') or dataset.get('metainfo', {}).get('classes')
    if isinstance(classes, str):
        if not Path(classes).is_file():
            raise UserError(f'there is no file of classes {printable(classes)!r}')
        lines = Path(classes).read_text(encoding='utf-8-sig').splitlines()
        classes = [line.strip() for line in lines if line.strip()]
    return classes


def settle_outputs(model, classes: int) -> None:
    """As many outputs as classes, in every head of a nested config."""
    if isinstance(model, dict) and model.get('num_classes') not in (None, classes):
        say(f'taking num_classes = {classes} instead of {model["num_classes"]} for '
            f'{type_name(model)}')
        model['num_classes'] = classes
    for value in model.values() if isinstance(model, dict) else model:
        if isinstance(value, (dict, list, tuple)):
            settle_outputs(value, classes)
