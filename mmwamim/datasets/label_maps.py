"""Photographs with label maps, for segmentation: a folder of each, paired by name."""
import os
from pathlib import Path
from typing import List, Optional, Sequence, Tuple, Union

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.dataset import BaseDataset
from PIL import Image

from mmwamim.errors import UserError
from mmwamim.registry import DATASETS, TRANSFORMS

from .listing import Listing, NoImages, list_images, printable, shortened
from .loading import UnreadableImage
from .unreadable import ReplacesUnreadable

IGNORED = 255
LABEL_MODES = ('1', 'L', 'P', 'I', 'I;16', 'I;16B')
CLASS_FILE = 'classes.txt'


def read_label_map(path: Union[str, Path], num_classes: Optional[int] = None,
                   reduce_zero_label: bool = False) -> np.ndarray:
    """The numbers of the classes of each pixel.

    Args:
        path: A picture of one channel, or with a palette, whose indices count.
        num_classes: Number of classes. None: labels are not checked.
        reduce_zero_label: Whether 0 means unlabelled and classes begin at 1.

    Returns:
        uint8 (H, W), classes from 0, and 255 where a pixel is to be ignored.

    Raises:
        UnreadableImage: The file is damaged or no picture.
        UserError: It holds colours, is a JPEG, or has a label that is no class. Names the file.
    """
    try:
        with Image.open(path) as image:
            mode, labels, kind = image.mode, np.asarray(image), image.format
    except Exception as error:  # decoders raise whatever they like
        raise UnreadableImage(f'{printable(path)}: {type(error).__name__}: {error}') from error
    if mode not in LABEL_MODES:
        raise UserError(f'the label map {printable(path)} holds colours or fractions (mode '
                        f'{mode!r}): store the number of the class of each pixel in one channel '
                        'of 8 bits, or with a palette')
    if kind == 'JPEG':
        raise UserError(f'the label map {printable(path)} is a JPEG, which changes labels at their '
                        'borders: store it as a PNG')
    labels = labels.astype(np.int64)
    first = int(reduce_zero_label)
    if num_classes is not None:
        wrong = (labels < 0) | (labels >= num_classes + first) & (labels != IGNORED)
        if wrong.any():
            raise UserError(
                f'the label map {printable(path)} has the label {labels[wrong].flat[0]}, but there '
                f'are {num_classes} classes: labels are {first} to {num_classes - 1 + first}, '
                f'{"0 and " if first else ""}{IGNORED} {"are" if first else "is"} ignored. '
                f'{CLASS_FILE} in the data set names the classes, one a line from label 0 on')
    if reduce_zero_label:
        labels = np.where((labels == 0) | (labels == IGNORED), IGNORED, labels - 1)
    return labels.astype(np.uint8)


def pair_by_name(images: Listing, labels: Listing, img_suffix: str = '',
                 seg_map_suffix: str = '') -> List[Tuple[str, str]]:
    """Photographs with their label maps, relative to the folders.

    Names must be the same but for the ending, or for the suffixes where they are given. What has
    no partner is noted in ``images.notes``.

    Raises:
        NoImages: There is no pair.
    """

    def stem(path: str, suffix: str) -> str:
        return path[:-len(suffix)] if suffix and path.endswith(suffix) else \
            os.path.splitext(path)[0]

    maps = {stem(path, seg_map_suffix): path for path in labels.paths}
    pairs = [(path, maps[stem(path, img_suffix)]) for path in images.paths
             if stem(path, img_suffix) in maps]
    if not pairs:
        raise NoImages(f'no photograph has a label map of its name: {images.describe()}; such as '
                       f'{shortened(images.paths, 2)}; {labels.describe()}; such as '
                       f'{shortened(labels.paths, 2)}')
    alone = sorted(set(images.paths) - {image for image, _ in pairs})
    unused = sorted(set(labels.paths) - {label for _, label in pairs})
    if alone:
        images.notes.append(f'left out {len(alone)} photographs without a label map: '
                            f'{shortened(alone, 3)}')
    if unused:
        images.notes.append(f'left out {len(unused)} label maps without a photograph: '
                            f'{shortened(unused, 3)}')
    return pairs


@TRANSFORMS.register_module()
class LoadLabelMap(BaseTransform):
    """``seg_map_path`` -> ``gt_seg_map``, uint8 (H, W): mmseg's ``LoadAnnotations``, which looks at
    what it reads.

    Args:
        num_classes: As in :func:`read_label_map`; ``tools/train.py`` sets it.
        reduce_zero_label: As in :func:`read_label_map`. Default: what the data set says.

    Raises:
        UserError: As :func:`read_label_map`, or the size is not that of the photograph.
    """

    def __init__(self, num_classes: Optional[int] = None,
                 reduce_zero_label: Optional[bool] = None) -> None:
        self.num_classes, self.reduce_zero_label = num_classes, reduce_zero_label

    def transform(self, results: dict) -> dict:
        reduce = self.reduce_zero_label
        if reduce is None:
            reduce = bool(results.get('reduce_zero_label'))
        path = results['seg_map_path']
        labels = read_label_map(path, self.num_classes, reduce)
        if results.get('label_map'):
            table = np.arange(256, dtype=np.uint8)
            for old, new in results['label_map'].items():
                table[old] = new
            labels = table[labels]
        if labels.shape != tuple(results['ori_shape']):
            height, width = results['ori_shape']
            raise UserError(f'the label map {printable(path)} is {labels.shape[1]}x'
                            f'{labels.shape[0]} pixels, but its photograph is {width}x{height}')
        results['gt_seg_map'] = labels
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results


@DATASETS.register_module()
class LabelMapFolders(ReplacesUnreadable, BaseDataset):
    """Photographs with label maps; of every ending that the listing knows, and paired by name.

    Args:
        data_root: The data set.
        data_prefix: ``img_path`` and ``seg_map_path``, the two folders in it.
        classes: Names of the classes, in the order of the labels.
        palette: A colour a class, for pictures. Default: drawn at random, always the same.
        reduce_zero_label: Whether 0 means unlabelled and classes begin at 1.
        img_suffix: What the names of photographs end in where it is more than their ending.
        seg_map_suffix: The same for label maps.
        max_unreadable: Share of the images, from 0 to 1, that may turn out unreadable. Another one
            takes the place, the next one in evaluation (``test_mode``).
        **dataset: Other fields of ``mmengine.dataset.BaseDataset``, such as ``pipeline``.

    Attributes:
        description: What was taken and what was left out, once the folders are read.

    Raises:
        NoImages: A folder is missing, or no photograph has a label map.
    """

    def __init__(self, data_root: str = '', data_prefix: dict = dict(img_path='', seg_map_path=''),
                 classes: Sequence[str] = (), palette: Optional[Sequence] = None,
                 reduce_zero_label: bool = False, img_suffix: str = '', seg_map_suffix: str = '',
                 max_unreadable: float = 0.01, **dataset) -> None:
        self.check_share(max_unreadable)
        self.reduce_zero_label = reduce_zero_label
        self.suffixes, self.description = (img_suffix, seg_map_suffix), ''
        if palette is None or len(palette) != len(classes):
            palette = np.random.RandomState(42).randint(0, 255, (len(classes), 3)).tolist()
        super().__init__(data_root=data_root, data_prefix=dict(data_prefix), metainfo=dict(
            classes=tuple(classes), palette=[list(colour) for colour in palette],
            reduce_zero_label=reduce_zero_label, label_map=None), **dataset)
        self.count_unreadable(max_unreadable)

    def load_data_list(self) -> List[dict]:
        photographs, maps = self.data_prefix['img_path'], self.data_prefix['seg_map_path']
        images = list_images(photographs)
        pairs = pair_by_name(images, list_images(maps), *self.suffixes)
        self.description = f'{len(pairs)} pairs; {images.describe()}'
        return [dict(img_path=os.path.join(photographs, image),
                     seg_map_path=os.path.join(maps, label), label_map=None,
                     reduce_zero_label=self.reduce_zero_label, seg_fields=[])
                for image, label in pairs]

    def __getitem__(self, index: int) -> dict:
        return self.nearest_readable(index) if self.test_mode else super().__getitem__(index)
