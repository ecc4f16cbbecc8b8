"""Loader workers: as many as there are cores for, and fields that go with none."""
import os
from pathlib import Path

from mmengine.config import Config

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def granted_cores(cgroup: Path = Path('/sys/fs/cgroup')) -> int:
    """The cores that this process may use, which may be fewer than the machine has.

    Slurm and taskset bind processes to cores; containers limit their time (cgroup, version 1 or
    2), of which a part of a core counts as one.

    Args:
        cgroup: Where the limits are mounted.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    return max(min(bound or 1, _quota(cgroup) or bound or 1), 1)


def _quota(cgroup: Path) -> int:
    """Cores by the time limit of a container, rounded up; 0 without a limit."""
    for quota, period in ((cgroup / 'cpu.max', None),
                          (cgroup / 'cpu/cpu.cfs_quota_us', cgroup / 'cpu/cpu.cfs_period_us')):
        try:
            words = quota.read_text().split() + (period.read_text().split() if period else [])
            time, whole = int(words[0]), int(words[1])
        except (OSError, ValueError, IndexError):  # not there, or 'max'
            continue
        if time > 0 and whole > 0:
            return -(-time // whole)
    return 0


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
