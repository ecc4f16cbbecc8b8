"""Shards of which a few are on this machine at a time, for sets that do not fit its disk."""
import os
import re
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Dict, Optional, Sequence, Tuple

from mmwamim.errors import UserError

from ..kept import cache_folder, locked
from ..listing import printable
from ..sampling import shard_order
from .copies import copy_shard, is_remote, needs_copy
from .shards import ShardSource

BUFFER = 16  # shards
WAITS = (1., 10., 60.)  # seconds before a server is asked again


def is_stream(where: str) -> bool:
    """Whether a place is named ``stream:SHARDS``."""
    return where.startswith('stream:')


def parted(where: str) -> Tuple[int, str]:
    """The number of shards that are mixed, and the shards.

    Raises:
        UserError: That is no number of shards.

    Examples:
        >>> parted('stream:a-{00..99}.tar.gz'), parted('stream:64:pipe:cat a.tar')
        ((16, 'a-{00..99}.tar.gz'), (64, 'pipe:cat a.tar'))
    """
    number, pattern = re.fullmatch(r'stream:(?:(\d+):)?(.*)', where, re.DOTALL).groups()
    if number is not None and int(number) < 1 or not pattern:
        raise UserError(f'{printable(where)!r}: expected stream:SHARDS or stream:NUMBER:SHARDS '
                        f'with the number of shards whose images are mixed, at least 1')
    return int(number or BUFFER), os.path.expanduser(pattern)


class StreamSource(ShardSource):
    """``stream:SHARDS``: the shards of :class:`ShardSource`, of which copies of a few are kept.

    They are read once for an index of their images. Then an epoch takes the shards in a drawn
    order, and mixes the images of as many neighbours as the buffer has
    (:func:`mmwamim.datasets.sampling.order_of`), while the next one is fetched. So every image
    comes at most once an epoch, and a resumed run goes on at the image where it was, as
    everywhere. Shards at the two ends of the order are fetched twice an epoch.

    Args:
        where: ``stream:SHARDS`` or ``stream:NUMBER:SHARDS``, shards as of :class:`ShardSource`.
        labelled, classes: As there.

    Raises:
        NoImages: There is no such shard, or no image in them.
        UserError: There is no room for the copies; or later, when an image is read: a shard has
            changed, or is not to be had any more.
    """

    def __init__(self, where: str, labelled: bool = False,
                 classes: Optional[Sequence[str]] = None) -> None:
        self.buffer, pattern = parted(where)
        self.most = self.open_at_once = 2 * self.buffer + 2  # those that come and go among them
        self.epoch: Tuple[int, ...] = ()
        self.following: Dict[int, int] = {}
        super().__init__(pattern, labelled, classes)
        self.mixed = self.shard_of, self.buffer
        self.description += (f'\n  streamed: the images of {min(self.buffer, len(self.shards))} '
                             f'shards are mixed, at most {self.most} copies are kept')

    def begin_epoch(self, seed: int, epoch: int) -> None:
        if self.epoch != (seed, epoch):
            order = shard_order(int(self.shard_of.max()) + 1, seed, epoch).tolist()
            self.epoch, self.following = (seed, epoch), dict(zip(order, order[1:]))

    def _file(self, shard: int) -> int:
        if shard in self._open or not needs_copy(self.shards[shard]):
            return super()._file(shard)
        for _ in range(3):  # another process may remove it before it is looked at or opened here
            with suppress(FileNotFoundError):
                self._fetch(shard)
                number = super()._file(shard)
                break
        else:
            raise UserError(f'the copy of {printable(self.shards[shard])!r} is removed as soon as '
                            f'it is made: is the cache ({os.path.dirname(self.files[shard])}) used '
                            'by other runs of the set with a smaller buffer?')
        following = self.following.get(shard)
        if following is not None and needs_copy(self.shards[following]):
            # Nothing waits for it where a worker ends.
            threading.Thread(target=self._fetch_quietly, args=(following, ),
                             daemon=True).start()
        return number

    def _fetch_quietly(self, shard: int) -> None:
        with suppress(Exception):  # it is fetched again, and told, when it is read
            self._fetch(shard, waits=())

    def _fetch(self, shard: int, waits: Sequence[float] = WAITS) -> None:
        """Makes the copy of a shard where there is none."""
        name, path = self.shards[shard], self.files[shard]
        with locked(Path(path)):
            if os.path.isfile(path) and os.path.getsize(path) == self.sizes[shard]:
                os.utime(path)  # it is in use
                return
            copy = self._copied(name, waits)
            if copy != path or os.path.getsize(copy) != self.sizes[shard]:
                os.unlink(copy)
                raise UserError(f'{printable(name)!r} is not what it was when the index of its '
                                'images was made: ' + (
                                    f'remove {cache_folder()}, and start again' if is_remote(name)
                                    else 'start the run again'))

    def _copied(self, name: str, waits: Sequence[float]) -> str:
        for seconds in (*waits, None):
            try:
                return copy_shard(name, self.copies, self.most)[0]
            except OSError as error:
                if seconds is None:  # not handed on: the image is not what is wrong
                    raise UserError(f'{printable(name)!r} cannot be copied any more: '
                                    f'{error}') from error
                time.sleep(seconds)
