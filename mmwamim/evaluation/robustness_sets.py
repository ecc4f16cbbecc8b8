"""The images of ImageNet-A, -R, -Sketch and -C, and a classifier's accuracy on them."""
import hashlib
import os
import time
from pathlib import Path
from typing import Callable, List, NamedTuple, Optional, Sequence

import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import MODELS
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from mmwamim.datasets.listing import shortened
from mmwamim.datasets.splits import list_labelled
from mmwamim.engine.checkpoints import read_checkpoint
from mmwamim.errors import UserError

from . import robustness


class Listing(NamedTuple):
    """The images of a part."""
    paths: List[str]
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
        self.crop = (size, size) if isinstance(size, int) else size and tuple(size)
        self.listing = listing
        self.full = Compose(pipeline)
        self.without_resize = Compose([
            step for step, kind in zip(pipeline, kinds) if kind not in ('Resize', 'ResizeEdge')])

    def __len__(self) -> int:
        return len(self.listing.paths)

    def __getitem__(self, index: int) -> dict:
        path = self.listing.paths[index]
        pipeline = self.full
        if self.crop is not None:
            with Image.open(path) as image:  # reads the header alone
                if image.size == self.crop:
                    pipeline = self.without_resize
        return pipeline(dict(img_path=path, gt_label=self.listing.labels[index]))


def list_images(part: robustness.Part, wnids: Sequence[str]) -> Listing:
    """The images of a part, by class folder and name.

    Raises:
        UserError: A folder is named by no class, or there is no image.
    """
    found = list_labelled(part.folder)
    try:
        classes = robustness.class_indices(found.classes, wnids)
    except ValueError as error:
        raise UserError(f'{part.folder}: {error}') from None
    paths, digest = [], hashlib.sha256()
    for path in found.images.paths:
        paths.append(str(part.folder / path))
        size = os.path.getsize(paths[-1])
        digest.update(f'{path} {size}\n'.encode(errors='surrogateescape'))
    return Listing(paths, [classes[label] for label in found.labels], classes, digest.hexdigest())


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
                             'ids were given: --wnids FILE names them in order')
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
                     f'on {shortened(trained)}: leave --wnids out')
