"""Which image comes when, as a pure function of seed, epoch and process.

Random numbers that depend on nothing else can be had again at any point: a run that is resumed
in the middle of an epoch draws what the run that was never interrupted draws.
"""
import hashlib
import itertools
import random
from typing import Iterator, NamedTuple, Optional, Sized, Union

import numpy as np
import torch
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.registry import DATA_SAMPLERS as root_samplers
from mmengine.registry import DATASETS as root_datasets
from torch.utils.data import Dataset, Sampler

from mmwamim.registry import DATA_SAMPLERS, DATASETS


class Draw(NamedTuple):
    """One image of one epoch; a data set seeds its augmentations with all three."""
    seed: int
    epoch: int
    index: int


def mix_seed(*parts: int) -> int:
    """A 63-bit seed that depends on every part and on their order, the same on all machines."""
    digest = hashlib.blake2b(','.join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, 'big') >> 1


def seed_everything(*parts: int) -> None:
    """Seeds Python, NumPy, torch's CPU generator and, where a GPU is in use, its generator from
    :func:`mix_seed`."""
    seed = mix_seed(*parts)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(seed)
    # Not torch.manual_seed: for a GPU that this process never uses it would write down a
    # traceback each time, which takes as long as resizing the image.
    torch.default_generator.manual_seed(seed)


def begin_draw(draw: Draw, dataset: Dataset) -> int:
    """Seeds the augmentations of an image, tells its epoch to the transforms of the data set that
    have ``set_epoch`` and to where the images lie, and returns its index."""
    seed_everything(*draw)
    for transform in getattr(getattr(dataset, 'pipeline', None), 'transforms', ()):
        if hasattr(transform, 'set_epoch'):
            transform.set_epoch(draw.epoch)
    records = getattr(dataset, 'data_list', None)
    if hasattr(records, 'begin_epoch'):
        records.begin_epoch(draw.seed, draw.epoch)
    return draw.index


def order_of(size: int, seed: int, epoch: int, shuffle: bool = True,
             shard_of: Optional[np.ndarray] = None, buffer: int = 0) -> torch.Tensor:
    """int64 (size, ): the images of an epoch in their order, the same on all processes.

    Args:
        size: Number of images.
        seed, epoch: What a drawn order depends on.
        shuffle: Whether to draw one.
        shard_of: The shard of each image. The order is then drawn over shards, and their images
            are mixed with those of the ``buffer`` shards around them: at every point of the epoch
            the images are of so many neighbours, the first and the last of all being neighbours,
            too. Default: it is drawn over all images.
        buffer: Number of shards.
    """
    if not shuffle:
        return torch.arange(size)
    generator = torch.Generator().manual_seed(mix_seed(seed, epoch))
    if shard_of is None or not size:
        return torch.randperm(size, generator=generator)
    order = shard_order(int(shard_of.max()) + 1, seed, epoch)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    spread = min(buffer, len(order)) * torch.rand(size, generator=generator, dtype=torch.float64)
    return torch.argsort((place[torch.from_numpy(shard_of).long()] + spread) % len(order),
                         stable=True)


def shard_order(count: int, seed: int, epoch: int) -> torch.Tensor:
    """int64 (count, ): the shards of an epoch in their order."""
    generator = torch.Generator().manual_seed(mix_seed(seed, epoch, count))
    return torch.randperm(count, generator=generator)


@DATA_SAMPLERS.register_module()
class ResumableSampler(Sampler):
    """MMEngine's ``DefaultSampler`` that can begin in the middle of an epoch.

    Yields :class:`Draw` instead of bare indices, and never decodes what it skips. Every rank
    gets the same number of images; the first ones are repeated to fill up.

    Args:
        dataset: Accepts :class:`Draw`, as ``UnlabelledImages`` does.
        shuffle: Whether to draw a new order for each epoch.
        seed: Default: MMEngine's seed of the run, the same on all ranks.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: Optional[int] = None) -> None:
        self.rank, self.world_size = get_dist_info()
        self.dataset, self.shuffle = dataset, shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.epoch, self.start = 0, 0
        self.num_samples = -(-len(dataset) // self.world_size)

    def __iter__(self) -> Iterator[Draw]:
        size, order = len(self.dataset), self._order(self.epoch)
        end = self.num_samples * self.world_size
        places = torch.arange(min(self.start + self.rank, end), end, self.world_size)
        # In C, but for a step every 65536 images: the main process draws a batch's indices while
        # the accelerator waits for it.
        indices = (order[part % size].tolist() for part in places.split(1 << 16))
        return map(Draw._make, zip(itertools.repeat(self.seed), itertools.repeat(self.epoch),
                                   itertools.chain.from_iterable(indices)))

    def __len__(self) -> int:
        return self.num_samples

    def _order(self, epoch: int) -> torch.Tensor:
        mixed = getattr(self.dataset, 'mixed', None) or ()
        return order_of(len(self.dataset), self.seed, epoch, self.shuffle, *mixed)

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch, which the order depends on; MMEngine calls it."""
        self.epoch = epoch

    def skip(self, count: int) -> None:
        """Leaves out the first ``count`` images of the order, which all processes share, in the
        epochs that begin now."""
        self.start = count


@DATA_SAMPLERS.register_module()
class ResumableStream(ResumableSampler):
    """The same without an end, for runs that count steps: one order after the other.

    Args:
        dataset, shuffle, seed: As of :class:`ResumableSampler`.
    """

    def __iter__(self) -> Iterator[Draw]:
        size, epoch, order = len(self.dataset), None, None
        for place in itertools.count(self.start + self.rank, self.world_size):
            if place // size != epoch:
                epoch = place // size
                order = self._order(epoch)
            yield Draw(self.seed, epoch, int(order[place % size]))

    def set_epoch(self, epoch: int) -> None:
        """Nothing: the epoch follows from the place in the stream."""


@DATA_SAMPLERS.register_module()
class ResumableBatches:
    """Batches of any batch sampler, of which the first ones can be left out.

    For those whose batches do not follow from the number of images before them, such as mmdet's
    ``AspectRatioBatchSampler``.

    Args:
        batches: Config of the batch sampler.
        sampler: What it takes images from.
        batch_size: Images of a batch.
    """

    def __init__(self, batches: dict, sampler: Sampler, batch_size: int) -> None:
        self.batches = root_samplers.build(
            batches, default_args=dict(sampler=sampler, batch_size=batch_size))
        self.sampler, self.batch_size, self.start = sampler, batch_size, 0

    def __iter__(self) -> Iterator[list]:
        return itertools.islice(iter(self.batches), self.start, None)

    def __len__(self) -> int:
        return len(self.batches)

    def skip(self, count: int) -> None:
        """Leaves out the first ``count`` batches in the epochs that begin now."""
        self.start = count


@DATASETS.register_module()
class SeededDataset(Dataset):
    """Any data set, whose augmentations are those of the :class:`Draw`, whatever was drawn before.

    All else is asked of the data set itself.

    Args:
        dataset: Config of the data set.
    """

    def __init__(self, dataset: dict) -> None:
        self.dataset = root_datasets.build(dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, which: Union[int, Draw]) -> dict:
        if isinstance(which, Draw):
            which = begin_draw(which, self.dataset)
        return self.dataset[which]

    def get_data_info(self, which: Union[int, Draw]) -> dict:
        """What is known of an image without reading it; mmdet's batch samplers ask for it."""
        return self.dataset.get_data_info(which.index if isinstance(which, Draw) else which)

    def __getattr__(self, name: str):
        if name == 'dataset' or name.startswith('__'):  # not there yet, while it is unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)
