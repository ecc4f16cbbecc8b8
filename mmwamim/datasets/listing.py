"""Which images a folder holds: one listing for every task and tool.

Folders and files whose names begin with a dot, and those that operating systems and network
drives keep for themselves (waste bins, thumbnails), are left out. Links to folders are followed,
each folder once.
"""
import os
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator, List, Mapping, Optional, Sequence, Set, Tuple, Union

from PIL import Image

from mmwamim.errors import UserError

# Names in lower case. Not 'trash', which is a class of photographs of waste.
SYSTEM_FOLDERS = {
    '__macosx', '@eadir', '@recycle', '@recently-snapshot', '@tmp', '#recycle', '#snapshot',
    '$recycle.bin', 'recycler', 'system volume information', 'lost+found', 'thumbnails', 'thumbs',
    '__pycache__'}
# Formats that Pillow recognises but does not decode by itself, and that run another program.
NOT_DECODED = {'BUFR', 'GRIB', 'HDF5', 'MPEG', 'EPS', 'WMF'}
HIDDEN, UNUSABLE, NO_ENDING = 'hidden', 'broken links and devices', 'without ending'


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
    paths: List[str] = field(default_factory=list)
    """Relative to the root, sorted."""
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
        return '\n'.join([text] + [f'  {printable(note)}' for note in self.notes])


def is_system_folder(name: str) -> bool:
    """Whether a folder of that name is left out: hidden, a waste bin, thumbnails."""
    return name.startswith('.') or name.lower() in SYSTEM_FOLDERS


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
    endings = tuple(ending.lower() for ending in endings or readable_endings())
    listing = Listing(root)
    for below, entry in _Walk(root, listing, without):
        name = entry.name.lower()
        if name.endswith(endings):
            listing.paths.append(f'{below}{entry.name}')
            listing.taken[next(e for e in _endings(name) if e in endings or not e)] += 1
        else:
            listing.left_out[os.path.splitext(name)[1] or NO_ENDING] += 1
    listing.paths.sort()
    return listing


def _endings(name: str) -> Iterator[str]:
    """'.gz', '.tar.gz' of 'a.tar.gz', then ''."""
    parts = name.split('.')
    for first in range(len(parts) - 1, 0, -1):
        yield '.' + '.'.join(parts[first:])
    yield ''


class _Walk:
    """Yields (its folder relative to the root, entry) of every file, real folders before links,
    and notes what it leaves out."""

    def __init__(self, root: Path, listing: Listing, without: Sequence) -> None:
        self.root, self.listing = root, listing
        self.seen: Set[Tuple[int, int]] = {_identity(path) for path in without
                                           if os.path.isdir(path)}
        self.folders, self.links = deque(['']), deque()
        self.skipped: List[str] = []

    def __iter__(self) -> Iterator[Tuple[str, os.DirEntry]]:
        while self.folders or self.links:
            below = self.folders.popleft() if self.folders else self._next_link()
            if below is not None:
                yield from self._files(below)
        if self.skipped:
            self.listing.notes.insert(0, 'left out folders of the system: '
                                      + shortened(sorted(self.skipped)))

    def _next_link(self) -> Optional[str]:
        """A link that leads to a folder which was not seen yet."""
        below = self.links.popleft()
        link = self.root / below
        target, place = os.path.realpath(link), os.path.realpath(link.parent)
        if os.path.commonpath([target, place]) == target:
            self.listing.notes.append(f'left out the link {below.rstrip("/")!r}: it leads back to '
                                      f'{target!r}, in which it lies')
            return None
        if _identity(link) in self.seen:
            self.listing.notes.append(f'left out the link {below.rstrip("/")!r}: {target!r} is '
                                      'listed already')
            return None
        return below

    def _files(self, below: str) -> Iterator[Tuple[str, os.DirEntry]]:
        folder = self.root / below
        try:
            identity = _identity(folder)
            if identity in self.seen:
                return
            self.seen.add(identity)
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            self.listing.notes.append(f'left out the folder {below.rstrip("/")!r}: '
                                      f'{error.strerror}')
            return
        for entry in entries:
            if is_folder(entry):
                if is_system_folder(entry.name):
                    self.skipped.append(f'{below}{entry.name}')
                else:
                    (self.links if entry.is_symlink() else self.folders).append(
                        f'{below}{entry.name}/')
            elif not _is_file(entry):
                self.listing.left_out[UNUSABLE] += 1
            elif entry.name.startswith('.'):
                self.listing.left_out[HIDDEN] += 1
            else:
                yield below, entry


def _identity(path: Union[str, Path]) -> Tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


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
