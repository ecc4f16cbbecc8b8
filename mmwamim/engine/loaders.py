"""What the modules that settle the data of a config share."""
import os
from pathlib import Path
from typing import Optional, Sequence

from mmwamim.datasets.listing import printable
from mmwamim.errors import UserError

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def say(text: str) -> None:
    """Prints in the first process alone, before MMEngine has a logger."""
    if int(os.environ.get('RANK', os.environ.get('SLURM_PROCID', 0))) == 0:
        print(text, flush=True)


def given_classes(dataset: dict) -> Optional[Sequence[str]]:
    """The classes that a config names itself: a list, or a file with one a line."""
    classes = dataset.get('classes') or dataset.get('metainfo', {}).get('classes')
    if isinstance(classes, str):
        if not Path(classes).is_file():
            raise UserError(f'there is no file of classes {printable(classes)!r}')
        lines = Path(classes).read_text(encoding='utf-8-sig').splitlines()
        classes = [line.strip() for line in lines if line.strip()]
    return classes
