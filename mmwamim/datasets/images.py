"""Folders of images without labels."""
from pathlib import Path
from typing import List, Union

from mmpretrain.datasets import CustomDataset

from mmwamim.registry import DATASETS

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
        **dataset: Other fields of ``mmengine.dataset.BaseDataset``, such as ``lazy_init``.

    Raises:
        FileNotFoundError: ``data_root`` is not a folder, or holds no image.
    """

    def __init__(self, data_root: str, pipeline=(), extensions=EXTENSIONS, **dataset) -> None:
        root = Path(data_root).expanduser()
        if not root.is_dir():
            raise FileNotFoundError(
                f'data_root {data_root!r} is not a folder. Give a folder of images, nested or '
                'not: --data FOLDER, or train_dataloader.dataset.data_root in the config')
        if (root / 'train').is_dir():
            root = root / 'train'
        super().__init__(data_root=str(root), with_label=False, pipeline=pipeline,
                         extensions=extensions, **dataset)

    def __getitem__(self, which: Union[int, Draw]) -> dict:
        """The image at an index; for a :class:`Draw` its augmentations are those of that epoch,
        whatever was drawn before."""
        if isinstance(which, Draw):
            seed_everything(*which)
            which = which.index
        return super().__getitem__(which)

    def _find_samples(self) -> List[str]:
        try:
            return super()._find_samples()
        except RuntimeError as error:
            raise FileNotFoundError(
                f'no image found below {self.data_root!r} (data_root): expected files that end '
                f'in {", ".join(sorted(self.extensions))}') from error
