"""Goes through a folder with many threads, since storage answers many questions at once."""
import os
import stat
import time
from array import array
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator, List, Optional, Sequence, Set, Tuple, Union

from mmwamim.interface.progress import Progress

from .paths import Spool, encode

# Names in lower case. Not 'trash', which is a class of photographs of waste.
SYSTEM_FOLDERS = {
    '__macosx', '@eadir', '@recycle', '@recently-snapshot', '@tmp', '#recycle', '#snapshot',
    '$recycle.bin', 'recycler', 'system volume information', 'lost+found', 'thumbnails', 'thumbs',
    '__pycache__', 'vis_data'}  # the last: pictures that MMEngine draws
RUN = 'last_checkpoint'  # a file that MMEngine leaves in a work directory
HIDDEN, UNUSABLE, NO_ENDING = 'hidden', 'broken links and devices', 'without ending'
THREADS = 16
PART = 256  # folders
QUIET = 2.  # seconds before the first word on how far it is
Identity = Tuple[int, int]


def is_system_folder(name: str) -> bool:
    """Whether a folder of that name is left out: hidden, a waste bin, thumbnails."""
    return name.startswith('.') or name.lower() in SYSTEM_FOLDERS


class Endings:
    """Which file names count, in any case.

    Args:
        endings: In lower case, such as '.jpg', '_rgb.png' or '.tar.gz'.
    """

    def __init__(self, endings: Sequence[str]) -> None:
        self.all = tuple(endings)
        self.plain = {e for e in endings if e.startswith('.') and e.count('.') == 1}
        self.others = tuple(e for e in endings if e not in self.plain)

    def taken(self, name: str) -> Optional[str]:
        """What to count a name in lower case as; None if it does not count."""
        _, dot, last = name.rpartition('.')
        last = dot + last
        if dot and last in self.plain:
            return last
        if self.others and name.endswith(self.others):
            return next(e for e in _endings(name) if e in self.all or not e)
        return None


def _endings(name: str) -> Iterator[str]:
    """'.gz', '.tar.gz' of 'a.tar.gz', then ''."""
    parts = name.split('.')
    for first in range(len(parts) - 1, 0, -1):
        yield '.' + '.'.join(parts[first:])
    yield ''


@dataclass
class Scanned:
    """One folder, without what lies in folders below it."""
    below: str
    """Its path relative to the root, with a slash behind it, or ''."""
    state: Tuple[int, ...] = ()
    """Device, number and the two times that change when an entry comes or goes; () if unknown."""
    runs: List[Tuple[str, bytes]] = field(default_factory=list)
    """Paths between which no folder sorts, parted by zero bytes, and the first of each."""
    folders: List[str] = field(default_factory=list)
    links: List[str] = field(default_factory=list)
    skipped: List[str] = field(default_factory=list)
    unusable: List[str] = field(default_factory=list)
    taken: Counter = field(default_factory=Counter)
    left_out: Counter = field(default_factory=Counter)
    error: str = ''


def state_of(path: Union[str, Path]) -> Tuple[int, ...]:
    """What changes when an entry comes or goes; () where there is no folder."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns) \
        if stat.S_ISDIR(status.st_mode) else ()


def scan(root: str, below: str, endings: Endings) -> Scanned:
    """Lists one folder."""
    found, names = Scanned(below), []
    place = os.path.join(root, below).rstrip('/') or '/'
    try:
        found.state = state_of(place)
        with os.scandir(place) as entries:
            for entry in entries:
                name = entry.name
                plain = entry.is_file(follow_symlinks=False)  # nearly all; asks nothing more
                if not plain and is_folder(entry):
                    if is_system_folder(name):
                        found.skipped.append(f'{below}{name}')
                    else:
                        (found.links if entry.is_symlink() else found.folders).append(name)
                elif not plain and not _is_file(entry):
                    found.unusable.append(f'{below}{name}')
                elif name == RUN and below:  # its curves and reconstructions are no data
                    return Scanned(below, found.state, error='it is the work directory of a run')
                elif name.startswith('.'):
                    found.left_out[HIDDEN] += 1
                else:
                    ending = endings.taken(name.lower())
                    if ending is None:
                        found.left_out[os.path.splitext(name.lower())[1] or NO_ENDING] += 1
                    else:
                        found.taken[ending] += 1
                        names.append(name)
    except OSError as error:
        return Scanned(below, found.state, error=error.strerror)
    if found.unusable:
        found.left_out[UNUSABLE] += len(found.unusable)
    found.runs = _runs(below, names, [f'{name}/' for name in found.folders + found.links])
    found.folders, found.links = ([f'{below}{name}/' for name in sorted(some)]
                                  for some in (found.folders, found.links))
    return found


def _runs(below: str, names: List[str], folders: List[str]) -> List[Tuple[str, bytes]]:
    runs, run = [], []
    folders_too = set(folders)
    for name in sorted([*names, *folders]) + ['/']:  # the last ends the last run
        if name != '/' and name not in folders_too:
            run.append(below + name)
        elif run:
            runs.append((run[0], encode('\0'.join(run))))
            run = []
    return runs


class Walk:
    """All folders below a root, real ones before links to folders, each once.

    Args:
        root: Where to begin.
        endings: Which files count.
        without: Folders that are left out.

    Attributes:
        paths: What was found, in the order of the folders.
        folders: Their paths below the root, and ``states``, their times.
        taken, left_out: Numbers of files by ending or reason.
        skipped, unusable: Folders of the system; broken links and devices.
        notes: Links and folders that were left out, and why.
    """

    def __init__(self, root: Path, endings: Endings, without: Sequence = ()) -> None:
        self.root, self.endings = root, endings
        self.seen: Set[Identity] = {state_of(path)[:2] for path in without if os.path.isdir(path)}
        self.paths = Spool()
        self.folders: List[str] = []
        self.states = array('q')  # four for each folder
        self.taken, self.left_out = Counter(), Counter()
        self.skipped: List[str] = []
        self.unusable: List[str] = []
        self.notes: List[str] = []
        self.count = 0
        self.started = self.told = time.monotonic()
        self.progress = Progress()

    def run(self) -> 'Walk':
        """Goes through all of it."""
        links: List[str] = []
        with ThreadPoolExecutor(THREADS) as pool:
            folders = ['']
            while folders or links:
                if not folders:
                    folders = self._next_link(links.pop(0))
                    continue
                # A part at a time: what waits to be kept is small, however fast the threads are.
                level = folders[-PART:]
                del folders[-PART:]
                for found in pool.map(lambda below: scan(str(self.root), below, self.endings),
                                      level):
                    if found.state[:2] in self.seen:
                        continue
                    if found.state:
                        self.seen.add(found.state[:2])
                    if found.error:
                        self.notes.append(f'left out the folder {found.below.rstrip("/")!r}: '
                                          f'{found.error}')
                    self._keep(found)
                    folders += found.folders
                    links += found.links
                    self._tell()
        self.progress.end()
        return self

    def _keep(self, found: Scanned) -> None:
        """Keeps what is needed of a folder; of a million paths only where they are."""
        self.count += 1
        for first, run in found.runs:
            self.paths.add(first, run)
        if found.state:
            self.folders.append(found.below)
            self.states.extend(found.state)
        self.taken.update(found.taken)
        self.left_out.update(found.left_out)
        self.skipped += found.skipped
        self.unusable += found.unusable

    def _next_link(self, below: str) -> List[str]:
        """A link that leads to a folder which was not seen yet, or nothing."""
        link = self.root / below
        target, place = os.path.realpath(link), os.path.realpath(link.parent)
        if os.path.commonpath([target, place]) == target:
            self.notes.append(f'left out the link {below.rstrip("/")!r}: it leads back to '
                              f'{target!r}, in which it lies')
            return []
        if state_of(link)[:2] in self.seen:
            self.notes.append(f'left out the link {below.rstrip("/")!r}: {target!r} is '
                              'listed already')
            return []
        return [below]

    def _tell(self) -> None:
        now = time.monotonic()
        first = int(os.environ.get('RANK', os.environ.get('SLURM_PROCID', 0))) == 0
        if first and now - max(self.told, self.started + QUIET - 1) > 1:
            self.told = now
            self.progress.say(f'listing {ascii(str(self.root))}: {self.count} folders')


def is_folder(entry: os.DirEntry) -> bool:
    """Whether an entry is a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_file(entry: os.DirEntry) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False
