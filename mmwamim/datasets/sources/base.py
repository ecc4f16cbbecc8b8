"""What a data set must know of the place where its images lie."""
from collections.abc import Sequence as AbstractSequence
from copy import copy
from hashlib import blake2b
from typing import Iterator, Optional, Sequence, Tuple, Union

import numpy as np

from ..channels import read_channels
from ..loading import read_rgb
from ..paths import PackedPaths


def digest_of(*parts: Union[bytes, np.ndarray]) -> str:
    """16 letters that depend on every part."""
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(np.ascontiguousarray(part) if isinstance(part, np.ndarray) else part)
    return digest.hexdigest()


class Source:
    """Images by number, wherever they lie.

    Attributes:
        keys: What names each: the path of a file, or ``shard.tar/name.jpg`` and the like.
        labels: int64 (N, ), or None where none were asked for.
        classes: Names of the classes that the labels count in, or None.
        description: What was taken and what was left out, for the log.
        mixed: The shard of each image, int (N, ), and of how many shards images are mixed, where
            the order of an epoch is drawn over shards (:func:`mmwamim.datasets.sampling.order_of`);
            None where it is drawn over all images.
    """

    mixed: Optional[Tuple[np.ndarray, int]] = None
    keys: Sequence[str] = ()
    labels: Optional[np.ndarray] = None
    classes: Optional[Tuple[str, ...]] = None
    description: str = ''

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, index: int) -> str:
        """The name of an image, for messages and results."""
        return self.keys[index]

    def name(self, index: int) -> str:
        """The same, relative to the place."""
        return self.keys[index]

    def names(self) -> Iterator[str]:
        """:meth:`name` of every image."""
        return map(self.name, range(len(self)))

    def read(self, index: int) -> Optional[bytes]:
        """The bytes of an image as they are stored; None where the key is the path of a file.

        Raises:
            UnreadableImage: They cannot be had; the message has the key.
        """
        return None

    def holder(self, index: int) -> str:
        """The file whose size and time tell whether an image is still the same."""
        return self.key(index)

    def pixels(self, index: int, channels: Optional[int] = None,
               value_range: Optional[Sequence[float]] = None) -> np.ndarray:
        """A picture as a run reads it: :func:`mmwamim.datasets.loading.read_rgb`, or with
        ``channels`` :func:`mmwamim.datasets.channels.read_channels`.

        Raises:
            UnreadableImage: It cannot be had, or is no picture; the message has the key.
        """
        data = self.read(index)
        if channels is None:
            return read_rgb(self.key(index), value_range=value_range, data=data)
        return read_channels(self.key(index), channels, value_range, data)

    def digest(self) -> str:
        """The same for the same images in the same order, wherever the place lies now, as far as
        their names tell."""
        return digest_of(self.keys.data if isinstance(self.keys, PackedPaths)
                         else '\0'.join(self.names()).encode('utf-8', 'surrogatepass'))

    def begin_epoch(self, seed: int, epoch: int) -> None:
        """Says which epoch the images that are read next are of."""

    def spread(self, most: Optional[int] = None) -> Sequence[int]:
        """The numbers of all images, or of so many, spread evenly."""
        count = min(most or len(self), len(self))
        return [place * len(self) // count for place in range(count)]


class JoinedSource(Source):
    """Several places as one, without labels.

    Args:
        parts: One behind the other.
        names: Of the parts, such as their splits.
    """

    def __init__(self, parts: Sequence[Source], names: Sequence[str]) -> None:
        self.parts, self.names = parts, names
        self.ends = np.cumsum([len(part) for part in parts])
        self.description = '\n'.join(part.description for part in parts)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def key(self, index: int) -> str:
        part, place = self._find(index)
        return self.parts[part].key(place)

    def name(self, index: int) -> str:
        part, place = self._find(index)
        return f'{self.names[part]}/{self.parts[part].name(place)}'

    def holder(self, index: int) -> str:
        part, place = self._find(index)
        return self.parts[part].holder(place)

    def read(self, index: int) -> Optional[bytes]:
        part, place = self._find(index)
        return self.parts[part].read(place)

    def _find(self, index: int) -> Tuple[int, int]:
        """The number of the part, and the number of the image there."""
        part = int(np.searchsorted(self.ends, index, side='right'))
        return part, index - int(self.ends[part - 1] if part else 0)


class Records(AbstractSequence):
    """The records of a data set, each made when it is asked for, so that none is held.

    Args:
        source: Where the images lie.
        rows: Their numbers there. Default: all.
    """

    def __init__(self, source: Source, rows: Optional[np.ndarray] = None) -> None:
        self.source, self.rows = source, rows

    def __len__(self) -> int:
        return len(self.source) if self.rows is None else len(self.rows)

    def __getitem__(self, place: Union[int, slice, Sequence[int]]) -> Union[dict, 'Records']:
        if isinstance(place, (slice, AbstractSequence, np.ndarray)):
            rows = np.arange(len(self.source)) if self.rows is None else self.rows
            return Records(self.source, rows[place])
        row = self._row(place)
        record = dict(img_path=self.source.key(row))
        if self.source.labels is not None:
            record['gt_label'] = int(self.source.labels[row])
        return record

    def __iter__(self) -> Iterator[dict]:
        return (self[place] for place in range(len(self)))

    def __deepcopy__(self, memo: dict) -> 'Records':
        return copy(self)  # nothing here is written to

    @property
    def labels(self) -> np.ndarray:
        """int64 (N, )."""
        labels = self.source.labels
        return labels if self.rows is None else labels[self.rows]

    @property
    def mixed(self) -> Optional[Tuple[np.ndarray, int]]:
        """As of :class:`Source`, of these images."""
        if self.rows is None or self.source.mixed is None:
            return self.source.mixed
        shard_of, buffer = self.source.mixed
        return shard_of[self.rows], buffer

    def digest(self) -> str:
        """As :meth:`Source.digest`, of these images."""
        whole = self.source.digest()
        return whole if self.rows is None else digest_of(whole.encode(), np.asarray(self.rows))

    def begin_epoch(self, seed: int, epoch: int) -> None:
        """As :meth:`Source.begin_epoch`."""
        self.source.begin_epoch(seed, epoch)

    def read(self, place: int) -> Optional[bytes]:
        """As :meth:`Source.read`."""
        return self.source.read(self._row(place))

    def _row(self, place: int) -> int:
        if not -len(self) <= place < len(self):
            raise IndexError(f'image {place} of {len(self)}')
        place = place % len(self)
        return place if self.rows is None else int(self.rows[place])
