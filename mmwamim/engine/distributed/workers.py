"""Loader workers: as many as there are cores for, and fields that go with none."""
import os

from mmengine.config import Config

from mmwamim.machine.cores import granted_cores

from ..config.loaders import LOADERS


def settle_workers(cfg: Config) -> None:
    """At most as many loader workers as this process has cores: more get in each other's way.

    Without workers, fields that torch refuses then are taken out of every loader.
    """
    local = int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    bound_each = 'SLURM_PROCID' in os.environ  # srun binds every process to cores of its own
    share = max(granted_cores() // (1 if bound_each else local), 1)
    for name in LOADERS:
        loader = cfg.get(name)
        if not loader:
            continue
        loader.num_workers = min(loader.get('num_workers', 0), share)
        if not loader.num_workers:
            for field in ('persistent_workers', 'prefetch_factor'):
                loader.pop(field, None)
