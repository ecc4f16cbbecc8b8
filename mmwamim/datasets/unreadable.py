"""Data sets that go on without the images that cannot be read."""
import logging
from typing import Optional

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.logging import print_log
from torch.utils.data import Dataset

from mmwamim.errors import UserError

from .listing import printable
from .loading import UnreadableImage


class TooManyUnreadable(UserError, RuntimeError):
    """More images cannot be read than ``max_unreadable`` allows."""


def name_unreadable(dataset: Dataset) -> None:
    """Names what other ranks could not read, whose warnings are in no log; each is known to all
    ranks then, is named once and counts once. To be called on all ranks.

    Raises:
        TooManyUnreadable: On all ranks: together they found more than ``max_unreadable`` allows.
    """
    own = getattr(dataset, '_unreadable', None)
    if get_world_size() == 1:
        return
    if own is None:  # one that repeats or joins others
        for inside in (getattr(dataset, 'dataset', None), *getattr(dataset, 'datasets', ())):
            if inside is not None:
                name_unreadable(inside)
        return
    everyone = own.clone()
    all_reduce(everyone, 'max')
    for index in torch.nonzero(everyone > own).flatten().tolist():
        own[index] = 1
        print_log('unreadable image, skipped by another rank: '
                  f'{printable(dataset.get_data_info(index)["img_path"])}', 'current',
                  logging.WARNING)
    # The same words on all ranks, so that they are said once.
    found = torch.nonzero(everyone).flatten().tolist()
    if found:
        dataset.check_count(printable(dataset.get_data_info(found[-1])['img_path']))


class ReplacesUnreadable:
    """Mixin of MMEngine's ``BaseDataset``: where an image cannot be read, None makes the data set
    take another one. Its path is logged once."""

    def check_share(self, max_unreadable: float) -> None:
        """Raises ValueError unless it is a share."""
        if not 0 <= max_unreadable <= 1:
            raise ValueError(f'max_unreadable must lie in [0, 1], not {max_unreadable}')

    def count_unreadable(self, max_unreadable: float) -> None:
        """Begins to count, once the images are known.

        Args:
            max_unreadable: Share of the images, from 0 to 1, that may turn out unreadable.
        """
        self.max_unreadable = max_unreadable
        # Shared by the loader's workers, so that each path is logged and counted once.
        self._unreadable = torch.zeros(len(self), dtype=torch.uint8).share_memory_()

    def prepare_data(self, index: int) -> Optional[dict]:
        """As the parent's; None where the image is unreadable.

        Raises:
            TooManyUnreadable: More are than ``max_unreadable`` allows.
        """
        try:
            return super().prepare_data(index)
        except UnreadableImage as error:
            if not self._unreadable[index]:
                self._unreadable[index] = 1
                print_log(f'unreadable image, skipped: {printable(error)}', 'current',
                          logging.WARNING)
            self.check_count(printable(error))
            return None

    def check_count(self, last: str) -> None:
        """Raises TooManyUnreadable where more are known than ``max_unreadable`` allows; ``last`` is
        what to say of one."""
        count = int(self._unreadable.sum())
        # One is always allowed, however small the set is, unless none is.
        if count > max(self.max_unreadable * len(self), self.max_unreadable > 0):
            raise TooManyUnreadable(
                f'{count} of {len(self)} images in {printable(self.image_folder)} cannot be '
                f'read, more than max_unreadable = {self.max_unreadable:g}; the last is '
                f'{last}. Look at the folder with mmwamim check, or raise max_unreadable of the '
                'data set (train_dataloader.dataset.max_unreadable)') from None

    def nearest_readable(self, index: int) -> dict:
        """The image at an index or, where it cannot be read, the next one of its class: chance
        has no place in evaluation, and a label that was read beforehand stays right."""
        label = self.get_data_info(index).get('gt_label')
        for place in range(index, index + len(self)):
            place %= len(self)
            if self.get_data_info(place).get('gt_label') == label:
                data = self.prepare_data(place)
                if data is not None:
                    return data
        raise TooManyUnreadable('no image of the class of '
                                f'{printable(self.get_data_info(index)["img_path"])} can be read')

    @property
    def image_folder(self) -> str:
        """Where the images lie."""
        return self.data_prefix.get('img_path') or self.data_prefix.get('img') or self.data_root
