"""Which images a folder holds: one listing for every task and tool.

Folders and files whose names begin with a dot, and those that operating systems and network
drives keep for themselves (waste bins, thumbnails), are left out, and so are work directories of
runs. Links to folders are followed,
each folder once.
"""
import itertools
import operator
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
from PIL import Image

from mmwamim.errors import UserError

from .kept import kept, tensor_of
from .paths import PackedPaths
from .walk import THREADS, Endings, Walk, is_folder, is_system_folder, state_of  # noqa: F401

# Formats that Pillow recognises but does not decode by itself, and that run another program.
NOT_DECODED = {'BUFR', 'GRIB', 'HDF5', 'MPEG', 'EPS', 'WMF'}


ADVICE = {  # on what is left out
    ('.zip', '.7z', '.rar', '.tar', '.gz', '.tgz', '.bz2', '.xz', '.zst'):
        'archives are not opened in a folder of images: unpack them, or name the folder that holds '
        'tar shards alone',
    ('.heic', '.heif', '.hif', '.dng', '.cr2', '.cr3', '.nef', '.arw'):
        'Pillow does not read these pictures: convert them, say to JPEG or PNG',
    ('.npy', ):
        'arrays are read where their channels are given: channels=N of a config, --channels N'}
VERSION = 3  # of what is kept
MOST_BROKEN = 1000  # broken links that are looked at again at every start
ASKED = 64  # folders whose times a thread asks for in one go
SETTLED = 2.  # seconds after which a folder's times tell of the next change, on any file system


class NoImages(UserError, FileNotFoundError):
    """A folder that is missing, or that holds no image."""


def readable_endings() -> Tuple[str, ...]:
    """Endings of the files that Pillow reads, in lower case: '.jpg', '.png', ..."""
    Image.init()
    return tuple(sorted({ending for ending, form in Image.registered_extensions().items()
                         if form in Image.OPEN and form not in NOT_DECODED} | {'.mpo'}))


@dataclass
class Listing:
    """The images below a folder, and what was left out."""
    root: Path
    paths: Sequence[str] = field(default_factory=list)
    """Relative to the root, sorted: :class:`mmwamim.datasets.paths.PackedPaths`."""
    taken: Counter = field(default_factory=Counter)
    """Number of images by ending, in lower case."""
    left_out: Counter = field(default_factory=Counter)
    """Number of files by ending or other reason."""
    notes: List[str] = field(default_factory=list)
    """What else there is to say, such as which folders were left out."""

    def describe(self) -> str:
        """What was taken and what was left out, for the log."""
        text = f'{len(self.paths)} images in {printable(self.root)}: {counts(self.taken)}'
        if self.left_out:
            text += f'; left out: {counts(self.left_out)}'
        for endings, advice in ADVICE.items():
            there = {name: self.left_out[name] for name in endings if name in self.left_out}
            text += f'\n  {advice}: {counts(there)}' if there else ''
        return '\n'.join([text] + [f'  {printable(note)}' for note in self.notes])


def printable(text) -> str:
    """A path or message without what no terminal can print (names that are no valid UTF-8)."""
    return str(text).encode('utf-8', 'backslashreplace').decode()


def counts(numbers: Mapping[str, int], most: int = 12) -> str:
    """'.jpg 300, .png 40'."""
    ordered = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    text = ', '.join(f'{printable(name)} {number}' for name, number in ordered[:most])
    rest = sum(number for _, number in ordered[most:])
    return f'{text}, {len(ordered) - most} other kinds {rest}' if rest else text or 'none'


def shortened(names: Sequence[str], most: int = 8) -> str:
    """"'a', 'b', ... (1000 in all)"."""
    text = ', '.join(repr(printable(name)) for name in list(names)[:most])
    return f'{text}, ... ({len(names)} in all)' if len(names) > most else text or 'none'


def list_images(root: Union[str, Path], endings: Optional[Sequence[str]] = None,
                without: Sequence[Union[str, Path]] = ()) -> Listing:
    """Every image below a folder, nested or not.

    The listing is kept in the user's cache and taken from there as long as no folder has changed,
    by the times that change when an entry comes or goes.

    Args:
        root: The folder.
        endings: Endings that count as images, in any case. Default: what Pillow reads.
        without: Folders below it that are left out.

    Raises:
        NoImages: There is no such folder. An empty one gives an empty listing.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise NoImages(f'{printable(root)!r} is not a folder')
    endings = tuple(sorted(ending.lower() for ending in endings or readable_endings()))
    without = [str(Path(path).absolute()) for path in without]
    with kept(VERSION, root.absolute(), *endings, '', *without) as file:
        content = file.load('folders')
        if content is not None and _is_fresh(root, content):
            return _from_kept(root, content)
        begun, walk = time.time(), Walk(root, Endings(endings), without).run()
        listing = _listed(root, walk)
        if len(listing.paths) and _is_settled(walk, begun) and file.save(
                _to_keep(walk, listing)):
            content = file.load('folders')
            listing = listing if content is None else _from_kept(root, content)
    return listing


def _is_settled(walk: Walk, begun: float) -> bool:
    """Whether times would tell of the next change: not where the last one was just now."""
    newest = max(itertools.chain(walk.states[2::4], walk.states[3::4]), default=0)
    return newest < (begun - SETTLED) * 1e9 and len(walk.unusable) < MOST_BROKEN


def _to_keep(walk: Walk, listing: Listing) -> dict:
    data, ends = listing.paths.data, listing.paths.ends
    return dict(
        data=tensor_of(data), ends=tensor_of(ends),
        taken=dict(listing.taken), left_out=dict(listing.left_out), notes=listing.notes,
        # One text: a list would take longer to load than to check.
        folders='\0'.join(walk.folders), unusable=walk.unusable,
        states=tensor_of(np.frombuffer(walk.states, dtype=np.int64)).view(-1, 4))


def _from_kept(root: Path, content: dict) -> Listing:
    paths = PackedPaths(content['data'].numpy(), content['ends'].numpy())
    return Listing(root, paths, Counter(content['taken']), Counter(content['left_out']),
                   content['notes'])


def _is_fresh(root: Path, content: dict) -> bool:
    """Whether no folder has changed, and nothing that was broken is whole."""
    folders = content['folders'].split('\0')
    # A few folders a task: one for each would cost more than asking for their times does.
    tasks = [folders[i:i + ASKED] for i in range(0, len(folders), ASKED)]
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(lambda some: [state_of(f'{root}/{below}') for below in some], tasks)
        now = itertools.chain.from_iterable(found)
        return all(map(operator.eq, map(tuple, content['states'].tolist()), now)) \
            and not any(map(os.path.isfile, (root / path for path in content['unusable'])))


def _listed(root: Path, walk: Walk) -> Listing:
    """Puts the folders of a walk together, in the order of the paths."""
    listing = Listing(root, walk.paths.packed(), walk.taken, walk.left_out, walk.notes)
    if walk.skipped:
        skipped = shortened(sorted(walk.skipped))
        listing.notes.insert(0, f'left out folders of the system: {skipped}')
    return listing
