"""Which image comes when, as a pure function of seed, epoch and process.

Random numbers that depend on nothing else can be had again at any point: a run that is resumed
in the middle of an epoch draws what the run that was never interrupted draws.
"""
import hashlib
import random
from typing import Iterator, NamedTuple, Optional, Sized

import numpy as np
import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from mmwamim.registry import DATA_SAMPLERS


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
    """Seeds Python, NumPy and torch's CPU generator from :func:`mix_seed`."""
    seed = mix_seed(*parts)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    # Not torch.manual_seed: for a GPU that this process never uses it would write down a
    # traceback each time, which takes as long as resizing the image.
    torch.default_generator.manual_seed(seed)


@DATA_SAMPLERS.register_module()
class ResumableSampler(Sampler):
    """MMEngine's ``DefaultSampler`` that can begin in the middle of an epoch.

    Yields :class:`Draw` instead of bare indices, and never decodes what it skips. Every process
    gets the same number of images; the first ones are repeated to fill up.

    Args:
        dataset: Accepts :class:`Draw`, as ``UnlabelledImages`` does.
        shuffle: Whether to draw a new order for each epoch.
        seed: Default: MMEngine's seed of the run, the same on all processes.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: Optional[int] = None) -> None:
        self.rank, self.world_size = get_dist_info()
        self.dataset, self.shuffle = dataset, shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.epoch, self.start = 0, 0
        self.num_samples = -(-len(dataset) // self.world_size)

    def __iter__(self) -> Iterator[Draw]:
        size = len(self.dataset)
        if self.shuffle:
            generator = torch.Generator().manual_seed(mix_seed(self.seed, self.epoch))
            order = torch.randperm(size, generator=generator)
        else:
            order = torch.arange(size)
        places = torch.arange(self.rank, self.num_samples * self.world_size, self.world_size)
        for index in order[places % size][self.start:].tolist():
            yield Draw(self.seed, self.epoch, index)

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch, which the order depends on; MMEngine calls it."""
        self.epoch = epoch

    def skip(self, count: int) -> None:
        """Leaves out the first ``count`` images of this process in the epochs that begin now."""
        self.start = count
