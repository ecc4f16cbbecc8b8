"""Scores a classifier on ImageNet-A, -R, -Sketch and -C.

    mmwamim robustness CONFIG CHECKPOINT --out DIR --imagenet-a FOLDER --imagenet-c FOLDER

A FOLDER of -A, -R and -Sketch may also be a table, tar shards, a Hugging Face data set or LMDB, and
that of -C a table, tar shards or LMDB in which images are named as in the folders.
Every evaluated folder goes into DIR/robustness.json at once; the same line goes on from there.
Folders that are not given are those of the config (``robustness.imagenet_a`` and so on), where they
are there.
"""
import argparse
import functools
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Union

from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import nn
from torch.utils.data import DataLoader

from mmwamim.datasets.listing import NoImages
from mmwamim.datasets.sources import kind_of_place
from mmwamim.engine.checkpoints import read_checkpoint
from mmwamim.engine.config.data import checkpoint_classes, settle_reading
from mmwamim.engine.config.reading import read_config
from mmwamim.errors import MissingFile, UserError
from mmwamim.evaluation.features import default_workers
from mmwamim.evaluation.robustness import (
    VARIANTS,
    Part,
    find_parts,
    format_table,
    same_size,
    summarize,
)
from mmwamim.evaluation.robustness_sets import (
    Pictures,
    Progress,
    evaluate,
    images_of_parts,
    list_images,
    load_classifier,
    read_classes,
)
from mmwamim.interface.arguments import settles_arguments
from mmwamim.interface.command_line import short_path
from mmwamim.interface.words import option
from mmwamim.machine.devices import Device, check_device

from .architectures import find_config
from .calls import as_a_call
from .fields import check_counts

Path_ = Union[str, Path]
DATA = (*VARIANTS, 'imagenet_c')


@dataclass(frozen=True)
class Robustness:
    """What a classifier scored."""

    parts: Dict[str, dict]
    """Evaluated folders by name, with ``top1`` in percent and ``images``."""
    summary: dict
    """All scores that follow: see :func:`mmwamim.evaluation.robustness.summarize`."""
    file: Path


@settles_arguments
def robustness(config: Path_, checkpoint: Path_, *, out: Path_, imagenet_a: Optional[Path_] = None,
               imagenet_r: Optional[Path_] = None, imagenet_sketch: Optional[Path_] = None,
               imagenet_c: Optional[Path_] = None, partial: bool = False,
               wnids: Optional[Path_] = None, batch_size: int = 64,
               workers: Optional[int] = None, device: Device = None) -> Robustness:
    """Top-1 on ImageNet-A, -R, -Sketch, errors on -C, and what follows from them.

    Args:
        config: Of an mmpretrain ``ImageClassifier``.
        checkpoint: Of that config.
        out: Folder for robustness.json, which is gone on with if it is there.
        imagenet_a: Holds ``<wnid>/*``, as ``imagenet_r`` and ``imagenet_sketch`` do; or a table,
            tar shards, a Hugging Face data set or LMDB with these classes. Default: the config's,
            if it is there.
        imagenet_r: See ``imagenet_a``.
        imagenet_sketch: See ``imagenet_a``.
        imagenet_c: Holds ``<corruption>/<severity>/<wnid>/*``, as files or as names in shards, a
            table or LMDB.
        partial: Evaluate an ImageNet-C that lacks folders or images.
        wnids: File of class ids in the order of the outputs. Default: those that the checkpoint was
            trained on, or of ImageNet-1K.
        batch_size: Images at a time.
        workers: Processes that read images. Default: by the cores.
        device: Where to compute. Default: a GPU if there is one.

    Returns:
        ``summary``, shares in percent, ``parts``, each with its numbers, and the file with both.

    Raises:
        UserError: Config, checkpoint, classes or folders are missing or do not fit each other, or
            the file in ``out`` is of another checkpoint.

    Examples:
        >>> mmwamim.robustness(  # doctest: +SKIP
        ...     'vit_b_ft_100e', 'epoch_100.pth', out='scores', imagenet_a='A').summary['top1']
        {'imagenet_a': 33.1}
    """
    check_counts(batch_size=batch_size, workers=workers)
    device = str(check_device(device))
    cfg = read_config(find_config(config))
    given = dict(zip(DATA, (imagenet_a, imagenet_r, imagenet_sketch, imagenet_c)))
    folders = find_folders(given, cfg)
    file = Path(out) / 'robustness.json'
    file.parent.mkdir(parents=True, exist_ok=True)
    with as_a_call():
        parts = score(cfg, Path(checkpoint), folders, file, partial, wnids, batch_size,
                      default_workers() if workers is None else workers, device)
    return Robustness(parts, summarize(parts), file)


def find_folders(given: Mapping[str, Optional[Path_]], cfg: Config) -> Dict[str, str]:
    """Data folders by name: those that are given, which must be there, or else the config's.

    Raises:
        MissingFile: A folder that is given is missing, or there is none at all.
    """
    defaults, folders = cfg.get('robustness', {}), {}
    for name in DATA:
        folder, default = given[name], defaults.get(name)
        if folder is not None and not _is_there(folder):
            raise MissingFile(f'there is no folder {str(folder)!r} ({option(name)}), '
                              'nor other images of that name')
        if folder is None and default is not None and not _is_there(default):
            print(f'skipping {name}: there is no folder {default!r}')
            continue
        if folder or default:
            folders[name] = str(folder or default)
    if not folders:
        names = ', '.join(map(option, DATA))
        raise MissingFile(f'there is nothing to evaluate: give {names}')
    return folders


def _is_there(place: Path_) -> bool:
    try:
        return bool(kind_of_place(str(place)))
    except NoImages:
        return False


class Record:
    """robustness.json: what has been evaluated, of one checkpoint with one config.

    Raises:
        UserError: The file holds results of another checkpoint or config.
    """

    def __init__(self, path: Path, identity: dict) -> None:
        self.path, self.identity, self.parts = path, identity, {}
        if path.is_file():
            content = json.loads(path.read_text())
            if content['identity'] != identity:
                raise UserError(f'{path} holds results of another checkpoint, config or list of '
                                 f'classes: give another {option("out")}')
            self.parts = content['parts']

    def write(self) -> None:
        """In one step, so that an interruption leaves the old file or the new one."""
        content = dict(identity=self.identity, parts=self.parts,
                       summary=summarize(self.parts))
        temporary = self.path.with_suffix('.tmp')
        temporary.write_text(json.dumps(content, indent=1) + '\n')
        os.replace(temporary, self.path)


def file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def identify(cfg: Config, pipeline: Sequence[dict], checkpoint: Path, wnids: List[str]) -> dict:
    """What results depend on besides the images."""
    config = [cfg.model.to_dict(), cfg.get('data_preprocessor'), pipeline, wnids]
    return dict(checkpoint=checkpoint.name, bytes=os.path.getsize(checkpoint),
                sha256=file_digest(checkpoint),
                config_sha256=hashlib.sha256(repr(config).encode()).hexdigest())


def score(cfg: Config, checkpoint: Path, folders: Mapping[str, str], file: Path, incomplete: bool,
          wnids: Optional[Path_], batch_size: int, workers: int, device: str) -> Dict[str, dict]:
    """Evaluates what is not in the file yet and returns all parts that are in it then."""
    classes = read_classes(wnids, checkpoint_classes(read_checkpoint(checkpoint)))
    whole = images_of_parts(folders['imagenet_c']) if 'imagenet_c' in folders else None
    parts = find_parts(folders, incomplete, whole)
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    if loader is None:
        raise UserError('the config has neither test_dataloader nor val_dataloader')
    settle_reading(cfg)
    pipeline = [step.to_dict() for step in loader.dataset.pipeline]
    record = Record(file, identify(cfg, pipeline, checkpoint, classes))
    model = load_classifier(cfg, checkpoint, device)
    pending = [part for part in parts if part.name not in record.parts
               or record.parts[part.name]['data'] != list_images(part, classes).digest]
    for part in pending:
        record.parts.pop(part.name, None)
    print(f'{len(parts) - len(pending)} of {len(parts)} parts were evaluated before', flush=True)

    def load(pictures: Pictures) -> DataLoader:
        return DataLoader(pictures, batch_size, num_workers=workers, collate_fn=pseudo_collate)

    evaluate_parts(model, pending, classes, record, incomplete,
                   lambda listing, part: load(Pictures(listing, pipeline, part.cropped)))
    record.write()
    return record.parts


def evaluate_parts(model: nn.Module, pending: Sequence[Part], wnids: Sequence[str],
                   record: Record, incomplete: bool, load: Callable) -> None:
    """Evaluates parts one after another, each of which goes into the record at once.

    Raises:
        UserError: A folder of ImageNet-C has more or fewer images than those before it.
    """
    # The folders of ImageNet-C hold the same images, so the first one's size is that of all.
    first = {part.name.split('/')[0]: part for part in reversed(pending)}
    sizes = {name: len(list_images(part, wnids).rows) for name, part in first.items()}
    progress = Progress(len(pending))
    for number, part in enumerate(pending, 1):
        listing = list_images(part, wnids)
        size = len(listing.rows)
        if part.cropped and not incomplete:
            if not same_size({**record.parts, part.name: dict(images=size)}):
                raise UserError(f'{part.folder} has {size} images, unlike the folders before it; '
                                f'{option("partial", True)} evaluates it all the same')
        ahead = sum(sizes[later.name.split('/')[0]] for later in pending[number:])
        progress.part = number
        correct = evaluate(
            model, load(listing, part), listing.classes if part.subset else None, len(wnids),
            functools.partial(progress.report, part.name, size=size, ahead=ahead))
        progress.images += size
        record.parts[part.name] = dict(top1=100 * correct / size, correct=correct, images=size,
                                       classes=len(listing.classes), data=listing.digest)
        record.write()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', metavar='CONFIG', help='config of a mmpretrain ImageClassifier')
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='checkpoint of that config')
    for name in DATA:
        layout = '<corruption>/<severity>/<wnid>/*' if name == 'imagenet_c' else '<wnid>/*'
        parser.add_argument('--' + name.replace('_', '-'), metavar='DIR',
                            help=f'folder with {layout}; otherwise robustness.{name} of the '
                            'config, if that folder is there')
    parser.add_argument('--out', required=True, metavar='DIR', help='where robustness.json goes')
    parser.add_argument('--partial', action='store_true',
                        help='evaluate an ImageNet-C that lacks folders or images')
    parser.add_argument('--wnids', metavar='FILE',
                        help='class ids in the order of the outputs (those that the checkpoint was '
                        'trained on, or of ImageNet-1K)')
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--workers', type=int, metavar='N', help='processes that read images')
    parser.add_argument('--device', help='cpu, cuda, ... (default: a GPU if there is one)')


def run(args: argparse.Namespace) -> None:
    found = robustness(**vars(args))
    print(format_table(found.parts))
    print(f'wrote {short_path(found.file)}')
