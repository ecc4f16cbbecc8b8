"""The loader of a run whose batches are a function of seed, epoch and place, and its failures."""
import itertools
import os
import re
import resource
import shutil
from contextlib import contextmanager
from typing import Any, Iterator, Optional, Union

from mmengine.dist import get_world_size
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmwamim.datasets.sampling import ResumableBatches, ResumableSampler
from mmwamim.errors import UserError
from mmwamim.interface.words import option

from .progress import Position


def build_loader(runner: Runner, loader: Union[DataLoader, dict]) -> DataLoader:
    """The training loader, whose augmentations follow from the draws of its sampler.

    A batch that is larger than the data set, which would train on nothing where incomplete batches
    are dropped, is made smaller, and the log says so.

    Raises:
        UserError: There are fewer images than processes.
    """
    if isinstance(loader, DataLoader):
        return loader

    def build(batch: int) -> DataLoader:
        dataset = dict(type='mmwamim.SeededDataset', dataset=loader['dataset'])
        return runner.build_dataloader(
            {**loader, 'dataset': dataset, 'batch_size': batch}, seed=runner.seed,
            diff_rank_seed=runner._randomness_cfg.get('diff_rank_seed', False))

    built = build(loader['batch_size'])
    if len(built):
        return built
    images, processes = len(built.dataset), get_world_size()
    batch = images // processes
    if not batch:
        raise UserError(f'{images} images in {getattr(built.dataset, "data_root", "the data set")}'
                        f' are too few for {processes} processes')
    runner.logger.warning(f'{images} images are fewer than a batch of {loader["batch_size"]} x '
                          f'{processes}: taking {batch} x {processes}')
    runner._train_dataloader['batch_size'] = batch  # which the learning rate is scaled with
    return build(batch)


def batches_from(loader: DataLoader, start: Position, done: int) -> Iterator[Any]:
    """The batches of an epoch behind the first ``done`` ones, without reading those.

    Args:
        loader: Built by :func:`build_loader`.
        start: Where steps of today's size begin in the epoch.
        done: Steps of the epoch that are done.
    """
    source = loader.batch_sampler
    images = start.skipped
    if isinstance(source, ResumableBatches):
        source.skip(done - start.first)
    else:
        images += (done - start.first) * source.batch_size * get_world_size()
    left = len(loader) - done
    if isinstance(source.sampler, ResumableSampler):
        source.sampler.skip(images)
        batches = itertools.islice(loader, left)
    else:  # a sampler of others: what was seen is read again, and dropped
        batches = itertools.islice(loader, done, None)
    yield from batches
    if isinstance(source, ResumableBatches):
        source.skip(0)
    if isinstance(source.sampler, ResumableSampler):
        source.sampler.skip(0)


@contextmanager
def explained() -> Iterator[None]:
    """Says which setting to change where training fails for want of something.

    Raises:
        UserError: In place of an error that :func:`advice` knows.
    """
    try:
        yield
    except (RuntimeError, OSError, ValueError) as error:
        text = advice(error)
        if text is None or isinstance(error, UserError):
            raise
        raise UserError(text) from error


def advice(error: Exception) -> Optional[str]:
    """What to change after an error of torch that names no setting; None for all others."""
    text = str(error)
    if re.search(r'Bus error|shared memory|No space left on device.*shm|torch_\d+.*No space', text):
        total, _, free = shutil.disk_usage('/dev/shm') if os.path.isdir('/dev/shm') else (0, 0, 0)
        if 'Too many open files' not in text:
            return (f'the loader workers ran out of shared memory (/dev/shm has '
                    f'{total / 2**30:.1f} GB, {free / 2**30:.1f} GB of it free): give it more '
                    '(docker run --shm-size=16g or --ipc=host), or lower train_dataloader.'
                    f'num_workers or train_dataloader.batch_size ({text})')
    if re.search(r'Too many open files|items of ancdata|Errno 24', text):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return (f'too many open files, more than the limit of {limit}: raise it before the start '
                f'(ulimit -n 65536), or lower train_dataloader.num_workers ({text})')
    if re.search(r'DataLoader worker .*killed by signal: Killed', text):
        return (f'a loader worker was killed, most likely for want of memory: lower '
                f'train_dataloader.num_workers, or ask for more memory ({text})')
    if 'Expected more than 1 value per channel when training' in text:
        return ('a batch norm needs more than one value: raise train_dataloader.batch_size '
                f'({option("batch_size")}) to at least 2 images a process ({text})')
    return None
