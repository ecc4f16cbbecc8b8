"""Folders of images, with and without labels."""
import os
from numbers import Integral
from typing import Any, Optional, Sequence, Tuple, Union

import numpy as np
from mmengine.dataset import force_full_init
from mmpretrain.datasets import CustomDataset

from mmwamim.registry import DATASETS

from .held_out import rows_of
from .listing import readable_endings
from .sampling import Draw, begin_draw
from .sources import Records, Source, open_listed, open_source
from .unreadable import ReplacesUnreadable


class _FromSource(CustomDataset):
    """mmpretrain's ``CustomDataset`` whose records are made one by one from a :class:`Source`."""

    def _open(self) -> Source:
        """Finds the images."""
        raise NotImplementedError

    def load_data_list(self) -> Records:
        source = self._open()
        self.description = source.description
        if source.classes is not None:
            self._metainfo['classes'] = source.classes
        return Records(source)

    def _get_unserialized_subset(self, indices: Union[int, Sequence[int]]) -> Records:
        if isinstance(indices, Integral):
            indices = slice(indices) if indices >= 0 else slice(indices, None)
        return self.data_list[indices]

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """``img_path``, ``gt_label`` where there are labels, and ``sample_idx``."""
        return dict(self.data_list[idx], sample_idx=idx if idx >= 0 else len(self) + idx)

    @force_full_init
    def get_gt_labels(self) -> np.ndarray:
        """int64 (N, )."""
        return self.data_list.labels

    @property
    @force_full_init
    def mixed(self) -> Optional[Tuple[np.ndarray, int]]:
        """As of :class:`mmwamim.datasets.sources.Records`; the sampler asks for it."""
        return getattr(self.data_list, 'mixed', None)

    def prepare_data(self, idx: int) -> Optional[dict]:
        """The record, with its bytes as ``img_bytes`` where it is no file, through the
        pipeline."""
        record, data = self.get_data_info(idx), self.data_list.read(idx)
        return self.pipeline(record if data is None else dict(record, img_bytes=data))


class _Images(ReplacesUnreadable, _FromSource):
    """What both kinds have in common: images that cannot be read do not end a run, and a
    :class:`Draw` seeds its augmentations."""

    def __init__(self, max_unreadable: float, **dataset: Any) -> None:
        self.description = ''
        self.check_share(max_unreadable)
        super().__init__(**{**dataset, 'serialize_data': False})
        self.count_unreadable(max_unreadable)

    def __getitem__(self, which: Union[int, Draw]) -> dict:
        """The image at an index; for a :class:`Draw` its augmentations are those of that epoch,
        whatever was drawn before."""
        if isinstance(which, Draw):
            which = begin_draw(which, self)
        return self.nearest_readable(which) if self.test_mode else super().__getitem__(which)


@DATASETS.register_module()
class UnlabelledImages(_Images):
    """Every image of a folder, nested or not, or of a table, shards or a data base
    (:func:`mmwamim.datasets.sources.open_source`); labels are not read.

    A sub-folder ``train`` stands for the folder where another split lies beside it
    (:func:`mmwamim.datasets.splits.pretraining_folder`).

    Args:
        data_root: The folder, file, pattern or name.
        pipeline: Transforms, as in mmpretrain.
        extensions: File names that count as images, in any case. Default: what Pillow reads.
        max_unreadable: Share of the images, from 0 to 1, that may turn out unreadable. Another
            image takes the place of such a one; its path is logged once. A single one is always
            allowed, unless this is 0.
        column: The column of paths or images, where ``data_root`` is a table.
        **dataset: Other fields of ``mmengine.dataset.BaseDataset``, such as ``lazy_init``.

    Attributes:
        description: What was taken and what was left out, once the folder is read.

    Raises:
        NoImages: ``data_root`` is no such place, or holds no image.
        TooManyUnreadable: From ``__getitem__``: more than ``max_unreadable`` cannot be read.

    Examples:
        >>> images = UnlabelledImages('photos')  # doctest: +SKIP
        >>> len(images)  # doctest: +SKIP
        600
        >>> sorted(images[0])  # doctest: +SKIP
        ['img_path', 'sample_idx']
    """

    def __init__(self, data_root: str, pipeline: Sequence = (),
                 extensions: Optional[Sequence[str]] = None, max_unreadable: float = 0.01,
                 column: Optional[str] = None, **dataset: Any) -> None:
        self._column = column
        super().__init__(max_unreadable, data_root=os.path.expanduser(data_root), with_label=False,
                         pipeline=pipeline, extensions=extensions or readable_endings(), **dataset)

    def _open(self) -> Source:
        if self.ann_file:
            return open_listed(self.ann_file, self.img_prefix, False)
        return open_source(self.data_root, endings=self.extensions, column=self._column)


@DATASETS.register_module()
class ClassFolders(_Images):
    """Images whose folder is their class, ``<split>/<class>/**``, or whose class a table, shards or
    a data base says (:func:`mmwamim.datasets.sources.open_source`).

    Args:
        data_root: The data set.
        data_prefix: The split in it, such as 'train'.
        classes: The list of classes, which fixes the labels: names, or a file with one a line.
            ``tools/train.py`` hands that of the training set to every split. Default: the folders
            of this one with images in them, by name.
        pipeline: Transforms, as in mmpretrain.
        extensions: As in :class:`UnlabelledImages`.
        max_unreadable: As in :class:`UnlabelledImages`. With ``test_mode`` the next image of the
            same class takes the place.
        column: The column of paths or images, where ``data_root`` is a table.
        label_column: The column of classes there.
        held_out: A share of each class, between 0 and 1, that is kept for validation where a data
            set has no split for it (:func:`mmwamim.datasets.held_out.rows_of`). Default: none.
        takes: With ``held_out``, which part this one is: 'rest' or 'held_out'.
        **dataset: Other fields of ``mmengine.dataset.BaseDataset``, such as ``indices``.

    Attributes:
        description: What was taken and what was left out, once the folder is read.

    Raises:
        NoImages: There is no such folder, or no image in a folder of it.
        UserError: A folder belongs to no class of the list.

    Examples:
        >>> images = ClassFolders(data_root='pets', data_prefix='train')  # doctest: +SKIP
        >>> images.metainfo['classes'], images[0]['gt_label']  # doctest: +SKIP
        (('cat', 'dog'), 0)
    """

    def __init__(self, data_root: str = '', data_prefix: str = '', pipeline: Sequence = (),
                 classes: Union[str, Sequence[str], None] = None,
                 extensions: Optional[Sequence[str]] = None, max_unreadable: float = 0.01,
                 column: Optional[str] = None, label_column: Optional[str] = None,
                 held_out: Optional[float] = None, takes: str = 'rest', **dataset: Any) -> None:
        self._part = None if held_out is None else (held_out, takes)
        self._place = (os.path.expanduser(data_root), data_prefix) if data_root else \
            (data_prefix, '')
        self._columns = dict(column=column, label_column=label_column)
        super().__init__(max_unreadable, data_root=data_root, data_prefix=data_prefix,
                         pipeline=pipeline, classes=classes,
                         extensions=extensions or readable_endings(), **dataset)

    def _open(self) -> Source:
        if self.ann_file:
            return open_listed(self.ann_file, self.img_prefix, self.with_label, self.CLASSES)
        root, split = self._place
        return open_source(root, split, True, self.CLASSES, self.extensions, **self._columns)

    def load_data_list(self) -> Records:
        records = super().load_data_list()
        if self._part is None:
            return records
        rows = rows_of(records.labels, records.source.names(), *self._part)
        share, part = self._part
        self.description += (f'\n  {len(rows)} of them, ' + (
            f'{share:.0%} of each class, held out' if part == 'held_out'
            else f'without the {share:.0%} of each class that are held out'))
        return Records(records.source, rows)
