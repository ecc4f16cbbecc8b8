"""Which checkpoint of a work directory is the newest, by what is stored in it, and whose it is.

File times say nothing: copying a folder makes an old file the newest.
"""
import os
import re
import sys
import time
import zipfile
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple, Union

from mmwamim.errors import UserError

from .reading import damage, read_header

PREEMPTED_NAME = 'preempted.pth'
PATTERNS = ('epoch_*.pth', 'iter_*.pth', PREEMPTED_NAME)
NEEDED = ('meta', 'optimizer', 'message_hub')  # in a file of another name that a run can go on from


class RunName(NamedTuple):
    """The run that wrote a checkpoint; files of earlier versions have no id."""
    id: Optional[str] = None
    started: float = 0.
    config: str = 'an earlier version'

    def __str__(self) -> str:
        when = time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(self.started))
        return f'{self.config}, started {when}' if self.id else self.config


class Found(NamedTuple):
    """A checkpoint file: how far it has got as (epochs, share of the next one or steps)."""
    progress: Tuple[float, float]
    path: Path
    run: RunName


def run_of(path: Union[str, Path]) -> RunName:
    """The run that wrote a checkpoint."""
    try:
        return _run(read_header(path))
    except UserError:
        return RunName()


def _run(header: dict) -> RunName:
    run = header.get('message_hub', {}).get('runtime_info', {}).get('run')
    return RunName(**run) if run else RunName()


def progress_of(header: dict) -> Optional[Tuple[float, float]]:
    """How far a checkpoint has got, comparable within a run whatever the size of its steps.

    Epochs and the share of the next one in a run that counts epochs, (0, steps) in one that counts
    steps; None for a file that does not say.
    """
    meta = header.get('meta', {})
    if 'epoch' not in meta or 'iter' not in meta:
        return None
    record = header.get('progress') or {}
    steps = record.get('steps') or header.get('steps_per_epoch')
    if record.get('counts') == 'steps' or (not steps and not meta['epoch']):
        return 0., float(meta['iter'])
    share = (meta['iter'] - meta['epoch'] * steps) / steps if steps else 0.
    return float(meta['epoch']), share


def list_checkpoints(work_dir: Union[str, Path], report: bool = True) -> List[Found]:
    """Every readable checkpoint of a work directory that a run can go on from, the oldest first:
    by its name, or, where it was renamed, by what is in it.

    Args:
        work_dir: The directory; it need not be there.
        report: Whether to say which ones are damaged.
    """
    found = []
    for path in sorted(Path(work_dir).glob('*.pth')):
        if path.name.startswith('.'):  # not complete yet
            continue
        usual = any(path.match(pattern) for pattern in PATTERNS)
        number = re.search(r'(\d+)\.pth$', path.name)
        named = (float(number[1]) if number else -1., 0.)  # where the file itself does not say
        try:
            header = read_header(path)
            progress = progress_of(header)
            if usual or progress and all(field in header for field in NEEDED):
                found.append(Found(progress or named, path, _run(header)))
        except UserError:
            if not usual:
                continue
            problem = None if zipfile.is_zipfile(path) else damage(path)
            if problem is None:  # whole, but with more than data: refused when it is read
                found.append(Found(named, path, RunName()))
            elif report:
                _say(f'{path} is damaged ({problem}): taking the one before it')
    return sorted(found, key=_order)


def _order(one: Found) -> tuple:
    return (*one.progress, one.path.name != PREEMPTED_NAME)


def latest_checkpoint(work_dir: Union[str, Path], *others: Union[str, Path]) -> Optional[Path]:
    """The furthest undamaged checkpoint of the run that was started last, or None.

    Damaged ones, and those of other runs in the same directory, are reported.

    Args:
        work_dir: The work directory.
        *others: More directories with checkpoints of the run (``default_hooks.checkpoint.out_dir``
            of a config).
    """
    folders = list(dict.fromkeys(map(Path, (work_dir, *others))))
    if is_first():
        for rest in (rest for folder in folders for rest in folder.glob('.*.pth.*')):
            rest.unlink(missing_ok=True)  # of a kill during writing
    runs: Dict[RunName, List[Found]] = {}
    for one in sorted((one for folder in folders for one in list_checkpoints(folder)), key=_order):
        runs.setdefault(one.run, []).append(one)
    if not runs:
        return None
    last = max(runs, key=lambda run: run.started)
    for run, others in runs.items():
        if run != last:
            names = ', '.join(one.path.name for one in others)
            _say(f'{work_dir} holds checkpoints of several runs: {names} are of {run}, and are '
                 f'left alone; going on with {last}')
    for one in reversed(runs[last]):
        problem = damage(one.path)
        if problem is None:
            return one.path
        _say(f'{one.path} is damaged ({problem}): taking the one before it')
    return None


def last_of_run(work_dir: Union[str, Path], run: Optional[str]) -> Optional[Path]:
    """The furthest undamaged checkpoint of one run, by its id, in a directory of perhaps several.
    """
    mine = [one.path for one in list_checkpoints(work_dir, report=False) if one.run.id == run]
    return next((path for path in reversed(mine) if damage(path) is None), None)


def is_first() -> bool:
    """Whether this is the process that speaks, also before there is a process group."""
    return int(os.environ.get('RANK', os.environ.get('SLURM_PROCID', 0))) == 0


def _say(text: str) -> None:
    if is_first():
        print(text, file=sys.stderr)
