"""How many cores this process may use."""
import os
from pathlib import Path
from typing import Iterator, Set


def granted_cores(cgroup: Path = Path('/sys/fs/cgroup'),
                  membership: Path = Path('/proc/self/cgroup')) -> int:
    """The cores that this process may use, which may be fewer than the machine has.

    Slurm and taskset bind processes to cores; containers and systemd limit their time (cgroup,
    version 1 or 2, of this group or one around it), of which a part of a core counts as one.

    Args:
        cgroup: Where the limits are mounted.
        membership: The file that says which groups this process is in.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    return max(min([bound or 1, *_limits(cgroup, membership)]), 1)


def _limits(cgroup: Path, membership: Path) -> Iterator[int]:
    """Cores by each time limit, rounded up."""
    for folder in cgroups(cgroup, membership):
        for quota, period in ((folder / 'cpu.max', None),
                              (folder / 'cpu.cfs_quota_us', folder / 'cpu.cfs_period_us')):
            try:
                words = quota.read_text().split() + (period.read_text().split() if period else [])
                time, whole = int(words[0]), int(words[1])
            except (OSError, ValueError, IndexError):  # not there, or 'max'
                continue
            if time > 0 and whole > 0:
                yield -(-time // whole)


def cgroups(cgroup: Path, membership: Path) -> Set[Path]:
    """The folders of this process's groups and of those around them, in both versions."""
    roots = (cgroup, cgroup / 'cpu')
    folders = set(roots)
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return folders
    for line in lines:
        own = Path(line.split(':', 2)[-1].lstrip('/'))
        for root in roots:
            folders |= {root / part for part in (own, *own.parents)}
    return folders
