"""The images of ImageNet-A, -R, -Sketch and -C, and a classifier's accuracy on them."""
import hashlib
import os
import re
import time
from collections import defaultdict
from functools import lru_cache
from numbers import Integral
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import MODELS
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from mmwamim.datasets.listing import printable, shortened
from mmwamim.datasets.pixels import opened
from mmwamim.datasets.sources import (
    ListedSource,
    Source,
    is_images_folder,
    kind_of_place,
    open_all,
    open_labelled,
)
from mmwamim.datasets.splits import list_labelled
from mmwamim.engine.checkpoints import read_checkpoint
from mmwamim.errors import UserError
from mmwamim.interface.words import option

from . import robustness

NAMED = re.compile(f'(?:^|/)(?P<part>(?:{"|".join(robustness.CORRUPTIONS)})/[1-5])/'
                   '(?P<kind>[^/]+)/[^/]+$')  # in ImageNet-C


class Listing(NamedTuple):
    """The images of a part."""
    source: Source
    rows: Sequence[int]
    labels: List[int]
    classes: List[int]
    digest: str  # of names and sizes in bytes: other images are evaluated anew


class Pictures(Dataset):
    """Images through a test pipeline, without its resizing where an image is the crop already."""

    def __init__(self, listing: Listing, pipeline: Sequence[dict], cropped: bool) -> None:
        kinds = [step['type'].replace('/', '.').split('.')[-1] for step in pipeline]
        crops = [step.get('crop_size', step.get('size'))
                 for step, kind in zip(pipeline, kinds) if kind == 'CenterCrop']
        size = crops[-1] if cropped and crops else None
        self.crop = (size, size) if isinstance(size, Integral) else size and tuple(size)
        self.listing = listing
        self.full = Compose(pipeline)
        self.without_resize = Compose([
            step for step, kind in zip(pipeline, kinds) if kind not in ('Resize', 'ResizeEdge')])

    def __len__(self) -> int:
        return len(self.listing.rows)

    def __getitem__(self, index: int) -> dict:
        source, row = self.listing.source, self.listing.rows[index]
        path, data = source.key(row), source.read(row)
        pipeline = self.full
        if self.crop is not None:
            with Image.open(opened(path if data is None else data)) as image:  # the header alone
                if image.size == self.crop:
                    pipeline = self.without_resize
        record = dict(img_path=path, gt_label=self.listing.labels[index])
        return pipeline(record if data is None else dict(record, img_bytes=data))


def images_of_parts(place: str) -> Optional[Dict[str, List[int]]]:
    """The images of each part of an ImageNet-C that lies in shards, a table or a data base, by
    their names; None where it is a folder of folders.

    Raises:
        UserError: No name is that of an image of ImageNet-C.
    """
    if kind_of_place(place) == 'folder':
        return None
    parts: Dict[str, List[int]] = defaultdict(list)
    source = _opened(place)
    for row in range(len(source)):
        found = NAMED.search(source.name(row))
        if found:
            parts[found['part']].append(row)
    if not parts:
        raise UserError(f'{printable(place)}: no image has a name of ImageNet-C, '
                        '<corruption>/<severity>/<wnid>/<image>')
    return parts


@lru_cache(maxsize=1)
def _opened(place: str) -> Source:
    return open_all(place)


def _labelled(part: robustness.Part) -> Tuple[Source, Sequence[int], List[int], Sequence[str]]:
    """The images of a part with their labels in a list of classes that all have images."""
    if part.rows is not None:
        source, rows = _opened(part.folder), part.rows
        kinds = [NAMED.search(source.name(row))['kind'] for row in rows]
        classes, labels = np.unique(kinds, return_inverse=True)
        return source, rows, labels.tolist(), classes.tolist()
    if is_images_folder(part.folder):
        found = list_labelled(part.folder)
        source = ListedSource(found.images.paths, part.folder, found.labels, found.classes)
    else:
        source = open_labelled(part.folder)
    there, labels = np.unique(source.labels, return_inverse=True)
    return source, range(len(source)), labels.tolist(), [source.classes[label] for label in there]


def list_images(part: robustness.Part, wnids: Sequence[str]) -> Listing:
    """The images of a part, by class folder and name.

    Raises:
        UserError: A folder is named by no class, or there is no image.
    """
    source, rows, labels, found = _labelled(part)
    try:
        classes = robustness.class_indices(found, wnids)
    except ValueError as error:
        raise UserError(f'{part.folder}: {error}') from None
    digest, sizes = hashlib.sha256(), {}
    for row in rows:
        holder = source.holder(row)
        if holder not in sizes:
            sizes = {} if len(sizes) > 1000 else sizes  # one for each image of a folder
            sizes[holder] = os.path.getsize(holder)
        name = source.name(row)
        digest.update(f'{name} {sizes[holder]}\n'.encode(errors='surrogateescape'))
    return Listing(source, rows, [classes[label] for label in labels], classes, digest.hexdigest())


def load_classifier(cfg: Config, checkpoint: Path, device: str) -> torch.nn.Module:
    """The config's model with every weight of the checkpoint, ready for evaluation.

    Raises:
        MissingFile: There is no such checkpoint.
        UserError: It cannot be read, or does not fit the config.
    """
    model = MODELS.build({'data_preprocessor': cfg.get('data_preprocessor'), **cfg.model})
    missing, left = model.load_state_dict(read_checkpoint(checkpoint)['state_dict'], strict=False)
    if missing or left:
        raise UserError(f'{str(checkpoint)!r} does not fit the config: {len(missing)} weights '
                        f'missing {missing[:3]}, {len(left)} left over {left[:3]}')
    model.to(device)
    model.eval()  # VisionTransformer's eval() returns None
    return model


@torch.inference_mode()
def evaluate(model: torch.nn.Module, loader: DataLoader, classes: Optional[Sequence[int]],
             outputs: int, on_batch: Callable[[int], None]) -> int:
    """Correctly classified images of a loader; calls ``on_batch(images so far)``."""
    correct = seen = 0
    for batch in loader:
        batch = model.data_preprocessor(batch)
        logits = model(batch['inputs'], mode='tensor')
        if logits.shape[1] != outputs:
            raise UserError(f'the classifier has {logits.shape[1]} outputs, but {outputs} class '
                             f'ids were given: {option("wnids", "FILE")} names them in order')
        labels = torch.cat([sample.gt_label for sample in batch['data_samples']])
        correct += robustness.count_correct(logits, labels, classes)
        seen += len(labels)
        on_batch(seen)
    return correct


class Progress:
    """Prints every few seconds how far it is and how long the rest will take."""

    def __init__(self, parts: int, every: float = 10.0) -> None:
        self.parts, self.every = parts, every
        self.part, self.images, self.started = 0, 0, time.monotonic()
        self.printed = self.started

    def report(self, name: str, seen: int, size: int, ahead: int) -> None:
        """``seen`` of ``size`` images of a part are done, about ``ahead`` come after it."""
        now = time.monotonic()
        if now - self.printed < self.every and seen < size:
            return
        rate = (self.images + seen) / max(now - self.started, 1e-9)
        left = int((size - seen + ahead) / rate)
        print(f'{name}: {seen} of {size} images, part {self.part} of {self.parts}, about '
              f'{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left', flush=True)
        self.printed = now


def read_classes(file: Optional[str], trained: Optional[Sequence[str]]) -> List[str]:
    """Class ids in the order of the classifier's outputs.

    Args:
        file: What --wnids names.
        trained: The class folders that the checkpoint was trained on, where it says so.

    Raises:
        UserError: The two differ.
    """
    wnids = robustness.read_wnids(file or robustness.WNIDS)
    if trained is None or list(trained) == wnids:
        return wnids
    if file is None:
        return list(trained)
    raise UserError(f'{file} has the classes {shortened(wnids)}, but the checkpoint was trained '
                     f'on {shortened(trained)}: leave {option("wnids")} out')
