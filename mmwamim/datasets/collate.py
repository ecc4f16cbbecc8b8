"""From samples to a batch that is quick to hand over to the training process."""
from typing import List, Sequence

import torch
from mmengine.dataset import default_collate
from mmpretrain.structures import DataSample

from mmwamim.errors import UserError
from mmwamim.registry import FUNCTIONS


class PathSamples:
    """The data samples of a batch of which only the files are known.

    It is read like a list of ``DataSample`` with ``img_path``, and each is made when it is read: a
    list of them would take longer to hand over than all else that the host does in a step.

    Args:
        paths: Of the images, in the batch's order.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> DataSample:
        sample = DataSample()
        sample.set_metainfo(dict(img_path=self.paths[place]))
        return sample


@FUNCTIONS.register_module()
def collate_images(batch: List[dict]) -> dict:
    """MMEngine's ``default_collate`` for batches of pre-training.

    Args:
        batch: Dicts of tensors and ``data_samples``.

    Returns:
        The same keys. ``data_samples`` that have a path and nothing else are
        :class:`PathSamples`; others, such as those with labels or masks, stay a list.

    Raises:
        UserError: As of :func:`check_alike`.

    Examples:
        >>> batch = collate_images([dict(inputs=torch.zeros(3, 8, 8))] * 2)
        >>> batch['inputs'].shape
        torch.Size([2, 3, 8, 8])
    """
    check_alike(batch)
    samples = [item.get('data_samples') for item in batch]
    if not all(_is_path(sample) for sample in samples):
        return default_collate(batch)
    rest = [{key: value for key, value in item.items() if key != 'data_samples'}
            for item in batch]
    return dict(default_collate(rest),
                data_samples=PathSamples([sample.img_path for sample in samples]))


def check_alike(batch: List[dict]) -> None:
    """Raises UserError with two files whose ``inputs`` cannot be one batch: they differ in type, in
    channels or in size."""
    kinds = {}
    for item in batch:
        pixels = item.get('inputs')
        if isinstance(pixels, torch.Tensor):
            kinds.setdefault((pixels.dtype, tuple(pixels.shape)), item.get('data_samples'))
    if len(kinds) > 1:
        some = [f'{getattr(sample, "img_path", "an image")} is {str(kind).split(".")[-1]} of the '
                f'shape {shape}' for (kind, shape), sample in list(kinds.items())[:2]]
        raise UserError(f'images of a batch must be alike, but {", and ".join(some)} (channels, '
                        'height, width). Data of several depths become 8 bits by value_range=(low, '
                        'high)')


def _is_path(sample) -> bool:
    return isinstance(sample, DataSample) and sample.all_keys() == ['img_path']
