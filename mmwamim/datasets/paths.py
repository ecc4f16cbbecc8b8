"""A million paths in one buffer, which loader workers share without a copy."""
import os
import tempfile
from array import array
from bisect import bisect_left
from typing import Iterable, Iterator, List, Sequence, Tuple, Union

import numpy as np

END, SLASH = b'\0', ord('/')  # no path has a zero byte in it


def encode(text: str) -> bytes:
    """Bytes that sort as the text does, also for names that are no valid UTF-8."""
    return text.encode('utf-8', 'surrogatepass')


class Spool:
    """Runs of paths that wait in a file until all are known and can be put in their order: a
    million of them would be there several times over, otherwise."""

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile()
        self.runs: List[Tuple[str, int, int]] = []  # the first path, and where the run begins, ends
        self.size = 0

    def add(self, first: str, run: bytes) -> None:
        """Keeps paths that are parted by zero bytes, of which no other sorts between them."""
        self.runs.append((first, self.size, self.size + len(run)))
        self.file.write(run)
        self.size += len(run)

    def packed(self) -> 'PackedPaths':
        """All of them in their order, mapped from a file that goes with them."""
        if not self.runs:
            return PackedPaths(np.zeros(0, dtype=np.uint8))
        self.file.flush()
        ends = array('q')
        with tempfile.TemporaryFile() as whole:
            place = 0
            for _, start, stop in sorted(self.runs):
                run = os.pread(self.file.fileno(), stop - start, start) + END
                zeros = np.flatnonzero(np.frombuffer(run, dtype=np.uint8) == 0)
                ends.frombytes((zeros + place).tobytes())
                whole.write(run)
                place += len(run)
            whole.flush()
            data = np.memmap(whole, dtype=np.uint8, mode='r', shape=(place, ))
        return PackedPaths(data, np.frombuffer(ends, dtype=np.int64))


class PackedPaths(Sequence[str]):
    """A sequence of strings that takes 8 bytes more for each than its text has.

    A list of them would be copied page by page into every worker, since reading a Python object
    writes its reference count; the two arrays here are never written to, and may be mapped from a
    file.

    Args:
        data: uint8 (bytes, ), the paths in UTF-8, each followed by a zero byte.
        ends: int64 (N, ), where those zeros are. Default: they are looked for.

    Examples:
        >>> paths = PackedPaths.from_strings(['a.jpg', 'b/c.jpg'])
        >>> paths[1], len(paths), paths == ['a.jpg', 'b/c.jpg']
        ('b/c.jpg', 2, True)
    """

    def __init__(self, data: np.ndarray, ends: np.ndarray = None) -> None:
        self.data = data
        self.ends = np.flatnonzero(data == 0) if ends is None else ends

    @classmethod
    def from_bytes(cls, parts: Iterable[bytes]) -> 'PackedPaths':
        """From runs of paths that are parted by zero bytes, without one at the end."""
        joined = END.join(parts)
        return cls(np.frombuffer(joined + END if joined else b'', dtype=np.uint8))

    @classmethod
    def from_strings(cls, paths: Iterable[str]) -> 'PackedPaths':
        """From any strings but empty ones."""
        return cls.from_bytes(map(encode, paths))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, place: Union[int, slice]) -> Union[str, List[str]]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        if place < 0:
            place += len(self)
        if not 0 <= place < len(self):
            raise IndexError(f'path {place} of {len(self)}')
        return self.data[self._start(place):self.ends[place]].tobytes().decode(
            'utf-8', 'surrogatepass')

    def __iter__(self) -> Iterator[str]:
        start = 0
        for end in self.ends:
            yield self.data[start:end].tobytes().decode('utf-8', 'surrogatepass')
            start = end + 1

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PackedPaths):
            return np.array_equal(self.data, other.data)
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None

    def __repr__(self) -> str:
        return f'PackedPaths({self[:3]}{", ..." if len(self) > 3 else ""}, {len(self)} in all)'

    def slashes(self) -> np.ndarray:
        """int64 (N, ): how deep each lies."""
        return np.diff(np.searchsorted(np.flatnonzero(self.data == SLASH), self.ends), prepend=0)

    def end_of_folder(self, place: int) -> int:
        """Behind the last path of the same first folder, where the paths are sorted."""
        first, slash, _ = self[place].partition('/')
        # All that begin so are smaller, since '0' is the character behind '/'.
        return bisect_left(self, f'{first}0', place) if slash else place + 1

    def rows(self, parts: Sequence[slice]) -> 'PackedPaths':
        """Those of some ranges, one behind the other; the same object if that is all of them."""
        if [i for part in parts for i in (part.start, part.stop)] == sorted(
                i for part in parts for i in (part.start, part.stop)) and \
                sum(part.stop - part.start for part in parts) == len(self):
            return self
        pieces = [self.data[self._start(part.start):self._start(part.stop)] for part in parts]
        return PackedPaths(np.concatenate(pieces) if pieces else self.data[:0])

    def _start(self, place: int) -> int:
        return int(self.ends[place - 1]) + 1 if place else 0
