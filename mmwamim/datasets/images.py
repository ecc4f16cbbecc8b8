"""Folders of images without labels."""
import logging
from pathlib import Path
from typing import List, Optional, Union

import torch
from mmengine.logging import print_log
from mmpretrain.datasets import CustomDataset

from mmwamim.registry import DATASETS

from .loading import UnreadableImage
from .sampling import Draw, seed_everything

EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')


@DATASETS.register_module()
class UnlabelledImages(CustomDataset):
    """Every image below a folder, nested or not; labels are not read.

    A folder with a sub-folder ``train`` (ImageNet's layout, ``train/<class>/*.JPEG``) stands for
    that sub-folder, so that validation images are never trained on.

    Args:
        data_root: The folder.
        pipeline: Transforms, as in mmpretrain.
        extensions: File names that count as images, in any case.
        max_unreadable: Share of the images, from 0 to 1, that may turn out unreadable. Another
            image takes the place of such a one; its path is logged once.
        **dataset: Other fields of ``mmengine.dataset.BaseDataset``, such as ``lazy_init``.

    Raises:
        FileNotFoundError: ``data_root`` is not a folder, or holds no image.
        RuntimeError: From ``__getitem__``: more than ``max_unreadable`` cannot be read.
    """

    def __init__(self, data_root: str, pipeline=(), extensions=EXTENSIONS,
                 max_unreadable: float = 0.01, **dataset) -> None:
        if not 0 <= max_unreadable <= 1:
            raise ValueError(f'max_unreadable must lie in [0, 1], not {max_unreadable}')
        root = Path(data_root).expanduser()
        if not root.is_dir():
            raise FileNotFoundError(
                f'data_root {data_root!r} is not a folder. Give a folder of images, nested or '
                'not: --data FOLDER, or train_dataloader.dataset.data_root in the config')
        if (root / 'train').is_dir():
            root = root / 'train'
        super().__init__(data_root=str(root), with_label=False, pipeline=pipeline,
                         extensions=extensions, **dataset)
        self.max_unreadable = max_unreadable
        # Shared by the loader's workers, so that each path is logged and counted once.
        self._unreadable = torch.zeros(len(self), dtype=torch.uint8).share_memory_()

    def __getitem__(self, which: Union[int, Draw]) -> dict:
        """The image at an index; for a :class:`Draw` its augmentations are those of that epoch,
        whatever was drawn before."""
        if isinstance(which, Draw):
            seed_everything(*which)
            which = which.index
        return super().__getitem__(which)

    def prepare_data(self, index: int) -> Optional[dict]:
        """As the parent's; None, which makes it take another image, where one is unreadable."""
        try:
            return super().prepare_data(index)
        except UnreadableImage as error:
            if not self._unreadable[index]:
                self._unreadable[index] = 1
                print_log(f'unreadable image, skipped: {error}', 'current', logging.WARNING)
            count = int(self._unreadable.sum())
            if count > self.max_unreadable * len(self):
                raise RuntimeError(
                    f'{count} of {len(self)} images in {self.data_root} cannot be read, more than '
                    f'max_unreadable = {self.max_unreadable:g}; the last is {error}. Look at the '
                    'folder with tools/data/check.py, or raise train_dataloader.dataset.'
                    'max_unreadable') from None
            return None

    def _find_samples(self) -> List[str]:
        try:
            return super()._find_samples()
        except RuntimeError as error:
            raise FileNotFoundError(
                f'no image found below {self.data_root!r} (data_root): expected files that end '
                f'in {", ".join(sorted(self.extensions))}') from error
